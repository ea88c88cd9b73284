"""How bright and how rich in contrast the images were that a model was trained on: `exposure.json` of its folder.

`python -m training.exposure` writes it, and so does every training.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

EXPOSURE_FILE: Final = "exposure.json"
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=256, max_length=256)]


class TrainingExposure(BaseModel):
    """Counts of training images by brightness and by contrast, as `shared.images.exposure` measures them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the weights that were trained on them, as the spec has it: others saw other images, or prepared otherwise."""
    images: int = Field(gt=0)
    brightness: Counts
    """By grey level, 0 to 255."""
    contrast: Counts


def read_exposure(folder: Path, sha256: str) -> TrainingExposure | None:
    """Return what a folder says of the training images of these weights.

    None where it has no file, one that is damaged, or one of other weights.
    """
    path = folder / EXPOSURE_FILE
    try:
        found = _parse(path, path.stat().st_mtime_ns)
    except (OSError, ValidationError):
        return None
    return found if found.sha256 == sha256 else None


@lru_cache(maxsize=64)
def _parse(path: Path, _modified_ns: int) -> TrainingExposure:
    return TrainingExposure.model_validate_json(path.read_bytes())


def write_exposure(folder: Path, found: TrainingExposure) -> None:
    """Write a model's file."""
    (folder / EXPOSURE_FILE).write_text(found.model_dump_json() + "\n", encoding="utf-8")
