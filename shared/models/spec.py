"""The schema of a model folder's `spec.json`, beside `model.keras` or, for an ensemble, alone.

The spec carries the preprocessing, the calibration and the threshold with the weights, so that training, evaluation and
serving cannot disagree. This module does not use Keras: the web reads a spec without loading a network. NumPy is
imported only to calculate: the web rarely needs it and should start fast.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]{0,62}$"
"""Name of a model and its folder: no separator and no leading dot, which prevents path traversal."""

FRAMED_DETAIL = 1.75
"""Pixels to decode per pixel of a framed network: lungs take 0.75 of a training image's side, an adult's 0.55."""

_VERSION_DIGITS = 12
"""Digits of the identity in a version; enough to tell apart all models that one site will ever have."""

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Label(StrEnum):
    """The answer shown for an image."""

    NORMAL = "NORMAL"
    PNEUMONIA = "PNEUMONIA"


class ImageClass(StrEnum):
    """What a network tells apart; every class but `normal` is a cause of pneumonia."""

    NORMAL = "normal"
    BACTERIAL = "bacterial"
    VIRAL = "viral"
    PNEUMONIA = "pneumonia"  # for a network that does not distinguish causes


class ModelPrediction(NamedTuple):
    """One image's calibrated prediction."""

    label: Label
    cause: ImageClass | None
    """The likelier cause where the label is PNEUMONIA and the model distinguishes causes."""
    confidence: float
    """Calibrated probability of the label shown, 0 to 1."""
    p_pneumonia: float
    """1 - probability of `normal`, 0 to 1."""
    probabilities: dict[str, float]


class Member(BaseModel):
    """One network of an ensemble: the model folder of that name beside the ensemble's own."""

    model_config = _STRICT

    name: str = Field(pattern=NAME_PATTERN)
    weight: float = Field(gt=0)
    temperature: float = Field(1.0, gt=0)
    bias: float = 0.0
    """Copies of the member's own, so that calibrating the member alone leaves the ensemble as it was."""


class Site(BaseModel):
    """The images that a calibration was fitted on after training."""

    model_config = _STRICT

    folder: str
    """Its name without the path."""
    images: dict[Label, int]
    """Labelled images, by label."""
    unlabelled: int = 0
    """Unlabelled images, for which only the flagged share was chosen."""
    fitted_at: datetime


class Calibration(BaseModel):
    """The parameters that turn logits into a label: the part of a spec that a site may refit."""

    model_config = _STRICT

    temperature: float = Field(gt=0)
    bias: float = 0.0
    threshold: float = Field(gt=0, lt=1)
    threshold_rule: str
    site: Site | None = None
    """None where training fitted it, on its validation images."""


class Framing(BaseModel):
    """How an image is framed before the network sees it; see `shared.images.framing`."""

    model_config = _STRICT

    version: str = Field(pattern=NAME_PATTERN)
    """Version of the localiser that finds the lungs."""
    margin: float = Field(ge=-0.2, le=0.5)
    """Margin on each side of the lungs, as a fraction of their width and height."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of the localiser's file, verified before use."""


class Gate(BaseModel):
    """How to refuse images outside a model's intended use before it reads them; see `shared.images.gate`."""

    model_config = _STRICT

    version: str = Field(pattern=NAME_PATTERN)
    """Version of the small network that classifies kinds of pictures."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of that network's file, verified before use."""
    most_other: float = Field(gt=0, lt=1)
    """Probability of anything but an upright chest radiograph, above which an image is refused."""
    most_cut_off: float = Field(gt=0, lt=1)
    """The same for a chest radiograph that lacks a large part of the lungs."""
    least_bright: int = Field(ge=0, le=255)
    """Least grey level of an image's brightest tenth; below it the image is too dark."""
    most_dark: int = Field(ge=0, le=255)
    """Greatest grey level of an image's darkest tenth; above it the image is too bright."""
    ages: tuple[int, int]
    """Youngest and oldest patient that the model is for, in whole years."""


def version_of(name: str, identity: str) -> str:
    """Return a readable name of an exact set of weights, `name@start-of-its-identity`."""
    return f"{name}@{identity[:_VERSION_DIGITS]}"


