"""Read a model folder's figures, `metrics.json`: measured by training and evaluation on held-out images."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

METRICS_FILE: Final = "metrics.json"
CARD_FILE: Final = "card.md"
PLOTS_FOLDER: Final = "plots"


def read_metrics(folder: Path) -> dict[str, Any]:
    """Return a folder's figures; empty where it has no file or a damaged one."""
    try:
        return _parse(folder / METRICS_FILE, (folder / METRICS_FILE).stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=64)
def _parse(path: Path, _modified_ns: int) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
