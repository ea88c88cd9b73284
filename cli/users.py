"""`pneumoscreen users`: accounts, on the database itself."""

from pathlib import Path

import click
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.address import DEFAULT_URL, read_url
from cli.database import transaction
from cli.report import make_console
from shared import accounts
from shared.audit import Action, record
from shared.tables import Role, User

ROLES = click.Choice([role.value for role in Role])
DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Data folder of the embedded database. Default: PNEUMOSCREEN_DATA_DIR or var.",
)
"""An option that users and tokens share."""


@click.group()
@DATA_DIR
@click.pass_context
def users(context: click.Context, data_dir: Path | None) -> None:
    """List, add and change accounts. What changes is written to the audit trail."""
    context.obj = data_dir


@users.command("list")
@click.pass_obj
def list_users(data_dir: Path | None) -> None:
    """List the accounts."""
    with transaction(data_dir) as session:
        found = session.scalars(select(User).order_by(User.name)).all()
    table = Table("name", "role", "may sign in", "password", "since")
    for user in found:
        allowed, password = "yes" if user.is_active else "no", "set" if user.password_hash else "none"
        table.add_row(Text(user.name), user.role.value, allowed, password, f"{user.created_at:%Y-%m-%d}")
    make_console().print(table)


@users.command("add")
@click.argument("name")
@click.option("--role", type=ROLES, required=True, help="technician: sends films; reader: sees all; admin: governs.")
@click.pass_obj
def add_user(data_dir: Path | None, name: str, role: str) -> None:
    """Add the account NAME; it has no password until one is set."""
    with transaction(data_dir) as session:
        user = accounts.add_user(session, name, Role(role))
        _record(session, user)
    click.echo(f"Added {name} ({role}). Sign in by 'pneumoscreen users link {name}' or set a password.")


@users.command("link")
@click.argument("name")
@click.option("--url", envvar="PNEUMOSCREEN_URL", default=DEFAULT_URL, show_default=True, help="Address of the pages.")
@click.pass_obj
def link_user(data_dir: Path | None, name: str, url: str) -> None:
    """Print an address that signs NAME in once, within a day."""
    url = read_url(url)
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        if not user.is_active:
            raise accounts.AccountRefused(f"{name} may not sign in. Run 'pneumoscreen users enable {name}' first.")
        secret = accounts.make_link(session, user)
        _record(session, user)
    click.echo(f"{url}/sign-in/link/{secret}")


@users.command("password")
@click.argument("name")
@click.password_option(prompt="New password", help="Asked for, and not shown, unless it is given here.")
@click.pass_obj
def set_password(data_dir: Path | None, name: str, password: str) -> None:
    """Set the password of NAME and end its sessions."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        accounts.set_password(user, password)
        record(session, Action.PASSWORD_CHANGED, user_id=None, subject=user.id)
    click.echo(f"The password of {name} is set; its sessions have ended.")


@users.command("role")
@click.argument("name")
@click.argument("role", type=ROLES)
@click.pass_obj
def set_role(data_dir: Path | None, name: str, role: str) -> None:
    """Give NAME another role."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        user.role = Role(role)
        _record(session, user)
    click.echo(f"{name} is {role} now.")


@users.command("disable")
@click.argument("name")
@click.pass_obj
def disable_user(data_dir: Path | None, name: str) -> None:
    """Keep NAME out: sessions end, passwords, links and tokens open nothing. Its jobs and films stay."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        user.is_active = False
        user.session_epoch += 1
        _record(session, user)
    click.echo(f"{name} may not sign in any more.")


@users.command("enable")
@click.argument("name")
@click.pass_obj
def enable_user(data_dir: Path | None, name: str) -> None:
    """Let NAME in again."""
    with transaction(data_dir) as session:
        user = accounts.get_user(session, name)
        user.is_active = True
        _record(session, user)
    click.echo(f"{name} may sign in again.")


def _record(session: Session, user: User) -> None:
    # No account stands behind the command line; the trail says so with an empty user.
    record(session, Action.USER_CHANGED, user_id=None, subject=user.id)
