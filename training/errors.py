"""The errors of training and evaluation, each with what was received and what to do."""

from shared.errors import PneumoScreenError


class DataUnusable(PneumoScreenError):
    """Say why a folder of films cannot be trained or evaluated on."""


class RunMismatch(PneumoScreenError):
    """Say why an interrupted training cannot go on."""
