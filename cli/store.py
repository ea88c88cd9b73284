"""`pneumoscreen store`: the key of the image store, and sealing its films with it."""

from collections import Counter
from pathlib import Path

import click

from cli.errors import CommandFailed
from cli.settings import read_settings
from cli.users import SHARED_DATA_DIR
from shared.settings import PREFIX


@click.group()
@SHARED_DATA_DIR
def store() -> None:
    """Encrypt the image store. docs/operations.md says in which order."""


@store.command("key")
def key() -> None:
    """Print a new key for PNEUMOSCREEN_STORE_KEY. Nothing else keeps it, and without it no film can be read."""
    from shared.encryption import new_key

    click.echo(new_key())


@store.command("encrypt")
@SHARED_DATA_DIR
@click.pass_obj
def encrypt(data_dir: Path | None) -> None:
    """Encrypt what is not encrypted yet, or with an earlier key. The server may run meanwhile; a break loses nothing.

    Exit status 1 where a file could not be encrypted.
    """
    from shared.resealing import Seal, seal_anew
    from shared.storage import open_store

    settings = read_settings(data_dir)
    if settings.store_key is None:
        raise CommandFailed(f"{PREFIX}STORE_KEY is not set. Make a key with 'pneumoscreen store key'.")
    opened = open_store(settings)
    opened.check()
    counts = Counter(seal_anew(opened))
    click.echo(f"{counts[Seal.RENEWED]:,} files are encrypted now; {counts[Seal.CURRENT]:,} were before.")
    if counts[Seal.DAMAGED]:
        click.echo(
            f"{counts[Seal.DAMAGED]:,} files are damaged and stay as they are. Send their films again.", err=True
        )
    if counts[Seal.FOREIGN]:
        click.echo(
            f"{counts[Seal.FOREIGN]:,} files have names that none of the keys made. "
            "Add the earlier keys and run it again.",
            err=True,
        )
    if counts[Seal.DAMAGED] or counts[Seal.FOREIGN]:
        raise SystemExit(1)