class ModelSpec(BaseModel):
    """Everything needed to serve a network except its weights."""

    model_config = _STRICT

    name: str = Field(pattern=NAME_PATTERN)
    description: str
    input_size: int = Field(ge=16, le=1024)
    """Height and width of the network's square input in pixels."""
    resize: Literal["stretch"] = "stretch"
    """`stretch` ignores the aspect ratio, as the published training set does."""
    framing: Framing | None = None
    """None for a model that sees the whole image."""
    gate: Gate | None = None
    """None for a model that reads every image."""
    classes: tuple[ImageClass, ...]
    """In the order of the network's logits."""
    temperature: float = Field(gt=0)
    """Divides the logits before the softmax (Guo et al. 2017, arXiv:1706.04599)."""
    bias: float = 0.0
    """Added to every cause's logit after the division, and so to the log-odds of pneumonia (Platt 1999)."""
    threshold: float = Field(gt=0, lt=1)
    """An image with p_pneumonia at or above this is labelled PNEUMONIA."""
    threshold_rule: str
    site: Site | None = None
    """The images of the calibration in force; None where training fitted it."""
    former: tuple[Calibration, ...] = ()
    """Calibrations replaced since training, oldest first."""
    precision: Literal["f32", "bf16"] = "f32"
    """OpenVINO's precision. A model may use bf16 where its accuracy stays within 0.2 points of float32; a CPU without
    bfloat16 runs it in float32."""
    members: tuple[Member, ...] = ()
    """Not empty for an ensemble, which has no weights of its own."""
    intended_population: str
    training_data: str
    licence: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Of `model.keras`, verified before that file is opened; for an ensemble, `ensemble_sha256` of its members."""
    parameters: int = Field(gt=0)
    commit: str
    trained_at: datetime

    @model_validator(mode="after")
    def _has_normal_class(self) -> Self:
        if (
            ImageClass.NORMAL not in self.classes
            or len(set(self.classes)) != len(self.classes)
            or len(self.classes) < 2
        ):
            raise ValueError(f"classes must be distinct and hold 'normal' and a cause. Received: {self.classes}")
        return self

    @model_validator(mode="after")
    def _has_distinct_members(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names) or self.name in names:
            raise ValueError(f"members must be distinct and not the ensemble itself. Received: {', '.join(names)}")
        return self

    @property
    def decoded_side(self) -> int:
        """Return how many pixels a decoded image's shorter side needs: only part of a framed image is seen."""
        return self.input_size if self.framing is None else round(self.input_size * FRAMED_DETAIL)

    @property
    def identity(self) -> str:
        """Return 64 hexadecimal digits that identify the weights and, once a site has refitted it, the calibration.

        An image keeps the prediction of the calibration that was in force, and is predicted again under another one.
        """
        if self.site is None:
            return self.sha256
        return hashlib.sha256(
            f"{self.sha256} {self.temperature!r} {self.bias!r} {self.threshold!r}".encode()
        ).hexdigest()

    @property
    def version(self) -> str:
        """Return a readable version: the model's name and the start of its identity."""
        return version_of(self.name, self.identity)

    def calibrate(self, logits: "np.ndarray") -> "np.ndarray":
        """Turn logits (N, classes) into calibrated probabilities, float64 (N, classes)."""
        import numpy as np  # noqa: PLC0415  # see the module's docstring

        return np.asarray(np.exp(_log_probabilities(logits, self.classes, self.temperature, self.bias)))

    def pool(self, specs: Sequence["ModelSpec"], logits: Sequence["np.ndarray"]) -> "np.ndarray":
        """Return an ensemble's logits, float32 (N, classes): the log of its members' weighted mean probability.

        `specs` and `logits` (N, classes of that member) are in the order of `members`. Causes are summed where the
        ensemble does not distinguish them. All in logarithms, so that small probabilities keep their digits.
        """
        import numpy as np  # noqa: PLC0415  # see the module's docstring

        total = sum(member.weight for member in self.members)
        parts = [
            np.log(member.weight / total)
            + self._in_own_classes(spec, _log_probabilities(rows, spec.classes, member.temperature, member.bias))
            for member, spec, rows in zip(self.members, specs, logits, strict=True)
        ]
        return np.asarray(np.logaddexp.reduce(parts), dtype=np.float32)

    def _in_own_classes(self, spec: "ModelSpec", logs: "np.ndarray") -> "np.ndarray":
        import numpy as np  # noqa: PLC0415  # see the module's docstring

        columns = [
            [i for i, name in enumerate(spec.classes) if name in (own, *_SUMMED.get(own, ()))] for own in self.classes
        ]
        return np.stack([np.logaddexp.reduce(logs[:, column], axis=1) for column in columns], axis=1)

    def p_pneumonia(self, probabilities: "np.ndarray") -> "np.ndarray":
        """Return 1 - p(normal) for each row, summed over the causes to keep small values exact."""
        causes = [index for index, name in enumerate(self.classes) if name is not ImageClass.NORMAL]
        p: np.ndarray = probabilities[:, causes].sum(axis=1).clip(0.0, 1.0)
        return p

    def judge(self, probabilities: "np.ndarray") -> list[ModelPrediction]:
        """Label each row of calibrated probabilities by this spec's threshold."""
        return [
            self._prediction(row, float(p))
            for row, p in zip(probabilities, self.p_pneumonia(probabilities), strict=True)
        ]

    def _prediction(self, row: "np.ndarray", p: float) -> ModelPrediction:
        named = {name: float(value) for name, value in zip(self.classes, row, strict=True)}
        causes: list[ImageClass] = [name for name in self.classes if name is not ImageClass.NORMAL]
        if p < self.threshold:
            return ModelPrediction(Label.NORMAL, None, 1.0 - p, p, {str(k): v for k, v in named.items()})
        likeliest = max(causes, key=named.__getitem__)
        cause = likeliest if len(causes) > 1 else None
        return ModelPrediction(Label.PNEUMONIA, cause, p, p, {str(k): v for k, v in named.items()})


_SUMMED = {ImageClass.PNEUMONIA: (ImageClass.BACTERIAL, ImageClass.VIRAL)}


def _log_probabilities(
    logits: "np.ndarray", classes: Sequence[ImageClass], temperature: float, bias: float
) -> "np.ndarray":
    import numpy as np  # noqa: PLC0415  # see the module's docstring

    causes = np.array([name is not ImageClass.NORMAL for name in classes])
    scaled = logits.astype(np.float64) / temperature + bias * causes
    scaled -= scaled.max(axis=1, keepdims=True)
    return np.asarray(scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True)))
