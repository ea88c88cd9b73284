"""The network of compact-cnn on framed lungs, distilled from framed-mobilenet and twice as fast."""

import keras

from training.augmentation import FRAMED
from training.recipe import Phase, Recipe
from training.recipes import compact_cnn
from training.registry import network

RECIPE = Recipe(
    name="framed-compact",
    network="framed_compact",
    description="Compact residual network on framed lungs, distilled from framed-mobilenet",
    input_size=128,
    source_size=256,
    framing=0.05,
    elsewhere=("nih/train", "hannover/train"),
    normal_draws=2,
    augmentation=FRAMED,
    phases=(Phase(epochs=24, peak_rate=2e-3),),
    making_weight=4.0,
    precision="bf16",
    teachers=("framed-mobilenet",),
    teacher_share=0.9,
    label_smoothing=0.0,
    place_weight=0.05,
)


@network
def framed_compact(size: int, classes: int) -> keras.Model:
    """Build the residual network of compact-cnn."""
    built = compact_cnn.compact_cnn(size, classes)
    return keras.Model(built.input, built.get_layer("logits").output, name="framed_compact")
