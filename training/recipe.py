"""A training's recipe: all of its hyperparameters."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from evaluation.errors import DataUnusable
from shared.models.spec import ImageClass
from training.augmentation import Augmentation
from training.data import CLASSES

BINARY = (ImageClass.NORMAL, ImageClass.PNEUMONIA)


@dataclass(frozen=True)
class Phase:
    """A phase of training with a fixed set of trainable layers."""

    epochs: int
    """At most; `Recipe.patience` may end it earlier."""
    peak_rate: float
    fixed_to: str = ""
    """Name of the last frozen layer, through which every path from the image to the logits leads; empty where all
    layers learn. Only layers with loaded weights are frozen: a random one would stay random. A later phase freezes the
    same layers or fewer. See `training.fixed_layers`."""


@dataclass(frozen=True)
class Recipe:
    """The hyperparameters of one training."""

    name: str
    network: str
    """Name of the function that builds it, see `training.registry`."""
    description: str
    phases: tuple[Phase, ...]
    classes: tuple[ImageClass, ...] = CLASSES
    input_size: int = 224
    """Pixels of the network's square input."""
    source_size: int = 224
    """Side in pixels of the images that crops are taken from: that of the training set's files."""
    framing: float | None = None
    """Margin around the lungs, as a fraction of their width and height; None for whole images."""
    source_margin: float = 0.3
    """Margin of the images that crops are taken from, where images are framed."""
    elsewhere: tuple[str, ...] = ()
    """Folders of other hospitals to train on as well, below the folder given as `elsewhere`."""
    normal_draws: int = 1
    """How often an epoch draws each normal image of the training set, which has a third as many as of pneumonia."""
    pretrained: str = ""
    """Where the initial weights come from: a name for the recipe's `start` function; random where empty."""
    held_out: float = 0.1
    """Share of the images, by patient, that training never sees."""
    hold_out: Literal["patients", "layout"] = "patients"
    """`layout` measures the framing gap: the half of the normal images laid out most like pneumonia is left out, and
    its harder part held out instead of random ones; see `training.layout`."""
    seed: int = 20
    batch: int = 64
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    """For sgd."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """`cosine` warms up and then decays to `final_rate`; `plateau` multiplies by `plateau_factor` when the loss on the
    held-out images has not fallen for `plateau_patience` epochs."""
    final_rate: float = 1e-4
    """Above zero, so that the moving average has changes to average."""
    warmup: float = 0.06
    """Fraction of all steps in which the rate rises to its peak."""
    plateau_factor: float = 0.3
    plateau_patience: int = 2
    patience: int | None = None
    """Epochs without a lower loss on the held-out images after which a phase ends, with its best weights. None trains
    to the end of the phase."""
    weight_decay: float = 0.03
    """For adamw."""
    label_smoothing: float = 0.05
    average: float | None = 0.99
    """Momentum of the weights' moving average, which is kept at the end: about 100 steps. None keeps the raw
    weights."""
    making_weight: float = 1.0
    """Largest weight of an image in the loss. Images made like the other class (sharpness, contrast, border) get more
    weight: one over the probability of their class given their making. 1 weighs all images equally."""
    teachers: tuple[str, ...] = ()
    """Model folders whose mean probabilities, on the same crop that the network sees, are distilled."""
    teacher_share: float = 0.0
    """Fraction of each target that comes from the teachers; the rest is the label."""
    place_weight: float = 0.0
    """Weight, relative to the loss of whole images, of the loss at each place of the last feature map, where the
    teachers' logits are learned."""
    place_temperature: float = 4.0
    """Divides the logits at places before their softmax: single places are far more confident than whole images."""
    precision: Literal["f32", "bf16"] = "f32"
    """On CPUs that support it; bf16 where accuracy stays within 0.2 points (`python -m benchmarks.parity`)."""
    dtype_policy: Literal["float32", "mixed_bfloat16"] = "float32"
    """Keras's policy for layers while they learn; their weights are always float32. On CPUs with bfloat16
    multiplication VGG19 trains four times as fast in `mixed_bfloat16`."""
    sensitivity: float = 0.985
    """The sensitivity that the threshold must reach on the held-out images."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def view(self) -> float:
        """Return the fraction of a source image's side that the network sees without augmentation."""
        return 1.0 if self.framing is None else (1 + 2 * self.framing) / (1 + 2 * self.source_margin)

    @property
    def holds_fixed(self) -> bool:
        """Say whether any phase freezes some layers."""
        return any(phase.fixed_to for phase in self.phases)

    @property
    def epochs(self) -> int:
        """Return the total epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def numbers(self) -> dict[str, Any]:
        """Return all hyperparameters as JSON values."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def recipe_of(model: Path) -> Recipe:
    """Return the recipe a model was trained by, from the figures in its folder: enough to repeat its split.

    Raises DataUnusable where the folder does not say.
    """
    try:
        numbers = json.loads((model / "metrics.json").read_text())["recipe"]
        plain = ("name", "network", "description", "framing", "source_size", "held_out", "seed", "input_size")
        return Recipe(phases=(), **{key: numbers[key] for key in plain if key in numbers})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataUnusable(
            f"{model.name} does not say how it was trained ({type(error).__name__}), so nothing tells which images it "
            "has not seen. Give a model that 'pneumoscreen train' wrote."
        ) from error
