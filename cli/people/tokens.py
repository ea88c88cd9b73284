"""`pneumoscreen tokens`: API tokens, directly on the database."""

import uuid
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from cli.actor import operating_user
from cli.database import transaction
from cli.errors import CommandFailed
from cli.options import SHARED_DATA_DIR
from cli.people.users import record_revocation
from cli.report import make_console
from shared.accounts import tokens as api_tokens
from shared.accounts import users
from shared.audit.record import Action, record
from shared.tables import ApiToken, Scope

_SCOPES = sorted(scope.value for scope in api_tokens.TOKEN_SCOPES)


@click.group()
@SHARED_DATA_DIR
def tokens() -> None:
    """Create, list and revoke API tokens. Changes are recorded in the audit trail."""


@tokens.command("create")
@click.argument("user")
@click.option("--name", default="command line", show_default=True, help="What the token is for; at most 64 characters.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=_SCOPES,
    show_default=True,
    help="What it may be used for, within the role of USER: read results, submit images, do what only admins may. "
    "Give it several times for several.",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=api_tokens.TOKEN_DAYS,
    show_default=True,
    help="Days until it expires.",
)
@click.option("--no-expiry", is_flag=True, help="The token does not end by itself; revoke it when it is not needed.")
@SHARED_DATA_DIR
@click.pass_obj
def create_token(  # noqa: PLR0917  # click passes options by name
    data_dir: Path | None, user: str, name: str, scopes: tuple[str, ...], days: int, no_expiry: bool
) -> None:
    """Create a token for USER and print it; it is not shown again."""
    if not 0 < len(name) <= 64 or not name.isprintable():
        raise CommandFailed(f"--name has 1 to 64 printable characters. Received: {len(name)} characters.")
    with transaction(data_dir) as session:
        account = users.get_user(session, user)
        lasts = None if no_expiry else days
        secret = api_tokens.make_token(session, account, name, scopes=map(Scope, scopes), days=lasts)
        detail = {"change": "added", "scope": " ".join(sorted(scopes))}
        record(session, Action.TOKEN_CHANGED, user_id=None, actor=operating_user(), subject=account.id, detail=detail)
    ends = "does not end by itself" if no_expiry else f"ends in {days} days"
    click.echo(f"Keep this token; it is not shown again. It {ends}:", err=True)
    click.echo(secret)


@tokens.command("list")
@SHARED_DATA_DIR
@click.pass_obj
def list_tokens(data_dir: Path | None) -> None:
    """List the tokens, newest first; the tokens themselves are not stored."""
    with transaction(data_dir) as session:
        wanted = select(ApiToken).options(joinedload(ApiToken.user)).order_by(ApiToken.id.desc())
        found = session.scalars(wanted).all()
    table = Table("id", "user", "name", "scopes", "since", "last used", "state")
    for token in found:
        table.add_row(
            str(token.id),
            Text(token.user.name),
            Text(token.name),
            token.scope,
            f"{token.created_at:%Y-%m-%d}",
            str(token.last_used_on or "never"),
            _state(token),
        )
    make_console().print(table)


@tokens.command("revoke")
@click.argument("token_id", metavar="[ID]", type=click.UUID, required=False)
@click.option("--user", help="Revoke every token of this account instead.")
@SHARED_DATA_DIR
@click.pass_obj
def revoke_token(data_dir: Path | None, token_id: uuid.UUID | None, user: str | None) -> None:
    """Revoke the token ID, as 'tokens list' gives it, or all of an account."""
    if (token_id is None) == (user is None):
        raise CommandFailed("Give either the ID of a token, as 'pneumoscreen tokens list' shows it, or --user NAME.")
    if user is not None:
        _revoke_all(data_dir, user)
    elif token_id is not None:
        _revoke_one(data_dir, token_id)


def _revoke_all(data_dir: Path | None, name: str) -> None:
    with transaction(data_dir) as session:
        account = users.get_user(session, name)
        revoked = api_tokens.revoke_tokens(session, account)
        record_revocation(session, account, revoked)
    click.echo(f"Tokens of {name} that are revoked: {revoked}.")


def _revoke_one(data_dir: Path | None, token_id: uuid.UUID) -> None:
    with transaction(data_dir) as session:
        if not api_tokens.revoke_token(session, token_id):
            raise CommandFailed(f"There is no token {token_id}. 'pneumoscreen tokens list' shows them.")
        detail = {"change": "revoked"}
        record(session, Action.TOKEN_CHANGED, user_id=None, actor=operating_user(), subject=token_id, detail=detail)
    click.echo(f"Token {token_id} is revoked.")


def _state(token: ApiToken) -> str:
    if token.revoked_at is not None:
        return f"revoked {token.revoked_at:%Y-%m-%d}"
    if token.expires_at is None:
        return "valid"
    return f"{'valid until' if api_tokens.is_valid(token) else 'ended'} {token.expires_at:%Y-%m-%d}"
