"""`pneumoscreen audit`: read, verify and export the audit trail, directly on the database."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from cli.actor import operating_user
from cli.database import database_refused, open_database
from cli.errors import CommandFailed
from cli.options import SHARED_DATA_DIR
from cli.outputs import check_writable, write_pieces
from cli.report import make_console
from cli.settings import read_settings
from shared.audit.chain import Head, read_head
from shared.audit.record import Action, record
from shared.audit.trail import FORMATS, TrailFilters, iterate_events, read_events, write_trail
from shared.audit.verify import verify
from shared.db import Database
from shared.tables import AuditEvent

C = TypeVar("C", bound=Callable[..., None])

_DAY: Final = click.DateTime(["%Y-%m-%d"])


def _filtered(command: C) -> C:
    """Add the options that filter the trail."""
    for option in (
        click.option("--until", type=_DAY, help="Last day, in UTC, counted whole."),
        click.option("--since", type=_DAY, help="First day, in UTC."),
        click.option("--subject", help="Id of what was acted on: an image, job, account or token."),
        click.option("--action", type=click.Choice(list(Action)), help="What was done."),
        click.option("--person", help="Who: the name of an account, or os:NAME for the command line."),
    ):
        command = option(command)
    return command


@click.group()
@SHARED_DATA_DIR
def audit() -> None:
    """Read, verify and export the audit trail: who did what, when and from where."""


@audit.command("list")
@_filtered
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Show at most this many rows."
)
@SHARED_DATA_DIR
@click.pass_obj
def list_events(data_dir: Path | None, /, limit: int, **filters: str | datetime | None) -> None:
    """Show the rows that match, the newest first."""
    wanted = select(AuditEvent).where(*_filters(filters).conditions())
    with _database(data_dir) as database, database.read() as session:
        found = read_events(session, wanted.order_by(AuditEvent.sequence.desc()).limit(limit))
    table = Table("row", "when (UTC)", "who", "what", "subject", "from", "detail")
    for event in found:
        detail = ", ".join(f"{name} {value}" for name, value in (event.detail or {}).items())
        texts = (event.actor or "-", event.action, event.subject or "-", event.address or "-", detail)
        when = f"{event.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(event.sequence), when, *map(Text, texts))
    make_console().print(table)


@audit.command("verify")
@click.option(
    "--head", "kept", metavar="N:HASH", help="A head that 'audit head' printed, kept where nobody can edit it."
)
@SHARED_DATA_DIR
@click.pass_context
def verify_trail(context: click.Context, kept: str | None) -> None:
    """Verify every row. Exit status 0 if none was edited, removed, inserted or moved; else 1, with the first."""
    head = Head.parse(kept) if kept else None
    with _database(context.obj) as database:
        found = verify(database, kept=head)
    if found.broken is not None:
        click.echo(f"The audit trail is broken. {found.broken.message}", err=True)
        context.exit(1)
    rows = "1 row" if found.place.sequence == 1 else f"{found.place.sequence:,} rows"
    click.echo(f"The audit trail is whole: {rows}. Head: {found.place}")


@audit.command("export")
@_filtered
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A file, .csv or .json."
)
@SHARED_DATA_DIR
@click.pass_obj
def export_trail(data_dir: Path | None, /, output: Path, **filters: str | datetime | None) -> None:
    """Write the rows that match, oldest first, with their hashes. The export itself is written to the trail."""
    form = output.suffix.lower().removeprefix(".")
    if form not in FORMATS:
        raise CommandFailed(f"--output ends in .csv or .json. Received: '{output}'")
    check_writable(output)
    wanted = _filters(filters)
    with _database(data_dir) as database:
        with database.write() as session:
            detail = {"format": form, **wanted.to_args()}
            record(session, Action.AUDIT_EXPORTED, user_id=None, actor=operating_user(), detail=detail)
        write_pieces(output, write_trail(iterate_events(database, wanted), form))
    click.echo(f"Wrote {output}.")


@audit.command("head")
@SHARED_DATA_DIR
@click.pass_obj
def show_head(data_dir: Path | None) -> None:
    """Print the number and hash of the newest row. A copy kept elsewhere reveals a trail that was cut or rewritten."""
    with _database(data_dir) as database, database.read() as session:
        head = read_head(session)
    if head is None:
        raise CommandFailed("The audit trail has lost its head. 'pneumoscreen audit verify' says more.")
    click.echo(str(head))


def _filters(given: dict[str, str | datetime | None]) -> TrailFilters:
    values = {name: value.date() if isinstance(value, datetime) else value for name, value in given.items()}
    return TrailFilters(**values)  # type: ignore[arg-type]  # click has read each option as its field's type


@contextmanager
def _database(data_dir: Path | None) -> Iterator[Database]:
    database = open_database(read_settings(data_dir))
    try:
        yield database
    except DBAPIError as error:
        raise database_refused(error) from error
    finally:
        database.close()
