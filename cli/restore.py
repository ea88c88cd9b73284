"""`pneumoscreen restore`: a backup becomes the installation of the settings."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import delete, make_url
from sqlalchemy.exc import DBAPIError

from cli.actor import operating_user
from cli.backup_folder import STORE, Manifest, digest, read_manifest
from cli.database import database_refused
from cli.database_copy import copy_in, is_empty
from cli.datafolder import private_files
from cli.doctor import is_served
from cli.errors import CommandFailed
from cli.film_copy import copy_films
from cli.settings import read_settings
from cli.users import DATA_DIR
from migrations import schema
from shared.audit import Action, record
from shared.db import Database
from shared.settings import Settings
from shared.storage import FolderStore, open_store
from shared.tables import BrowserSession, SignInLink


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Replace a database that holds accounts, jobs or films. They are lost.")
@click.option("--despite-damage", is_flag=True, help="Restore what is whole, though films in the backup are not.")
@DATA_DIR
def restore(folder: Path, force: bool, despite_damage: bool, data_dir: Path | None) -> None:
    """Bring back the database and the films of a backup in FOLDER, into the database and the store of the settings.

    Stop PneumoScreen first. Films go first, each compared with its sha256; the database is touched when all are there.
    Sessions and sign-in links end; passwords, tokens and roles are again what they were. Films that are in the store
    already stay.
    """
    settings = read_settings(data_dir)
    manifest = read_manifest(folder)
    _refuse_newer_schema(manifest)
    if is_served(settings.data_dir):
        raise CommandFailed(f"PneumoScreen is running on {settings.data_dir}. Stop it first.")
    try:
        if not force:
            _refuse_full_target(settings)
        with private_files(), _scratch_file(settings) as file:
            _stage(folder, manifest, file)
            films = _restore_films(folder, manifest, file, settings, despite_damage)
            _put_in_place(file, settings)
    except DBAPIError as error:
        raise database_refused(error) from error
    except OSError as error:
        raise CommandFailed(f"The backup could not be restored: {error.strerror}.") from error
    click.echo(f"{films:,} films and the database of {manifest.created_at:%Y-%m-%d %H:%M} UTC are restored.")
    click.echo("Everyone signs in again. Tokens that were revoked since then are valid again: revoke them once more.")


def _refuse_newer_schema(manifest: Manifest) -> None:
    try:
        ScriptDirectory(str(schema.FOLDER)).get_revision(manifest.schema_version)
    except CommandError as error:
        raise CommandFailed(
            f"The backup was made by {manifest.made_by}, whose schema {manifest.schema_version} this version does not "
            "know. Install that version or a later one and restore with it."
        ) from error


def _sqlite_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite database; None where the database is a server's."""
    url = make_url(settings.database)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _refuse_full_target(settings: Settings) -> None:
    place = _sqlite_file(settings)
    if place is not None and not place.exists():
        return
    database = Database(settings.database)
    try:
        if not is_empty(database):
            raise CommandFailed(
                "The database holds accounts, jobs or films already. Name another with --data-dir or "
                "PNEUMOSCREEN_DATABASE_URL, or replace it with --force."
            )
    finally:
        database.close()


@contextmanager
def _scratch_file(settings: Settings) -> Iterator[Path]:
    """Name a file beside the database, so that a rename puts it in place."""
    place = _sqlite_file(settings)
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent if place else None) as folder:
        yield Path(folder) / "restored.db"


def _stage(folder: Path, manifest: Manifest, file: Path) -> None:
    """Copy the database of a backup, bring it to this version's schema and end what must not come back."""
    source = folder / manifest.database.file
    try:
        shutil.copyfile(source, file)
    except FileNotFoundError:
        raise CommandFailed(f"The backup in {folder} is damaged: {source.name} is missing.") from None
    if digest(file) != manifest.database.sha256:
        raise CommandFailed(f"The backup in {folder} is damaged: {source.name} is not what was written.")
    staged = Database(f"sqlite:///{file}")
    try:
        schema.upgrade(staged)
        with staged.write() as session:
            # A link that was used since then would be good for a second time.
            for table in (BrowserSession, SignInLink):
                session.execute(delete(table))
            detail = {"backup_of": manifest.created_at.isoformat(timespec="seconds")}
            record(session, Action.BACKUP_RESTORED, user_id=None, actor=operating_user(), detail=detail)
    finally:
        staged.close()


def _restore_films(folder: Path, manifest: Manifest, file: Path, settings: Settings, despite_damage: bool) -> int:
    """Copy the films that the store lacks; raise CommandFailed where the backup lacks one that it should hold."""
    target = open_store(settings)
    staged = Database(f"sqlite:///{file}")
    try:
        copied = copy_films(staged, FolderStore(folder / STORE, target.keyring), target, trust_target=False)
    finally:
        staged.close()
    damaged = set(copied.missing) - set(manifest.missing)
    if damaged:
        click.echo("\n".join(sorted(damaged)), err=True)
        told = f"{len(damaged):,} films of the backup in {folder} are missing or damaged"
        if not despite_damage:
            raise CommandFailed(f"{told}. The database was not touched. --despite-damage restores all others.")
        click.echo(f"{told} and left out.", err=True)
    return copied.films - len(copied.missing)


def _put_in_place(file: Path, settings: Settings) -> None:
    place = _sqlite_file(settings)
    if place is not None:
        # The write-ahead log of the database that goes must not be taken for that of the one that comes.
        for log in (f"{place}-wal", f"{place}-shm"):
            Path(log).unlink(missing_ok=True)
        file.replace(place)
        return
    database = Database(settings.database)
    try:
        copy_in(file, database)
    finally:
        database.close()
