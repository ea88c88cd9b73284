"""`pneumoscreen tokens`: keys to the API, on the database itself."""

import uuid
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from cli.database import transaction
from cli.errors import CommandFailed
from cli.report import make_console
from cli.users import SHARED_DATA_DIR
from shared import accounts
from shared.audit import Action, record
from shared.db import now
from shared.tables import ApiToken


@click.group()
@SHARED_DATA_DIR
def tokens() -> None:
    """Make, list and revoke API tokens. What changes is written to the audit trail."""


@tokens.command("create")
@click.argument("user")
@click.option("--name", default="command line", show_default=True, help="What the token is for; at most 64 characters.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it ends. Default: it does not end by itself.")
@SHARED_DATA_DIR
@click.pass_obj
def create_token(data_dir: Path | None, user: str, name: str, days: int | None) -> None:
    """Make a token for USER and print it, this once."""
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise CommandFailed(f"--name has 1 to 64 printable characters. Received: {len(name)} characters.")
    with transaction(data_dir) as session:
        account = accounts.get_user(session, user)
        secret = accounts.make_token(session, account, name, days)
        session.flush()
        record(session, Action.TOKEN_CHANGED, user_id=None, subject=account.id)
    click.echo("Keep this token; it is not shown again:", err=True)
    click.echo(secret)


@tokens.command("list")
@SHARED_DATA_DIR
@click.pass_obj
def list_tokens(data_dir: Path | None) -> None:
    """List the tokens, the newest first; the tokens themselves are not kept."""
    with transaction(data_dir) as session:
        wanted = select(ApiToken).options(joinedload(ApiToken.user)).order_by(ApiToken.id.desc())
        found = session.scalars(wanted).all()
    table = Table("id", "user", "name", "since", "state")
    for token in found:
        table.add_row(
            str(token.id), Text(token.user.name), Text(token.name), f"{token.created_at:%Y-%m-%d}", _state(token)
        )
    make_console().print(table)


@tokens.command("revoke")
@click.argument("token_id", metavar="ID", type=click.UUID)
@SHARED_DATA_DIR
@click.pass_obj
def revoke_token(data_dir: Path | None, token_id: uuid.UUID) -> None:
    """Revoke the token ID, as 'tokens list' gives it."""
    with transaction(data_dir) as session:
        if not accounts.revoke_token(session, token_id):
            raise CommandFailed(f"There is no token {token_id}. 'pneumoscreen tokens list' shows them.")
        record(session, Action.TOKEN_CHANGED, user_id=None, subject=token_id)
    click.echo(f"Token {token_id} is revoked.")


def _state(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return f"revoked {token.revoked_at:%Y-%m-%d}"
    if token.expires_at is None:
        return "valid"
    return f"{'ended' if token.expires_at <= now() else 'valid until'} {token.expires_at:%Y-%m-%d}"
