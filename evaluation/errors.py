"""The error of evaluation, with what was received and what to do; training raises it too."""

from shared.errors import PneumoScreenError


class DataUnusable(PneumoScreenError):
    """Say why a folder of images cannot be trained or evaluated on."""
