"""`pneumoscreen models`: which models there are, how good they are and whether their files are whole."""

import json
from pathlib import Path
from typing import Final

import click
from rich.table import Table

from cli.errors import CommandFailed
from cli.report import make_console
from shared.errors import ModelUnavailable
from shared.modelspec import SPEC_FILE, ModelSpec, read_spec, verify_weights

MODELS: Final = Path(__file__).parents[1] / "models"
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


def model_folders(models_dir: Path) -> list[Path]:
    """List the folders that hold a spec, by name."""
    return sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))


def _add_row(table: Table, folder: Path) -> str | None:
    """Add a model's row; return what is wrong with its files, None where they are whole."""
    try:
        spec = read_spec(folder)
    except ModelUnavailable as error:
        table.add_row(folder.name, *[""] * (len(_HEADINGS) - 2), "damaged")
        return str(error)
    try:
        verify_weights(folder, spec)
    except ModelUnavailable as error:
        table.add_row(*_cells(spec, folder), "damaged")
        return str(error)
    table.add_row(*_cells(spec, folder), "verified")
    return None


def _cells(spec: ModelSpec, folder: Path) -> list[str]:
    size = f"{spec.input_size}x{spec.input_size}"
    return [spec.version, f"{spec.parameters:,}", size, f"{spec.threshold:.4f}", *_validation_figures(folder)]


def _validation_figures(folder: Path) -> list[str]:
    """Read AUC, recall and specificity from metrics.json; dashes where the model brings none."""
    path = folder / "metrics.json"
    if not path.is_file():
        return ["-", "-", "-"]
    figures = json.loads(path.read_text())["validation"]
    return [f"{figures[key]:.4f}" for key in ("auc", "recall", "specificity")]
