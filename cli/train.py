"""`pneumoscreen train`: films in, model folder out."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from shared.errors import PneumoScreenError

REPOSITORY = Path(__file__).parents[1]


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPOSITORY.parent / "shared" / "data" / "chest_xray" / "train",
    help="Folder with NORMAL and PNEUMONIA. Default: ../shared/data/chest_xray/train beside the project.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the films. Default: the recipe's.")
@click.option("--name", help="Name of the model folder. Default: the recipe's, compact-cnn.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPOSITORY / "models",
    help="Where the model folder is written. Default: models/ of the project.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Fixes the split, the weights and the changes to films.")
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped, from its last whole epoch.")
@click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=REPOSITORY / "runs",
    help="Where pixels, checkpoints and the journal are kept. Default: runs/ of the project.",
)
def train(
    data: Path, epochs: int | None, name: str | None, out: Path, seed: int | None, resume: bool, runs: Path
) -> None:
    """Train a model on labelled films and write its folder."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import logging

    from training.recipe import COMPACT_CNN
    from training.train import train as run_training

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    changes: dict[str, Any] = {"epochs": epochs, "name": name, "seed": seed}
    recipe = replace(COMPACT_CNN, **{key: value for key, value in changes.items() if value is not None})
    try:
        folder = run_training(recipe, data, out, runs, resume)
    except PneumoScreenError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Model written to {folder}. Its figures are in card.md; 'pneumoscreen evaluate' measures it elsewhere.")
