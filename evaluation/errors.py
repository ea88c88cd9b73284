"""The error of evaluation, which says what was received and what to do; training raises it too."""

from shared.errors import PneumoScreenError


class DataUnusable(PneumoScreenError):
    """Say why a folder of images cannot be used for training or evaluation."""
