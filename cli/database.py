"""The database for commands that use it directly: settings, one transaction, errors as messages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session

from cli.errors import CommandFailed
from cli.settings import read_settings
from shared.db import Database
from shared.settings import PREFIX, Settings

T = TypeVar("T")


def open_database(settings: Settings) -> Database:
    """Open the database of the settings; raise CommandFailed where a database file does not exist yet."""
    try:
        url = make_url(settings.database)
        if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).is_file():
            raise CommandFailed(
                f"There is no database at {url.database} yet. Start 'pneumoscreen serve' once, or name another data "
                f"folder with --data-dir or {PREFIX}DATA_DIR."
            )
        return Database(settings.database)
    except ArgumentError as error:
        raise CommandFailed(f"{PREFIX}DATABASE_URL is not the address of a database.") from error


@contextmanager
def transaction(data_dir: Path | None) -> Iterator[Session]:
    """Open one writing transaction; a database error becomes CommandFailed."""
    database = open_database(read_settings(data_dir))
    try:
        with database.write() as session:
            yield session
    except DBAPIError as error:
        raise database_refused(error) from error
    finally:
        database.close()


def transact(data_dir: Path | None, work: Callable[[Session], T]) -> T:
    """Run work in one writing transaction and repeat it after conflicts; see `transaction`."""
    database = open_database(read_settings(data_dir))
    try:
        with refusals_in_words():
            return database.transact(work)
    finally:
        database.close()


@contextmanager
def refusals_in_words() -> Iterator[None]:
    """Turn errors of a database that is unreachable, locked or damaged into CommandFailed."""
    try:
        yield
    except DBAPIError as error:
        raise database_refused(error) from error


def database_refused(error: DBAPIError) -> CommandFailed:
    """Say what a database did not do, and where to look."""
    return CommandFailed(
        f"The database did not do this: {str(error.orig).strip().splitlines()[0]}. 'pneumoscreen doctor' says "
        "whether it is reachable, whole and at the newest migration."
    )
