"""Account pages for administrators: who may sign in, in which role, and how. They do what `pneumoscreen users` does."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_wtf import FlaskForm
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, ValidationError

from shared.accounts import administration, identities, links, people, sessions
from shared.accounts import tokens as api_tokens
from shared.accounts import users as accounts
from shared.accounts.refusal import AccountRefused
from shared.audit.record import Action, record
from shared.settings import Settings
from shared.tables import ApiToken, BrowserSession, Identity, Role, User
from web.accounts.account import describe_browser
from web.base.contexts import PageContext, render
from web.base.paging import Key, text, turn
from web.base.services import services
from web.guard.access import requires, see_other
from web.guard.identity import idle_limit
from web.languages.text import N_, _, lazy, say, translate

blueprint = Blueprint("users", __name__)

ACCOUNTS_A_PAGE: Final = 50

_BY_NAME: Final = Key[User]((User.name,), (text,), lambda user: (user.name,), descending=False)

ROLES: Final[dict[Role, str]] = {
    Role.TECHNICIAN: N_("technician: sends X-rays and sees their own jobs"),
    Role.READER: N_("reader: sees all X-rays"),
    Role.ADMIN: N_("admin: sends X-rays, sees all and manages accounts"),
}
"""What each role may do, as shown in forms."""
_CHANGED: Final[dict[Role, str]] = {
    Role.TECHNICIAN: N_("%(name)s is now a technician. Earlier sessions, sign-in links and API tokens have ended."),
    Role.READER: N_("%(name)s is now a reader. Earlier sessions, sign-in links and API tokens have ended."),
    Role.ADMIN: N_("%(name)s is now an admin."),
}


class AddForm(FlaskForm):
    """A new account."""

    name = StringField(
        lazy("Login name"),
        [InputRequired(lazy("Enter a name.")), Length(max=64, message=lazy("At most 64 characters."))],
    )
    display_name = StringField(lazy("Display name, in any script"))
    email = StringField(lazy("E-mail"))
    role = SelectField(
        lazy("Role"), choices=[SelectChoice(role.value, LazyString(translate, does)) for role, does in ROLES.items()]
    )

    def validate_display_name(self, field: StringField) -> None:
        """Reject an invalid display name."""
        _refuse_on_form(people.read_display_name, field)

    def validate_email(self, field: StringField) -> None:
        """Reject an invalid address."""
        _refuse_on_form(people.read_email, field)


def _refuse_on_form(read: Callable[[str | None], object], field: StringField) -> None:
    try:
        read(field.data)
    except AccountRefused as refusal:
        raise ValidationError(say(refusal)) from refusal


@dataclass(frozen=True)
class Entry:
    """One account of the list, with data from other tables."""

    user: User
    has_identity: bool
    sessions: int


@dataclass(frozen=True)
class LinkPage(PageContext):
    """A new one-time link, shown once."""

    template = "users/link.html"
    person: User
    address: str
    hours: int
    is_new: bool


@dataclass(frozen=True)
class ListPage(PageContext):
    """The accounts, and the form for a new one."""

    template = "users/list.html"
    form: AddForm
    entries: Sequence[Entry]
    wanted: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class AccountPage(PageContext):
    """One account and the actions on it."""

    template = "users/show.html"
    person: User
    identity: Identity | None
    sessions: Sequence[tuple[BrowserSession, str]]
    tokens: Sequence[ApiToken]
    roles: dict[Role, str]
    settings: Settings
    problem: str | None


@blueprint.get("/users")
@requires(Role.ADMIN)
def index() -> ResponseReturnValue:
    """List the accounts by name."""
    return _list_page(AddForm())


@blueprint.post("/users")
@requires(Role.ADMIN)
def add() -> ResponseReturnValue:
    """Add an account and show its one-time link once."""
    form = AddForm()
    if not form.validate_on_submit():
        return _list_page(form), 422
    role = Role(form.role.data)
    try:
        with services().database.write() as db:
            user = accounts.add_user(db, (form.name.data or "").strip(), role)
            people.describe(user, form.display_name.data, form.email.data)
            secret = links.make_link(db, user)
            _record(db, user, "added")
    except AccountRefused as refusal:
        form.name.errors = [say(refusal)]
        return _list_page(form), 422
    return _show_link(user, secret, is_new=True)


@blueprint.get("/users/<uuid:user_id>")
@requires(Role.ADMIN)
def show(user_id: uuid.UUID) -> ResponseReturnValue:
    """Show one account and the actions on it."""
    return _account_page(user_id)


@blueprint.errorhandler(AccountRefused)
def _refuse(refusal: AccountRefused) -> ResponseReturnValue:
    """Show on the account's own page why an action was refused."""
    said = say(refusal)
    return _account_page((request.view_args or {})["user_id"], said), 422


