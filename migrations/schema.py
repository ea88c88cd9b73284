"""Upgrade a database to the newest schema, and read its revision."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from shared.db import Database

FOLDER = Path(__file__).resolve().parent


def configuration(database: Database) -> Config:
    """Make Alembic's configuration for one database."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = database.engine
    return config


def upgrade(database: Database) -> None:
    """Run every migration not yet applied to the database."""
    command.upgrade(configuration(database), "head")


def newest() -> str:
    """Return the revision that this code is written for."""
    head = ScriptDirectory(str(FOLDER)).get_current_head()
    if head is None:
        raise RuntimeError(f"No migration was found in {FOLDER}.")
    return head


def current(database: Database) -> str | None:
    """Return the revision that a database is at; None where it is empty."""
    with database.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()
