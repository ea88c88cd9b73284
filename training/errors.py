"""The errors of training, each with what was received and what to do."""

from shared.errors import PneumoScreenError


class RunMismatch(PneumoScreenError):
    """Say why an interrupted training cannot be resumed."""


class WeightsUnusable(PneumoScreenError):
    """Say why a file of weights cannot start a training."""


class SizeUnusable(PneumoScreenError):
    """Say why a network cannot be built at an input size."""
