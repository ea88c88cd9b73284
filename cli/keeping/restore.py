"""`pneumoscreen restore`: restore a backup into the configured installation."""

import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import delete, func, make_url, select, text, update
from sqlalchemy.exc import DBAPIError

from cli.actor import operating_user
from cli.data_folder import is_served, private_files
from cli.database import database_refused
from cli.errors import CommandFailed
from cli.keeping.backup_folder import MANIFEST, STORE, Manifest, digest, open_regular, read_manifest
from cli.keeping.database_copy import copy_in, is_empty, make_single
from cli.keeping.image_copy import copy_images
from cli.options import DATA_DIR
from cli.settings import read_settings
from migrations import schema
from shared.audit.record import Action, record
from shared.db import Base, Database, now
from shared.errors import StoreAway
from shared.messages.problems import RESTORED
from shared.settings import Settings
from shared.store.durability import force
from shared.store.store import FolderStore, ImageStore, open_store
from shared.tables import BrowserSession, Image, Message, MessageState, SignInLink, Webhook

log = logging.getLogger(__name__)

_RESTORED: Final = "restored.db"
_ROWS: Final = 1000


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--force", "is_forced", is_flag=True, help="Replace a database that holds accounts, jobs or images. They are lost."
)
@click.option("--despite-damage", is_flag=True, help="Restore what is whole, though images in the backup are not.")
@DATA_DIR
def restore(folder: Path, is_forced: bool, despite_damage: bool, data_dir: Path | None) -> None:
    """Restore the database and the images of a backup in FOLDER to the configured database and image store.

    Stop PneumoScreen first. Images are copied first, each compared with its sha256; the database is changed once all
    are there. Sessions and sign-in links end; passwords, tokens and roles are as they were. Images already in the store
    stay.
    """
    settings = read_settings(data_dir)
    manifest = read_manifest(folder)
    _refuse_newer_schema(manifest)
    if is_served(settings.data_dir):
        raise CommandFailed(f"PneumoScreen is running on {settings.data_dir}. Stop it first.")
    try:
        if not is_forced:
            _refuse_full_target(settings)
        with private_files(), _scratch_file(settings) as file:
            _stage(folder, manifest, file)
            _read_through(folder, file, manifest)
            images = _restore_images(folder, manifest, file, settings, despite_damage)
            _put_in_place(file, settings)
    except DBAPIError as error:
        raise database_refused(error) from error
    except OSError as error:
        raise CommandFailed(f"The backup could not be restored: {error.strerror}.") from error
    click.echo(f"{images:,} images and the database of {manifest.created_at:%Y-%m-%d %H:%M} UTC are restored.")
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
                "The database holds accounts, jobs or images already. Name another with --data-dir or "
                "PNEUMOSCREEN_DATABASE_URL, or replace it with --force."
            )
    finally:
        database.close()


@contextmanager
def _scratch_file(settings: Settings) -> Iterator[Path]:
    """Yield a path beside the database, so that a rename puts it in place."""
    place = _sqlite_file(settings)
    if place is None:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / _RESTORED
        return
    scratch = place.parent / "restoring"
    if scratch.exists():  # left by a restore that was killed
        shutil.rmtree(scratch)
    scratch.mkdir(mode=0o700, parents=True)
    try:
        yield scratch / _RESTORED
    finally:
        shutil.rmtree(scratch)


def _stage(folder: Path, manifest: Manifest, file: Path) -> None:
    """Copy a backup's database, migrate it to this version's schema and end what must not be restored."""
    source = folder / manifest.database.file
    file.touch(mode=0o600)
    try:
        with open_regular(source, manifest.database.bytes) as taken, file.open("wb") as kept:
            shutil.copyfileobj(taken, kept)
    except FileNotFoundError:
        raise CommandFailed(f"The backup in {folder} is damaged: {source.name} is missing.") from None
    except OSError as error:
        if error.filename != str(source):
            raise
        raise CommandFailed(f"The backup in {folder} is damaged: {source.name} is not what was written.") from error
    if digest(file) != manifest.database.sha256:
        raise CommandFailed(f"The backup in {folder} is damaged: {source.name} is not what was written.")
    with _as_damage(folder):
        _migrate(file, manifest)


def _migrate(file: Path, manifest: Manifest) -> None:
    make_single(file)
    staged = Database(f"sqlite:///{file}")
    try:
        schema.upgrade(staged)
        _refuse_foreign_schema(staged, file.with_name("empty.db"))
        with staged.write() as session:
            # A link used since the backup would be valid a second time.
            for table in (BrowserSession, SignInLink):
                session.execute(delete(table))
            # A trial on another machine, or a backup from somebody else, must call nobody and write to nobody.
            running = update(Webhook).where(Webhook.stopped_at.is_(None))
            session.execute(running.values(stopped_at=now(), stopped_for=RESTORED))
            unsent = update(Message).where(Message.user_id.is_not(None), Message.state == MessageState.WAITING)
            session.execute(unsent.values(state=MessageState.FAILED, problem=RESTORED))
            detail = {"backup_of": manifest.created_at.isoformat(timespec="seconds")}
            record(session, Action.BACKUP_RESTORED, user_id=None, actor=operating_user(), detail=detail)
    finally:
        staged.close()


