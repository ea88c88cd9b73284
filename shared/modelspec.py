"""What a model folder says of itself: `spec.json` beside `model.keras`.

The spec carries the preprocessing, the calibration and the threshold with the weights, so that training, evaluation and
serving cannot disagree. This file knows no Keras: the web reads a spec without loading a network.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ModelUnavailable

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "model.keras"


class Label(StrEnum):
    """The answer shown for a film."""

    NORMAL = "NORMAL"
    PNEUMONIA = "PNEUMONIA"


class FilmClass(StrEnum):
    """What a network tells apart; every class but `normal` is a cause of pneumonia."""

    NORMAL = "normal"
    BACTERIAL = "bacterial"
    VIRAL = "viral"
    PNEUMONIA = "pneumonia"  # for a network that gives no cause


class Verdict(NamedTuple):
    """One film's calibrated answer."""

    label: Label
    cause: FilmClass | None
    """The likelier cause where the label is PNEUMONIA and the model tells causes apart."""
    confidence: float
    """Calibrated probability of the label shown, 0 to 1."""
    p_pneumonia: float
    """1 - probability of `normal`, 0 to 1."""
    probabilities: dict[str, float]


class ModelSpec(BaseModel):
    """Everything needed to serve a network except its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")
    description: str
    input_size: int = Field(ge=16, le=1024)
    """Height and width in pixels of the square that the network sees."""
    resize: Literal["stretch"] = "stretch"
    """`stretch` ignores the aspect ratio, as the published training set does."""
    classes: tuple[FilmClass, ...]
    """In the order of the network's logits."""
    temperature: float = Field(gt=0)
    """Divides the logits before the softmax (Guo et al. 2017, arXiv:1706.04599)."""
    threshold: float = Field(gt=0, lt=1)
    """A film with p_pneumonia at or above this is labelled PNEUMONIA."""
    threshold_rule: str
    intended_population: str
    training_data: str
    licence: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of `model.keras`, compared before that file is opened."""
    parameters: int = Field(gt=0)
    commit: str
    trained_at: datetime

    @model_validator(mode="after")
    def _has_normal_class(self) -> Self:
        if FilmClass.NORMAL not in self.classes or len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise ValueError(f"classes must be distinct and hold 'normal' and a cause. Received: {self.classes}")
        return self

    @property
    def version(self) -> str:
        """Name the exact weights: the model's name and the start of their sha256."""
        return f"{self.name}@{self.sha256[:12]}"

    def calibrate(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits (N, classes) into calibrated probabilities, float64 (N, classes)."""
        scaled = logits.astype(np.float64) / self.temperature
        scaled -= scaled.max(axis=1, keepdims=True)
        exponentials = np.exp(scaled)
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))

    def p_pneumonia(self, probabilities: np.ndarray) -> np.ndarray:
        """Return 1 - p(normal) for each row, summed over the causes to keep small values exact."""
        causes = [index for index, name in enumerate(self.classes) if name is not FilmClass.NORMAL]
        return np.asarray(probabilities[:, causes].sum(axis=1).clip(0.0, 1.0))

    def judge(self, probabilities: np.ndarray) -> list[Verdict]:
        """Label each row of calibrated probabilities by this spec's threshold."""
        return [
            self._verdict(row, float(p)) for row, p in zip(probabilities, self.p_pneumonia(probabilities), strict=True)
        ]

    def _verdict(self, row: np.ndarray, p: float) -> Verdict:
        named = {name: float(value) for name, value in zip(self.classes, row, strict=True)}
        causes: list[FilmClass] = [name for name in self.classes if name is not FilmClass.NORMAL]
        if p < self.threshold:
            return Verdict(Label.NORMAL, None, 1.0 - p, p, {str(k): v for k, v in named.items()})
        likeliest = max(causes, key=named.__getitem__)
        cause = likeliest if len(causes) > 1 else None
        return Verdict(Label.PNEUMONIA, cause, p, p, {str(k): v for k, v in named.items()})


def read_spec(folder: Path) -> ModelSpec:
    """Read a model folder's spec.

    Raises ModelUnavailable where it is missing or does not fit the form.
    """
    try:
        return ModelSpec.model_validate_json((folder / SPEC_FILE).read_bytes())
    except FileNotFoundError as error:
        raise ModelUnavailable(f"Model '{folder.name}' has no {SPEC_FILE} in {folder}.") from error
    except ValidationError as error:
        raise ModelUnavailable(f"Model '{folder.name}' has a damaged {SPEC_FILE}: {error}") from error


def verify_weights(folder: Path, spec: ModelSpec) -> Path:
    """Compare the weights with the spec's sha256 and return their path.

    A model file is code to its loader (CVE-2025-1550 and its successors), so nothing opens it before this.
    Raises ModelUnavailable where the file is missing or differs.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ModelUnavailable(f"Model '{spec.name}' has no {WEIGHTS_FILE} in {folder}.")
    stat = path.stat()
    received = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if received != spec.sha256:
        raise ModelUnavailable(
            f"Model '{spec.name}': {WEIGHTS_FILE} is not the file that {SPEC_FILE} names. "
            f"Expected sha256 {spec.sha256}, received {received}. Restore the model folder."
        )
    return path


@lru_cache(maxsize=16)
def _sha256(path: Path, _size: int, _modified: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_models(folder: Path) -> list[ModelSpec]:
    """Read the spec of every model folder, by name; folders without a spec are passed over."""
    if not folder.is_dir():
        return []
    return [read_spec(path.parent) for path in sorted(folder.glob(f"*/{SPEC_FILE}"))]
