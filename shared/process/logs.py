"""Configure logging: one line per event to standard error, never a file name or other patient data."""

import logging
import sys
import warnings
from typing import Final

_REPEATING: Final = ("fontTools", "fpdf", "pydicom")
"""They log a report's characters and header values: both may be a name."""


def configure_logging(level: int = logging.INFO) -> None:
    """Send every log of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    handler.addFilter(_repeats_nothing)  # on the handler: pydicom sets its logger's level on import
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    warnings.filterwarnings("ignore", module="pydicom")


def _repeats_nothing(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or record.name.partition(".")[0] not in _REPEATING
