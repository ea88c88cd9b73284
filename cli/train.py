"""`pneumoscreen train`: films in, model folder out."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

REPOSITORY: Final = Path(__file__).parents[1]
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--data",
    type=_FOLDER,
    default=REPOSITORY.parent / "shared" / "data" / "chest_xray" / "train",
    help="Folder with NORMAL and PNEUMONIA. Default: ../shared/data/chest_xray/train beside the project.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the films. Default: the recipe's.")
@click.option(
    "--name", metavar="NAME", help="Name of the model, in small letters and digits. Default: the recipe's, compact-cnn."
)
@click.option(
    "--out",
    type=_FOLDER,
    default=REPOSITORY / "models",
    help="Where the model folder is written. Default: models/ of the project.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Fixes the split, the weights and the changes to films.")
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped, from its last whole epoch.")
@click.option(
    "--runs",
    type=_FOLDER,
    default=REPOSITORY / "runs",
    help="Where pixels, checkpoints and the journal are kept. Default: runs/ of the project.",
)
def train(*, data: Path, out: Path, runs: Path, resume: bool, **numbers: Any) -> None:
    """Train a model on labelled films and write its folder: weights, spec, figures and card."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import logging

    from training.recipe import COMPACT_CNN
    from training.train import train as run_training

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = replace(COMPACT_CNN, **{name: value for name, value in numbers.items() if value is not None})
    folder = run_training(recipe, data, out, runs, resume)
    click.echo(f"Model written to {folder}. Its figures are in {folder / 'card.md'}.")
