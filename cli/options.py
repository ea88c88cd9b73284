"""Options shared by several commands: the data folder, and the type of a number within bounds."""

import math
from pathlib import Path
from typing import Any, Final

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
"""The same for a group and its commands: it may precede or follow the subcommand's name, and becomes `obj`."""


class NumberWithin(click.FloatRange):
    """A number within bounds. click's own type accepts NaN, which is not outside any bound."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; fail where it is invalid or out of bounds."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number within the bounds.", param, ctx)
        return number
