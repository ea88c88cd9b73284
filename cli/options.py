"""Options that several commands share: the data folder."""

from pathlib import Path
from typing import Final

import click

_DATA_DIR_HELP: Final = "Data folder of the embedded database. Default: PNEUMOSCREEN_DATA_DIR or var."
DATA_DIR = click.option("--data-dir", type=click.Path(path_type=Path), help=_DATA_DIR_HELP)


def _keep_data_dir(context: click.Context, _parameter: click.Parameter, data_dir: Path | None) -> None:
    if data_dir is not None:
        context.obj = data_dir


SHARED_DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help=_DATA_DIR_HELP,
    expose_value=False,
    callback=_keep_data_dir,
)
"""The same for a group and its commands: it may stand before or after the command's name, and becomes `obj`."""
