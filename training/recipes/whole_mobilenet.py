"""MobileNetV2 on whole images, most in the framing of another; lower layers frozen, images of three hospitals.

Whole images beat framed lungs on every estimate but one: reframed images, where a network on whole images fails unless
it was also trained on reframed ones.
"""

from pathlib import Path

import keras
import numpy as np

from training.augmentation import MOVED
from training.recipe import Phase, Recipe
from training.recipes import mobilenet_v2
from training.registry import network

RECIPE = Recipe(
    name="whole-mobilenet",
    network="whole_mobilenet",
    description="MobileNetV2 with ImageNet weights on whole images, its upper layers trained",
    input_size=160,
    elsewhere=("nih/train", "hannover/train"),
    normal_draws=2,
    augmentation=MOVED,
    pretrained="mobilenet_v2_1.0_imagenet_folded.npz",
    phases=(Phase(epochs=6, peak_rate=1e-3, fixed_to="block_12_add"),),
    final_rate=2e-5,
    weight_decay=0.02,
    making_weight=4.0,
    precision="bf16",
    sensitivity=0.98,
)


@network
def whole_mobilenet(size: int, classes: int) -> keras.Model:
    """Build MobileNetV2 1.0 on one smoothed grey channel repeated three times, with logits at each place."""
    return mobilenet_v2.on_grey(size, classes, "whole_mobilenet", smoothed=True)


def start(model: keras.Model, weights: Path | None, images: np.ndarray) -> str:
    """Load folded ImageNet weights as for mobilenet-v2."""
    return mobilenet_v2.start(model, weights, images)