@blueprint.post("/users/<uuid:user_id>/describe")
@requires(Role.ADMIN)
def describe(user_id: uuid.UUID) -> ResponseReturnValue:
    """Change display name and e-mail address."""
    given = [request.form.get(field, "") for field in ("display_name", "email")]
    user = _act(user_id, "described", lambda _, user: people.describe(user, *given))
    return _done(user, _("%(name)s is now shown as %(shown)s.", name=user.name, shown=user.shown_name))


@blueprint.post("/users/<uuid:user_id>/role")
@requires(Role.ADMIN)
def give_role(user_id: uuid.UUID) -> ResponseReturnValue:
    """Change an account's role."""
    given = request.form.get("role", "")
    if given not in list(Role):
        abort(422, _("role: Give one of %(roles)s. Received: '%(given)s'.", roles=", ".join(Role), given=given))
    user = _act(user_id, "role", lambda db, user: administration.change_role(db, user, Role(given)))
    return _done(user, translate(_CHANGED[Role(given)], name=user.name))


@blueprint.post("/users/<uuid:user_id>/disable")
@requires(Role.ADMIN)
def disable(user_id: uuid.UUID) -> ResponseReturnValue:
    """Disable an account."""
    user = _act(user_id, "disabled", administration.disable)
    said = _(
        "%(name)s can no longer sign in. Earlier sessions, sign-in links and API tokens have ended. Jobs and X-rays "
        "stay.",
        name=user.name,
    )
    return _done(user, said)


@blueprint.post("/users/<uuid:user_id>/enable")
@requires(Role.ADMIN)
def enable(user_id: uuid.UUID) -> ResponseReturnValue:
    """Enable an account again."""
    user = _act(user_id, "enabled", lambda _, user: administration.enable(user))
    return _done(user, _("%(name)s can sign in again.", name=user.name))


@blueprint.post("/users/<uuid:user_id>/sessions/end")
@requires(Role.ADMIN)
def end_sessions(user_id: uuid.UUID) -> ResponseReturnValue:
    """Sign a person out of every browser."""
    user = _act(user_id, None, sessions.end_all, Action.SESSION_ENDED)
    return _done(user, _("Every session of %(name)s has ended.", name=user.name))


@blueprint.post("/users/<uuid:user_id>/tokens/revoke")
@requires(Role.ADMIN)
def revoke_tokens(user_id: uuid.UUID) -> ResponseReturnValue:
    """Revoke every API token of an account."""
    user = _act(user_id, None, api_tokens.revoke_tokens, Action.TOKEN_CHANGED)
    return _done(user, _("Every API token of %(name)s is revoked.", name=user.name))


@blueprint.post("/users/<uuid:user_id>/link")
@requires(Role.ADMIN)
def make_link(user_id: uuid.UUID) -> ResponseReturnValue:
    """Show a new one-time link once."""
    secrets: list[str] = []
    user = _act(user_id, "link", lambda db, user: secrets.append(links.make_link(db, user)))
    return _show_link(user, secrets[0], is_new=False)


