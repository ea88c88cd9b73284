"""What a training is made of: every number of it."""

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
    """A stretch of training with one set of layers that learn."""

    epochs: int
    """At most; `Recipe.patience` may end it earlier."""
    peak_rate: float
    fixed_to: str = ""
    """Name of the last layer that does not learn, through which every way from the image to the logits leads; all
    layers learn where it is empty. Only layers with loaded weights are held fixed: a random one would stay random. A
    later phase holds the same layers fixed or fewer. See `training.fixed_layers`."""


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training."""

    name: str
    network: str
    """Name of the function that builds it, see `training.registry`."""
    description: str
    phases: tuple[Phase, ...]
    classes: tuple[ImageClass, ...] = CLASSES
    input_size: int = 224
    """Pixels of the network's square input."""
    source_size: int = 224
    """Pixels of the images that crops are taken from: those of the training set's files."""
    framing: float | None = None
    """Margin around the lungs that the network sees, in parts of their width and height; whole images where None."""
    source_margin: float = 0.3
    """Margin of the images that crops are taken from, where images are framed."""
    elsewhere: tuple[str, ...] = ()
    """Folders of other hospitals to train on as well, in the folder that is given for them."""
    normal_draws: int = 1
    """How often an epoch draws each normal image of the training set, which holds a third as many as of pneumonia."""
    pretrained: str = ""
    """Where the first weights come from: a name that the recipe's `start` function knows; random where empty."""
    held_out: float = 0.1
    """Share of the images, by patient, that training never sees."""
    hold_out: Literal["patients", "layout"] = "patients"
    """`layout` measures the framing gap: of the normal images the half whose layout looks most like pneumonia is left
    out, and its harder part held out in place of random ones; see `training.layout`."""
    seed: int = 20
    batch: int = 64
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    momentum: float = 0.9
    """For sgd."""
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    """`cosine` climbs and then falls to `final_rate`; `plateau` multiplies by `plateau_factor` when the loss on the
    held-out images has not fallen for `plateau_patience` epochs."""
    final_rate: float = 1e-4
    """Above zero, so that the moving average has something to average."""
    warmup: float = 0.06
    """Part of all steps in which the rate climbs to its peak."""
    plateau_factor: float = 0.3
    plateau_patience: int = 2
    patience: int | None = None
    """Epochs without a lower loss on the held-out images after which a phase ends, with its best weights. None trains
    to the end of the phase."""
    weight_decay: float = 0.03
    """For adamw."""
    label_smoothing: float = 0.05
    average: float | None = 0.99
    """Momentum of the moving average of the weights, which is what is kept in the end: about 100 steps. None keeps the
    raw weights."""
    making_weight: float = 1.0
    """Largest weight of an image in the loss. Images whose making (sharpness, contrast, border) speaks against their
    class count for more: by one over the probability of their class given their making. 1 weighs all images alike."""
    teachers: tuple[str, ...] = ()
    """Model folders whose mean probabilities, on the very crop that the network sees, are learned from."""
    teacher_share: float = 0.0
    """Part of each target that comes from the teachers; the rest is the label."""
    place_weight: float = 0.0
    """Weight, beside the loss of whole images, of the loss at each place of the last feature map, where the teachers'
    logits are learned."""
    place_temperature: float = 4.0
    """Divides the logits at places before their softmax: single places are far surer than whole images."""
    precision: Literal["f32", "bf16"] = "f32"
    """What CPUs that can compute in; bf16 where accuracy stays within 0.2 points (`python -m benchmarks.parity`)."""
    dtype_policy: Literal["float32", "mixed_bfloat16"] = "float32"
    """Keras's, of layers while they learn; their weights are float32 all the same. On CPUs that multiply in bfloat16
    VGG19 learns four times as fast in `mixed_bfloat16`."""
    sensitivity: float = 0.985
    """What the threshold must reach on the held-out images."""
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def view(self) -> float:
        """Return the part of a source image's side that the network sees of it where nothing is changed."""
        return 1.0 if self.framing is None else (1 + 2 * self.framing) / (1 + 2 * self.source_margin)

    @property
    def holds_fixed(self) -> bool:
        """Say whether there is a phase in which not all layers learn."""
        return any(phase.fixed_to for phase in self.phases)

    @property
    def epochs(self) -> int:
        """Return the epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def numbers(self) -> dict[str, Any]:
        """Return all numbers as JSON would hold them."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def recipe_of(model: Path) -> Recipe:
    """Return the numbers that a model was trained by, from the figures in its folder: enough to tell its sides apart.

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
