"""Logging: one line an event, to standard error, never a file name or anything else of a patient."""

import logging
import sys
from typing import Final

_TALKATIVE: Final = ("fontTools", "fpdf")
"""They write reports, and log which letters a report holds: those of a name."""


def configure_logging(level: int = logging.INFO) -> None:
    """Send every log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
