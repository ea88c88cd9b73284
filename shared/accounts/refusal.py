"""The error that says why an account, password or token cannot be made or changed."""

from shared.errors import TranslatableError


class AccountRefused(TranslatableError):
    """Say why an account, password or token cannot be made or changed."""
