"""`pneumoscreen train`: images in, model folder out."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli.errors import CommandFailed

if TYPE_CHECKING:
    from training.recipe import Recipe

REPOSITORY: Final = Path(__file__).parents[2]
DATA: Final = REPOSITORY.parent / "shared" / "data"
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("recipe_name", metavar="[RECIPE]", default="whole-mobilenet")
@click.option(
    "--data",
    type=_FOLDER,
    default=DATA / "chest_xray" / "train",
    help="Folder with NORMAL and PNEUMONIA. Default: ../shared/data/chest_xray/train beside the project.",
)
@click.option(
    "--elsewhere",
    type=_FOLDER,
    default=DATA / "elsewhere",
    help="Folder with images of other hospitals, for recipes that name some. Default: elsewhere/ beside chest_xray/.",
)
@click.option(
    "--hold-out",
    type=click.Choice(["patients", "layout"]),
    help="What is kept from training: random patients, or the normal images whose layout looks most like pneumonia.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Most passes over the images in each phase of the recipe.")
@click.option("--size", type=click.IntRange(min=32, max=1024), help="Pixels of the input. Default: the recipe's.")
@click.option("--name", metavar="NAME", help="Name of the model, in small letters and digits. Default: the recipe's.")
@click.option(
    "--out",
    type=_FOLDER,
    default=REPOSITORY / "models",
    help="Where the model folder is written. Default: models/ of the project.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Fixes the split, the weights and the changes to images.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with ImageNet weights to start from, .npz or .h5. Default: the one that the recipe names, where it is.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped, from its last whole epoch.")
@click.option(
    "--runs",
    type=_FOLDER,
    default=REPOSITORY / "runs",
    help="Where pixels, checkpoints and the journal are kept. Default: runs/ of the project.",
)
def train(
    *,
    recipe_name: str,
    data: Path,
    elsewhere: Path,
    hold_out: str | None,
    epochs: int | None,
    size: int | None,
    name: str | None,
    out: Path,
    seed: int | None,
    weights: Path | None,
    resume: bool,
    runs: Path,
) -> None:
    """Train a model by a recipe on labelled images and write its folder: weights, spec, figures and card.

    RECIPE is whole-mobilenet (the default) or one of those that `pneumoscreen train list` prints.
    """
    import logging

    from evaluation.dataset import refuse_test_split
    from evaluation.labelled import class_folders

    if recipe_name == "list":
        click.echo("\n".join(f"{recipe.name:18} {recipe.description}" for recipe in _recipes("openvino").values()))
        return
    refuse_test_split(data)
    class_folders(data)
    can_train = importlib.util.find_spec("tensorflow") is not None
    # A process has one Keras backend: an unknown recipe is reported even where nothing can be trained.
    recipes = _recipes("tensorflow" if can_train else "openvino")
    if recipe_name not in recipes:
        raise CommandFailed(f"There is no recipe '{recipe_name}'. Known: {', '.join(sorted(recipes))}.")
    from training.train import train as run_training

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    weights = weights or _stored_weights(recipes[recipe_name].pretrained)
    recipe = _adjust(recipes[recipe_name], epochs=epochs, input_size=size, name=name, seed=seed, hold_out=hold_out)
    folder = run_training(recipe, data, out, runs, resume=resume, weights=weights, elsewhere=elsewhere)
    click.echo(f"Model written to {folder}. Its figures are in {folder / 'card.md'}.")


def _recipes(backend: str) -> "dict[str, Recipe]":
    """Import the recipes and the networks that they build, on a Keras backend; OpenVINO's loads faster."""
    os.environ.setdefault("KERAS_BACKEND", backend)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from training.recipes import RECIPES

    return RECIPES


def _adjust(recipe: "Recipe", *, epochs: int | None, **numbers: int | str | None) -> "Recipe":
    """Replace the recipe's numbers by those given."""
    given: dict[str, Any] = {key: value for key, value in numbers.items() if value is not None}
    if epochs is not None:
        given["phases"] = tuple(replace(phase, epochs=min(phase.epochs, epochs)) for phase in recipe.phases)
    return replace(recipe, **given)


def _stored_weights(file_name: str) -> Path | None:
    """Find a recipe's file of ImageNet weights in the data folder; None where it does not exist."""
    stored = DATA / "weights" / file_name
    return stored if file_name and stored.is_file() else None
