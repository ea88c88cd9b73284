"""The error raised where an account, password or token cannot be created or changed."""

from shared.errors import TranslatableError


class AccountRefused(TranslatableError):
    """Say why an account, password or token cannot be created or changed."""
