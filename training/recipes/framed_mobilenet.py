"""MobileNetV2 on framed lungs: lower pretrained layers frozen, upper ones trained, images of three hospitals.

Sandler et al. 2018 (arXiv:1801.04381). The lower layers keep their ImageNet weights: a few thousand images of one
hospital would fit them to its habits.
"""

from pathlib import Path

import keras
import numpy as np

from training.augmentation import FRAMED
from training.recipe import Phase, Recipe
from training.recipes import mobilenet_v2
from training.registry import network

RECIPE = Recipe(
    name="framed-mobilenet",
    network="framed_mobilenet",
    description="MobileNetV2 with ImageNet weights on framed lungs, its upper layers trained",
    input_size=128,
    source_size=256,
    framing=0.05,
    elsewhere=("nih/train", "hannover/train"),
    normal_draws=2,
    augmentation=FRAMED,
    pretrained="mobilenet_v2_1.0_imagenet_folded.npz",
    phases=(Phase(epochs=12, peak_rate=1e-3, fixed_to="block_5_add"),),
    final_rate=2e-5,
    weight_decay=0.02,
    making_weight=4.0,
    precision="bf16",
)


@network
def framed_mobilenet(size: int, classes: int) -> keras.Model:
    """Build MobileNetV2 1.0 on one grey channel repeated three times, with logits at each place."""
    return mobilenet_v2.on_grey(size, classes, "framed_mobilenet")


def start(model: keras.Model, weights: Path | None, images: np.ndarray) -> str:
    """Load folded ImageNet weights as for mobilenet-v2."""
    return mobilenet_v2.start(model, weights, images)
