"""`pneumoscreen models`: list the models, their figures and whether their files are intact."""

from pathlib import Path
from typing import Final

import click
from rich.table import Table

from cli.errors import CommandFailed
from cli.models.table import read_metrics, weigh
from cli.report import make_console
from shared.errors import ModelUnavailable
from shared.models.folder import model_folders, read_spec, verify_weights
from shared.models.spec import ModelSpec
from shared.settings import REPOSITORY

MODELS: Final = REPOSITORY / "models"
MODELS_DIR: Final = click.option(
    "--models-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=MODELS,
    help="Folder of the model folders. Default: models/ of the project.",
)
_HEADINGS: Final = ("model", "parameters", "input", "threshold", "AUC", "recall", "specificity", "files")


@click.command()
@MODELS_DIR
def models(models_dir: Path) -> None:
    """List the models with their validation figures and check their files; exit status 1 where one is damaged."""
    folders = model_folders(models_dir)
    if not folders:
        raise CommandFailed(f"There is no model in {models_dir}. Train one with 'pneumoscreen train'.")
    table = Table(title="Models, with the figures of their validation")
    for heading in _HEADINGS:
        table.add_column(heading, justify="left" if heading in {"model", "files"} else "right", overflow="fold")
    problems = [problem for folder in folders if (problem := _add_row(table, folder))]
    make_console().print(table)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _add_row(table: Table, folder: Path) -> str | None:
    """Add a model's row; return what is wrong with its files, None where they are intact or merely absent."""
    try:
        spec = read_spec(folder)
        cells = _cells(spec, folder)
    except ModelUnavailable as error:
        table.add_row(folder.name, *[""] * (len(_HEADINGS) - 2), "damaged")
        return str(error)
    try:
        verify_weights(folder, spec)
    except ModelUnavailable as error:
        # Large weights are not committed; figures and card are useful without them.
        is_absent = not spec.members and weigh(folder, spec) is None
        table.add_row(*cells, "no weights here" if is_absent else "damaged")
        return None if is_absent else str(error)
    table.add_row(*cells, "verified")
    return None


def _cells(spec: ModelSpec, folder: Path) -> list[str]:
    size = f"{spec.input_size}x{spec.input_size}"
    return [spec.version, f"{spec.parameters:,}", size, f"{spec.threshold:.4f}", *_validation_figures(spec, folder)]


def _validation_figures(spec: ModelSpec, folder: Path) -> list[str]:
    """Return AUC, recall and specificity from metrics.json; dashes where missing or measured at another threshold."""
    figures = read_metrics(folder)
    if figures is None:
        return ["-", "-", "-"]
    if figures["threshold"] != spec.threshold:
        return [f"{figures['auc']:.4f}", "-", "-"]
    return [f"{figures[key]:.4f}" for key in ("auc", "recall", "specificity")]