def _refuse_foreign_schema(staged: Database, empty: Path) -> None:
    """Raise CommandFailed where a database has other tables, views or triggers than our migrations make.

    A foreign trigger would run with every write; without ours the audit trail could be rewritten.
    """
    ours = Database(f"sqlite:///{empty}")
    try:
        schema.upgrade(ours)
        found, expected = _parts_of(staged), _parts_of(ours)
    finally:
        ours.close()
    if found != expected:
        names = ", ".join(sorted({ascii(name)[:80] for _, name, *_ in found ^ expected})[:5])
        raise CommandFailed(f"its database is not as this program makes one ({names})")


def _parts_of(database: Database) -> set[tuple[str, ...]]:
    with database.engine.connect() as connection:
        rows = connection.execute(text("SELECT type, name, tbl_name, sql FROM sqlite_master")).all()
    # Migrations write table definitions differently; a trigger's text is what it does.
    return {
        (kind, name, table, sql if kind == "trigger" else "")
        for kind, name, table, sql in rows
        if not str(name).startswith("sqlite_")
    }


def _read_through(folder: Path, file: Path, manifest: Manifest) -> None:
    """Read every row before anything is replaced: SQLite accepts any value in any column."""
    staged = Database(f"sqlite:///{file}")
    try:
        with _as_damage(folder), staged.read() as session:
            images = session.scalar(select(func.count()).select_from(Image)) or 0
            if images != manifest.images:
                raise CommandFailed(f"its database names {images:,} images, {MANIFEST} {manifest.images:,}.")
            for table in Base.metadata.sorted_tables:
                for _ in session.execute(select(table).execution_options(yield_per=_ROWS)):
                    pass
    finally:
        staged.close()


@contextmanager
def _as_damage(folder: Path) -> Iterator[None]:
    """Report any error in a backup's database as a damaged backup."""
    try:
        yield
    except CommandFailed as error:
        raise CommandFailed(f"The backup in {folder} is damaged: {error.message}") from error
    except (DBAPIError, sqlite3.DatabaseError, CommandError) as error:
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        raise CommandFailed(
            f"The backup in {folder} is not restored: its database cannot be used ({reason})."
        ) from error
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        told = "its database holds values that this program did not write"
        raise CommandFailed(f"The backup in {folder} is damaged: {told}.") from error


def _open_source(folder: Path, target: ImageStore) -> ImageStore:
    """Open the images of a backup: with the configured keys where they are encrypted, else without."""
    try:
        plain = FolderStore(folder / STORE)
        if not plain.key_record.is_encrypted:
            plain.key_record.check()
            return plain
        sealed = FolderStore(folder / STORE, target.keyring)
        sealed.key_record.check()
    except StoreAway as error:
        raise CommandFailed(f"The images of the backup in {folder} cannot be read. {error}") from error
    return sealed


def _restore_images(folder: Path, manifest: Manifest, file: Path, settings: Settings, despite_damage: bool) -> int:
    """Copy the images that the store lacks; raise CommandFailed where the backup lacks one that it should hold."""
    target = open_store(settings)
    source = _open_source(folder, target)
    if target.is_new():
        target.create()
    staged = Database(f"sqlite:///{file}")
    try:
        copied = copy_images(staged, source, target, trust_target=False)
    finally:
        staged.close()
    damaged = set(copied.missing) - set(manifest.missing)
    if damaged:
        click.echo("\n".join(sorted(damaged)), err=True)
        told = f"{len(damaged):,} images of the backup in {folder} are missing or damaged"
        if not despite_damage:
            raise CommandFailed(f"{told}. The database was not touched. --despite-damage restores all others.")
        click.echo(f"{told} and left out.", err=True)
    return copied.images - len(copied.missing)


def _end_log(place: Path) -> None:
    """Checkpoint the old database's write-ahead log into it, so that it is not taken for the new database's log.

    So if this command is killed between two steps, either the former database or the restored one is complete.
    """
    if place.exists():
        try:
            with closing(sqlite3.connect(place)) as former:
                former.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            raise CommandFailed(f"The database {place} is in use ({error}). Stop PneumoScreen first.") from error
        except sqlite3.DatabaseError:
            log.warning("The database that is replaced was damaged.")
    for left in (f"{place}-wal", f"{place}-shm", f"{place}-journal"):
        Path(left).unlink(missing_ok=True)


def _put_in_place(file: Path, settings: Settings) -> None:
    place = _sqlite_file(settings)
    if place is not None:
        force(file, os.O_RDWR)
        _end_log(place)
        file.replace(place)
        force(place.parent)
        return
    database = Database(settings.database)
    try:
        copy_in(file, database)
    finally:
        database.close()
