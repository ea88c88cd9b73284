"""`pneumoscreen users`: accounts, directly on the database."""

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.actor import operating_user
from cli.client.address import DEFAULT_URL, read_url, served_url
from cli.database import transact, transaction
from cli.options import SHARED_DATA_DIR
from cli.report import make_console, printable
from cli.settings import read_settings
from shared.accounts import administration, credentials, links, people
from shared.accounts import tokens as api_tokens
from shared.accounts import users as accounts
from shared.accounts.refusal import AccountRefused
from shared.audit.record import Action, record
from shared.tables import Role, User

DISPLAY_NAME = click.option("--display-name", help="The person's name as it is written, in any script.")
EMAIL = click.option("--email", help="The person's e-mail address.")
ROLES = click.Choice([role.value for role in Role])


@click.group()
@SHARED_DATA_DIR
def users() -> None:
    """List, add and change accounts. Changes are recorded in the audit trail."""


@users.command("list")
@SHARED_DATA_DIR
@click.pass_obj
def list_users(data_dir: Path | None) -> None:
    """List the accounts."""
    with transaction(data_dir) as session:
        found = session.scalars(select(User).order_by(User.name)).all()
    table = Table("name", "display name", "e-mail", "role", "may sign in", "password", "since")
    for user in found:
        allowed, password = "yes" if user.is_active else "no", "set" if user.password_hash else "none"
        written = (Text(user.name), Text(user.display_name or ""), Text(user.email or ""))
        table.add_row(*written, user.role.value, allowed, password, f"{user.created_at:%Y-%m-%d}")
    make_console().print(table)


@users.command("add")
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="technician: sends images; reader: sees all; admin: manages.")
@DISPLAY_NAME
@EMAIL
@SHARED_DATA_DIR
@click.pass_obj
def add_user(data_dir: Path | None, name: str, role: str, display_name: str | None, email: str | None) -> None:
    """Add the account NAME; it has no password until one is set."""

    def add(session: Session) -> None:
        user = accounts.add_user(session, name, Role(role))
        people.describe(user, display_name, email)
        _record(session, user, "added")

    transact(data_dir, add)
    click.echo(f"Added {name} ({role}). Sign in by 'pneumoscreen users link {name}' or set a password.")


@users.command("describe")
@click.argument("name")
@DISPLAY_NAME
@EMAIL
@SHARED_DATA_DIR
@click.pass_obj
def describe_user(data_dir: Path | None, name: str, display_name: str | None, email: str | None) -> None:
    """Change the display name or e-mail address of NAME; an empty text removes it."""
    if display_name is None and email is None:
        raise click.UsageError("Give --display-name, --email or both.")
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        kept = (user.display_name if display_name is None else display_name, user.email if email is None else email)
        if people.describe(user, *kept):
            _record(session, user, "described")
        shown, address = user.shown_name, user.email
    if display_name is not None:
        click.echo(f"{name} is shown as {printable(shown)} now.")
    if email is not None:
        click.echo(f"{name} has {f'the e-mail address {printable(address)}' if address else 'no e-mail address'} now.")


@users.command("link")
@click.argument("name")
@click.option(
    "--url",
    envvar="PNEUMOSCREEN_URL",
    help=f"Address of the pages. Default: that of the server on the data folder, else {DEFAULT_URL}.",
)
@SHARED_DATA_DIR
@click.pass_obj
def link_user(data_dir: Path | None, name: str, url: str | None) -> None:
    """Print a link that signs NAME in once, within a day."""
    url = read_url(url or _find_url(data_dir))
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        if not user.is_active:
            raise AccountRefused(f"{name} may not sign in. Run 'pneumoscreen users enable {name}' first.")
        secret = links.make_link(session, user)
        _record(session, user, "link")
    click.echo(f"{url}/sign-in/link/{secret}")


def _find_url(data_dir: Path | None) -> str:
    folder = read_settings(data_dir).data_dir
    url = served_url(folder)
    if url is None:
        click.echo(
            f"{folder} holds no address of a running server, so the link is for {DEFAULT_URL}. If the pages are "
            "elsewhere, name their address with --url or PNEUMOSCREEN_URL.",
            err=True,
        )
    return url or DEFAULT_URL


@users.command("password")
@click.argument("name")
@click.password_option(prompt="New password", help="Asked for, and not shown, unless it is given here.")
@click.option("--revoke-tokens", is_flag=True, help="Revoke the API tokens of NAME, too.")
@SHARED_DATA_DIR
@click.pass_obj
def set_password(data_dir: Path | None, name: str, password: str, revoke_tokens: bool) -> None:
    """Set the password of NAME and end its sessions and sign-in links."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        credentials.set_password(session, user, password)
        record(session, Action.PASSWORD_CHANGED, user_id=None, actor=operating_user(), subject=user.id)
        if revoke_tokens:
            record_revocation(session, user, api_tokens.revoke_tokens(session, user))
        tokens = len(api_tokens.valid_tokens(session, user))
    click.echo(f"The password of {name} is set; its sessions and sign-in links have ended.")
    if tokens:
        click.echo(
            f"API tokens of {name} that go on: {tokens}. 'pneumoscreen tokens revoke --user {name}' revokes them all."
        )


def record_revocation(session: Session, user: User, tokens: int) -> None:
    """Record that API tokens of an account were revoked at the command line."""
    if tokens:
        detail = {"change": "revoked"}
        record(session, Action.TOKEN_CHANGED, user_id=None, actor=operating_user(), subject=user.id, detail=detail)


@users.command("role")
@click.argument("name")
@click.argument("role", type=ROLES)
@SHARED_DATA_DIR
@click.pass_obj
def set_role(data_dir: Path | None, name: str, role: str) -> None:
    """Give NAME another role; one that allows less ends sessions, links and API tokens."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        administration.change_role(session, user, Role(role))
        _record(session, user, "role")
    click.echo(f"{name} is {role} now.")


@users.command("disable")
@click.argument("name")
@SHARED_DATA_DIR
@click.pass_obj
def disable_user(data_dir: Path | None, name: str) -> None:
    """Disable NAME: sessions, links and API tokens end, the password stops working. Its jobs and images stay."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        administration.disable(session, user)
        _record(session, user, "disabled")
    click.echo(f"{name} can no longer sign in.")


@users.command("enable")
@click.argument("name")
@SHARED_DATA_DIR
@click.pass_obj
def enable_user(data_dir: Path | None, name: str) -> None:
    """Let NAME sign in again."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        administration.enable(user)
        _record(session, user, "enabled")
    click.echo(f"{name} can sign in again.")


def _record(session: Session, user: User, change: str) -> None:
    # The command line has no account; the audit trail names the operating system's user.
    detail = {"change": change, "role": user.role.value}
    record(session, Action.USER_CHANGED, user_id=None, actor=operating_user(), subject=user.id, detail=detail)
