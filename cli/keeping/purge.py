"""`pneumoscreen purge`: remove old jobs and what only they used; a dry run unless `--yes` is given."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import click
from rich.table import Table
from sqlalchemy.exc import DBAPIError

from cli.actor import operating_user
from cli.database import database_refused, open_database
from cli.options import DATA_DIR
from cli.report import make_console
from cli.settings import read_settings
from shared.db import now
from shared.queue import retention
from shared.queue.removed import Removed
from shared.store.store import open_store

_DAYS: Final = {"d": 1, "w": 7, "y": 365}


class Age(click.ParamType):
    """An age such as 90d, 12w or 2y."""

    name = "age"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse a number of days, weeks or years."""
        told = re.fullmatch(r"(\d{1,5})([dwy])", str(value))
        if told is None:
            self.fail(f"Give days, weeks or years, such as 90d, 12w or 2y. Received: '{value}'.", param, ctx)
        return timedelta(days=int(told[1]) * _DAYS[told[2]])


@click.command()
@click.option("--older-than", "age", type=Age(), required=True, help="Age of jobs to remove, such as 90d, 12w or 2y.")
@click.option("--yes", "is_meant", is_flag=True, help="Remove it. Without this nothing is removed.")
@DATA_DIR
def purge(age: timedelta, is_meant: bool, data_dir: Path | None) -> None:
    """Remove the jobs that ended longer ago than AGE, with the images and predictions that only they use.

    What a newer job also shows is kept. Stored images that belong to no job, such as those of a failed request, are
    removed once they are older than a day. Only shows what would be removed, unless --yes is given. May run while
    PneumoScreen does; an interrupted purge is finished by the next one. Each job leaves a row in the audit trail.
    """
    settings = read_settings(data_dir)
    database, store = open_database(settings), open_store(settings)
    before = _time_before(age)
    try:
        if is_meant:
            parts = retention.purge(database, store, before, operating_user())
            removed = sum(parts, Removed())
        else:
            removed = retention.survey(database, store, before)
    except DBAPIError as error:
        raise database_refused(error) from error
    finally:
        database.close()
    _show(removed, before, is_meant)


def _time_before(age: timedelta) -> datetime:
    try:
        return now() - age
    except OverflowError:
        raise click.BadParameter("That is before all calendars. Give a smaller age.") from None


def _show(removed: Removed, before: datetime, is_meant: bool) -> None:
    table = Table(
        "", "count", "size", title=f"Jobs that ended before {before:%Y-%m-%d %H:%M} UTC", title_justify="left"
    )
    for name, count, size in (
        ("jobs", removed.jobs, None),
        ("screenings", removed.screenings, None),
        ("predictions", removed.predictions, None),
        ("images", removed.images, removed.image_bytes),
        ("stray files", removed.stray_files, removed.stray_bytes),
    ):
        table.add_row(name, f"{count:,}", "" if size is None else f"{size / 2**20:,.1f} MiB")
    make_console().print(table)
    if is_meant:
        click.echo("Removed.")
    elif removed == Removed():
        click.echo("There is nothing to remove.")
    else:
        click.echo("Nothing was removed. Add --yes to remove this.")
