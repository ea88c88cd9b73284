"""The errors of training and evaluation, each with what was received and what to do."""

from shared.errors import PneumoScreenError


class DataUnusable(PneumoScreenError):
    """Say why a folder of films cannot be trained or evaluated on."""


class RunMismatch(PneumoScreenError):
    """Say why an interrupted training cannot go on."""


class WeightsUnusable(PneumoScreenError):
    """Say why a file of weights cannot start a training."""


class SizeUnusable(PneumoScreenError):
    """Say why a network cannot be built at an input size."""
