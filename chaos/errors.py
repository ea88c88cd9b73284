"""What stops a run of chaos."""

from shared.errors import PneumoScreenError


class ChaosFailed(PneumoScreenError):
    """Say what did not happen that had to: a fault that could not be inflicted, or a stack that does not recover."""


class NotHere(PneumoScreenError):
    """Say why a fault cannot be inflicted on this machine or this stack."""
