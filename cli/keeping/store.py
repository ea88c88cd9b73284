"""`pneumoscreen store`: create the image store and its key, and encrypt its images."""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from sqlalchemy.exc import DBAPIError

from cli.database import database_refused, open_database
from cli.errors import CommandFailed
from cli.options import SHARED_DATA_DIR
from cli.settings import read_settings
from shared.settings import PREFIX

if TYPE_CHECKING:
    from shared.db import Database
    from shared.store.reseal import Seal
    from shared.store.store import ImageStore

_SHOWN: Final = 20


@click.group()
@SHARED_DATA_DIR
def store() -> None:
    """Create or encrypt the image store. docs/operations.md gives the order of the steps."""


@store.command("key")
def key() -> None:
    """Print a new key for PNEUMOSCREEN_STORE_KEY. It is stored nowhere else, and without it no image can be read."""
    from shared.store.encryption import new_key

    click.echo(new_key())


@store.command("create")
@SHARED_DATA_DIR
@click.pass_obj
def create(data_dir: Path | None) -> None:
    """Mark the configured place as the image store, if its file keys.json was lost or left behind in a move.

    A first start does this by itself. Check first that a network share is mounted: if not, this makes a store in its
    place.
    """
    from shared.store.store import open_store

    opened = open_store(read_settings(data_dir))
    if not opened.is_new():
        raise CommandFailed(f"{opened.files} is there already. Nothing was changed.")
    opened.create()
    click.echo(f"{opened.files} is marked as one, and holds {sum(1 for _ in opened.images()):,} images.")


@store.command("encrypt")
@click.option(
    "--despite-damage",
    is_flag=True,
    help="Drop the earlier keys although images are missing or damaged, or files have unknown names.",
)
@SHARED_DATA_DIR
@click.pass_obj
def encrypt(data_dir: Path | None, /, despite_damage: bool) -> None:
    """Encrypt what is not encrypted yet, or with an earlier key. May run while PneumoScreen does, and be interrupted.

    Once every image that the database names is in the store under the first key, earlier keys are dropped and files
    that are not encrypted are no longer read. Until then this ends with exit status 1, and all keys are needed.
    """
    from shared.store.reseal import keep_first_key
    from shared.store.store import open_store

    settings = read_settings(data_dir)
    if settings.store_key is None:
        raise CommandFailed(f"{PREFIX}STORE_KEY is not set. Make a key with 'pneumoscreen store key'.")
    opened = open_store(settings)
    with closing(open_database(settings)) as database:
        try:
            counts = _seal_all(opened)
            lost = _find_lost(opened, database)
        except DBAPIError as error:
            raise database_refused(error) from error
    is_whole = _tell(counts, lost)
    if not (is_whole or despite_damage):
        click.echo("The earlier keys are still needed. Mend this and run it again.", err=True)
        raise SystemExit(1)
    keep_first_key(opened)


def _seal_all(opened: "ImageStore") -> Counter["Seal"]:
    """Encrypt until a whole pass finds nothing left: a program that still runs with earlier keys may add some."""
    from shared.store.reseal import Seal, seal_anew

    renewed = 0
    while True:
        counts = Counter(seal_anew(opened))
        if not counts[Seal.RENEWED]:
            counts[Seal.RENEWED] = renewed
            counts[Seal.CURRENT] -= renewed
            return counts
        renewed += counts[Seal.RENEWED]


def _find_lost(opened: "ImageStore", database: "Database") -> Sequence[str]:
    """Return images named in the database but not in the store, except those purged meanwhile."""
    from cli.keeping.image_copy import named_images, still_named
    from shared.store.reseal import find_unsealed

    return still_named(database, find_unsealed(opened, (list(some) for some in named_images(database))))


def _tell(counts: Counter["Seal"], lost: Sequence[str]) -> bool:
    """Print what was done; return True where nothing is left to do."""
    from shared.store.reseal import Seal

    click.echo(f"{counts[Seal.RENEWED]:,} files are encrypted now; {max(0, counts[Seal.CURRENT]):,} were before.")
    if counts[Seal.DAMAGED]:
        click.echo(
            f"{counts[Seal.DAMAGED]:,} files are damaged and stay as they are. Send their images again.", err=True
        )
    if counts[Seal.FOREIGN]:
        click.echo(
            f"{counts[Seal.FOREIGN]:,} files have names that none of the keys made. "
            "Add the earlier keys and run it again.",
            err=True,
        )
    if lost:
        click.echo(f"{len(lost):,} images that the database names are not in the store under the first key:", err=True)
        click.echo("\n".join([*lost[:_SHOWN], *(["..."] if len(lost) > _SHOWN else [])]), err=True)
    return not (counts[Seal.DAMAGED] or counts[Seal.FOREIGN] or lost)