@blueprint.post("/users/<uuid:user_id>/identity")
@requires(Role.ADMIN)
def link_identity(user_id: uuid.UUID) -> ResponseReturnValue:
    """Link an identity provider's user to an account."""
    subject, issuer = request.form.get("subject", "").strip(), _issuer()
    user = _act(user_id, "single sign-on linked", lambda db, user: identities.link_identity(db, user, issuer, subject))
    return _done(user, _("%(name)s can now sign in by single sign-on.", name=user.name))


@blueprint.post("/users/<uuid:user_id>/identity/unlink")
@requires(Role.ADMIN)
def unlink_identity(user_id: uuid.UUID) -> ResponseReturnValue:
    """Unlink single sign-on from an account."""
    issuer = _issuer()
    user = _act(user_id, "single sign-on unlinked", lambda db, user: identities.unlink_identity(db, user, issuer))
    said = _(
        "Single sign-on does not open the account %(name)s any more. Earlier sessions, sign-in links and API tokens "
        "have ended.",
        name=user.name,
    )
    return _done(user, said)


def _act(
    user_id: uuid.UUID,
    change: str | None,
    act: Callable[[Session, User], object],
    action: Action = Action.USER_CHANGED,
) -> User:
    """Change an account and record it in the audit trail in the same commit, unless `act` returns False."""
    with services().database.write() as db:
        user = _user(db, user_id)
        if act(db, user) is not False:
            _record(db, user, change, action)
    return user


def _user(db: Session, user_id: uuid.UUID) -> User:
    return db.get(User, user_id) or abort(404)


def _issuer() -> str:
    return services().settings.oidc_issuer or abort(404)


def _record(db: Session, user: User, change: str | None, action: Action = Action.USER_CHANGED) -> None:
    detail = None if change is None else {"change": change, "role": user.role.value}
    record(db, action, user_id=g.user.id, subject=user.id, address=request.remote_addr, detail=detail)


def _done(user: User, text: str) -> ResponseReturnValue:
    flash(text, "info")
    return see_other(url_for("users.show", user_id=user.id))


def _show_link(user: User, secret: str, *, is_new: bool) -> ResponseReturnValue:
    address = url_for("auth.link", secret=secret, _external=True)
    return render(LinkPage(person=user, address=address, hours=links.LINK_HOURS, is_new=is_new))


def _list_page(form: AddForm) -> str:
    wanted = request.args.get("name", "").replace("\0", "").strip()
    named = (column.icontains(wanted, autoescape=True) for column in (User.name, User.display_name, User.email))
    query = select(User).where(or_(*named)) if wanted else select(User)
    with services().database.read() as db:
        page = turn(lambda one: db.scalars(one).all(), query, _BY_NAME, request.args.get("cursor"), ACCOUNTS_A_PAGE)
        entries = _entries(db, page.rows)
    before, after = (_turn(cursor, wanted) for cursor in (page.previous_cursor, page.next_cursor))
    return render(ListPage(form=form, entries=entries, wanted=wanted, before=before, after=after))


def _turn(cursor: str | None, wanted: str) -> str | None:
    return None if cursor is None else url_for("users.index", cursor=cursor or None, name=wanted or None)


def _entries(db: Session, users: Sequence[User]) -> list[Entry]:
    ids = [user.id for user in users]
    linked = set(db.scalars(select(Identity.user_id).where(Identity.user_id.in_(ids))))
    live = sessions.count_live(db, ids, idle_limit())
    return [Entry(user, user.id in linked, live.get(user.id, 0)) for user in users]


def _account_page(user_id: uuid.UUID, problem: str | None = None) -> str:
    settings = services().settings
    with services().database.read() as db:
        user = _user(db, user_id)
        identity = identities.identity_of(db, user, settings.oidc_issuer) if settings.oidc_issuer else None
        live = sessions.list_sessions(db, user, idle_limit())
        tokens = api_tokens.valid_tokens(db, user)
    page = AccountPage(
        person=user,
        identity=identity,
        sessions=[(row, describe_browser(row.user_agent)) for row in live],
        tokens=tokens,
        roles=ROLES,
        settings=settings,
        problem=problem,
    )
    return render(page)
