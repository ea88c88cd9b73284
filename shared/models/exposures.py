"""Read and write brightness and contrast of a model's training images: `exposure.json` in its folder.

`python -m training.exposure` writes it, and so does every training. An ensemble uses that of its members.
"""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ModelUnavailable
from shared.models.folder import read_members, read_spec

EXPOSURE_FILE: Final = "exposure.json"
Counts = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=256, max_length=256)]


class TrainingExposure(BaseModel):
    """Counts of training images by brightness and by contrast, as `shared.images.exposure` measures them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the weights trained on them, as in the spec: other weights saw other images or other preprocessing."""
    images: int = Field(gt=0)
    brightness: Counts
    """By grey level, 0 to 255."""
    contrast: Counts


def read_exposure(folder: Path, sha256: str) -> TrainingExposure | None:
    """Return a folder's counts for the training images of these weights.

    None where it has no file, a damaged one, or one of other weights. An ensemble without a file uses that of its
    members if all were trained on the same images, else none.
    """
    return _read_own(folder, sha256) or _read_of_members(folder, sha256)


def _read_own(folder: Path, sha256: str) -> TrainingExposure | None:
    path = folder / EXPOSURE_FILE
    try:
        found = _parse(path, path.stat().st_mtime_ns)
    except (OSError, ValidationError):
        return None
    return found if found.sha256 == sha256 else None


def _read_of_members(folder: Path, sha256: str) -> TrainingExposure | None:
    try:
        spec = read_spec(folder)
        members = read_members(folder, spec)
    except ModelUnavailable:
        return None
    if spec.sha256 != sha256 or any(member.framing != spec.framing for member in members):
        return None
    every = [_read_own(folder.parent / member.name, member.sha256) for member in members]
    counts = {(one.images, one.brightness, one.contrast) if one else None for one in every}
    return every[0] if len(counts) == 1 else None


@lru_cache(maxsize=64)
def _parse(path: Path, _modified_ns: int) -> TrainingExposure:
    return TrainingExposure.model_validate_json(path.read_bytes())


def write_exposure(folder: Path, found: TrainingExposure) -> None:
    """Write a model's file."""
    (folder / EXPOSURE_FILE).write_text(found.model_dump_json() + "\n", encoding="utf-8")
