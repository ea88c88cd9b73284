"""The recipes, by the name of the model each one trains."""

from types import ModuleType
from typing import Final

from evaluation.card import Planned
from training.recipe import Recipe
from training.recipes import (
    cnn_lstm,
    compact_cnn,
    framed_compact,
    framed_mobilenet,
    inception_v3,
    mobilenet_v2,
    scratch_cnn,
    vgg16,
    vgg19_sgd,
    vgg19_two_phase,
    whole_mobilenet,
)

MODULES: Final[dict[str, ModuleType]] = {
    module.RECIPE.name: module
    for module in (
        compact_cnn,
        mobilenet_v2,
        framed_mobilenet,
        framed_compact,
        whole_mobilenet,
        cnn_lstm,
        vgg19_two_phase,
        vgg19_sgd,
        vgg16,
        inception_v3,
        scratch_cnn,
    )
}
RECIPES: Final[dict[str, Recipe]] = {name: module.RECIPE for name, module in MODULES.items()}
DEFAULT: Final = whole_mobilenet.RECIPE.name


def module_of(network: str) -> ModuleType:
    """Return the module of the recipe that trains a network; a model's name may differ from its recipe's."""
    return next(module for module in MODULES.values() if module.RECIPE.network == network)


def planned_by(network: str) -> Planned:
    """Return the planned figures of the recipe that trains a network, for a model's card."""
    recipe = module_of(network).RECIPE
    return Planned(recipe=recipe.name, input_size=recipe.input_size, epochs=recipe.epochs)
