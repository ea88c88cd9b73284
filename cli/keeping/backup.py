"""`pneumoscreen backup`: copy database and images to a folder while the system runs."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click
from sqlalchemy.exc import DBAPIError

from cli.actor import operating_user
from cli.database import database_refused, open_database
from cli.errors import CommandFailed
from cli.keeping.backup_folder import DATABASES, FORMAT, STORE, DatabaseCopy, Manifest, digest, held, write_manifest
from cli.keeping.database_copy import copy_out, make_single
from cli.keeping.image_copy import ImageCopy, copy_images, named, still_named
from cli.options import DATA_DIR
from cli.settings import read_settings
from migrations import schema
from shared.audit.record import Action, record
from shared.batches import batched
from shared.db import Database, now
from shared.errors import StoreAway
from shared.store.store import FolderStore, ImageStore, open_store

ROUNDS: Final = 5
_KEYS: Final = 500


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--verify", is_flag=True, help="Also read the images already in FOLDER, and replace damaged ones.")
@DATA_DIR
def backup(folder: Path, verify: bool, data_dir: Path | None) -> None:
    """Copy the database, the images and their thumbnails to FOLDER, while PneumoScreen runs.

    Given the same FOLDER again, it copies only what is new and removes what has been deleted since; until that is
    done, the earlier backup stays intact. Keys are not copied: keep PNEUMOSCREEN_STORE_KEY elsewhere, because encrypted
    images cannot be read without it. Exit status 1 if images had already been lost or damaged.
    """
    settings = read_settings(data_dir)
    database, live = open_database(settings), open_store(settings)
    try:
        _refuse_old_schema(database)
        with held(folder):
            manifest = _back_up(database, live, folder, verify=verify)
        with database.write() as session:
            detail = {"images": str(manifest.images)}
            record(session, Action.BACKUP_MADE, user_id=None, actor=operating_user(), detail=detail)
    except DBAPIError as error:
        raise database_refused(error) from error
    except sqlite3.Error as error:
        raise CommandFailed(f"The database could not be copied to {folder}: {error}.") from error
    finally:
        database.close()
    if manifest.missing:
        click.echo(f"{len(manifest.missing):,} images are missing or damaged in the image store:", err=True)
        click.echo("\n".join(manifest.missing), err=True)
        raise SystemExit(1)


def _refuse_old_schema(database: Database) -> None:
    present = schema.current(database)
    if present != schema.newest():
        raise CommandFailed(
            f"The database is at schema {present or 'none'} and this version writes {schema.newest()}. Make the backup "
            "with the version that runs, or migrate first."
        )


def _back_up(database: Database, live: ImageStore, folder: Path, *, verify: bool) -> Manifest:
    live.refuse_absent()
    kept = _open_kept(folder, live)
    for _ in range(ROUNDS):
        file, created_at = folder / f"database-{secrets.token_hex(8)}.db", now()
        copy_out(database, file)
        with _opened(file) as copy:
            copied = copy_images(copy, live, kept, trust_target=not verify)
            deleted = _list_deleted(copy, kept)
        # An image's row is deleted before its file. So where both are gone, the image was deleted after the database
        # was copied, and the next copy does not name it.
        if len(still_named(database, copied.missing)) == len(copied.missing):
            manifest = _describe(file, copied, created_at)
            write_manifest(folder, manifest)
            _let_go(folder, file, kept, deleted)
            click.echo(f"{copied.images:,} images, {copied.new:,} of them new, and the database are in {folder}.")
            return manifest
    raise CommandFailed("Images were deleted all the while. Make the backup when the purge has ended.")


def _open_kept(folder: Path, live: ImageStore) -> ImageStore:
    """Open the images of a backup's folder. Encrypted images stay encrypted: the copy uses the same keys."""
    kept = FolderStore(folder / STORE, live.keyring)
    try:
        if kept.is_new():
            kept.create()
        kept.check()
    except StoreAway as error:
        raise CommandFailed(f"The earlier backup in {folder} cannot be added to. Name a new folder. {error}") from error
    return kept


@contextmanager
def _opened(file: Path) -> Iterator[Database]:
    copy = Database(f"sqlite:///{file}")
    try:
        yield copy
    finally:
        copy.close()
        make_single(file)


def _describe(file: Path, copied: ImageCopy, created_at: datetime) -> Manifest:
    return Manifest(
        format=FORMAT,
        made_by=f"pneumoscreen {version('pneumoscreen')}",
        schema_version=schema.newest(),
        created_at=created_at,
        database=DatabaseCopy(file=file.name, bytes=file.stat().st_size, sha256=digest(file)),
        images=copied.images,
        image_bytes=copied.image_bytes,
        missing=copied.missing,
    )


def _list_deleted(copy: Database, kept: ImageStore) -> list[str]:
    """List the images that an earlier backup left and this one does not name."""
    listed = ([image.key for image in some] for some in batched(kept.images(), _KEYS))
    return [key for keys in listed for key in set(keys) - named(copy, keys)]


def _let_go(folder: Path, file: Path, kept: ImageStore, deleted: list[str]) -> None:
    """Remove what only an earlier backup held: what retention deletes is also deleted from backups."""
    for earlier in folder.iterdir():
        if earlier.match(DATABASES) and earlier.name != file.name:
            earlier.unlink()
    for key in deleted:
        kept.remove(key, now() + timedelta(days=1))  # whatever its age
