"""The page of one's own account: its sessions and API tokens."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_wtf import FlaskForm
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from wtforms import BooleanField, SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired, Length, Regexp, ValidationError

from shared.accounts import sessions
from shared.accounts import tokens as api_tokens
from shared.audit.record import Action, record
from shared.db import new_id
from shared.languages.languages import LANGUAGES, Language
from shared.languages.zones import find_zone, zone_names
from shared.settings import Settings
from shared.tables import ApiToken, BrowserSession, Role, Scope, User
from web.accounts.emails import Offer, offer_to
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.guard.identity import idle_limit
from web.languages.text import _, lazy, plural

blueprint = Blueprint("account", __name__, url_prefix="/account")

USABLE_SCOPES: Final[dict[Role, tuple[Scope, ...]]] = {
    Role.TECHNICIAN: (Scope.READ, Scope.SUBMIT),
    Role.READER: (Scope.READ,),
    Role.ADMIN: (Scope.READ, Scope.SUBMIT, Scope.ADMIN),
}
"""Scopes that a token of each role can use; the role is checked at every request."""
LIFETIMES: Final = (7, 30, api_tokens.TOKEN_DAYS, 365)
FOR_EVER: Final = 0
_CHOOSE_DAYS: Final = lazy("Choose one of these.")

# The first match counts: Edge and Opera also call themselves Chrome, and every browser calls itself Safari.
_BROWSERS: Final = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
_SYSTEMS: Final = {
    "Windows": "Windows", "Android": "Android", "iPhone": "iPhone", "iPad": "iPad", "Mac OS X": "macOS",
    "CrOS": "ChromeOS", "Linux": "Linux",
}  # fmt: skip


def _say_days(days: int) -> str:
    return plural(days, "%(count)s day", "%(count)s days")


class TokenForm(FlaskForm):
    """The name, scopes and lifetime of a new token."""

    name = StringField(
        lazy("What it is for"),
        [
            InputRequired(lazy("Say what the token is for.")),
            Length(max=64, message=lazy("A name has at most 64 characters.")),
            Regexp(r"[^\x00-\x1f\x7f]*\Z", message=lazy("A name has no control characters.")),
        ],
    )
    read = BooleanField(lazy("see jobs, X-rays and results"))
    submit = BooleanField(lazy("send X-rays; cancel, retry and delete jobs"))
    admin = BooleanField(lazy("do what only administrators may"))
    days = SelectField(
        lazy("Expires after"),
        choices=[
            *(SelectChoice(days, LazyString(_say_days, days)) for days in LIFETIMES),
            SelectChoice(FOR_EVER, lazy("never")),
        ],
        coerce=int,
        default=api_tokens.TOKEN_DAYS,
        invalid_value_message=_CHOOSE_DAYS,
        invalid_choice_message=_CHOOSE_DAYS,
    )

    def validate_read(self, _field: BooleanField) -> None:
        """Require a scope; the message is shown at the first of them, which every role has."""
        if not self.scopes():
            raise ValidationError(_("Choose at least one."))

    def scopes(self) -> list[Scope]:
        """Return the ticked scopes."""
        return [scope for scope in Scope if scope.value in self and self[scope.value].data]


@dataclass(frozen=True)
class AccountPage(PageContext):
    """The account of the signed-in person, and its sessions."""

    template = "auth/account.html"
    sessions: Sequence[tuple[BrowserSession, str]]
    here: uuid.UUID
    settings: Settings
    zones: Sequence[str]
    languages: Mapping[str, Language]
    emails: Offer


@dataclass(frozen=True)
class TokensPage(PageContext):
    """The API tokens of an account, and the secret of a new one."""

    template = "auth/tokens.html"
    form: TokenForm
    new_id: uuid.UUID
    """The id of the token that the form will create, so that resubmitting the form creates no second one."""
    secret: str | None
    tokens: Sequence[ApiToken]
    is_valid: Callable[[ApiToken], bool]


def describe_browser(user_agent: str) -> str:
    """Name browser and system of a session where the user agent tells them: `Firefox on Windows`."""
    browser = next((name for mark, name in _BROWSERS.items() if f"{mark}/" in user_agent), None)
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), None)
    if browser is None:
        return re.split(r"[ /]", user_agent, maxsplit=1)[0][:32] or _("Unknown browser")
    return _("%(browser)s on %(system)s", browser=browser, system=system) if system else browser


@blueprint.get("")
@requires()
def index() -> ResponseReturnValue:
    """Show the account and its sessions."""
    with services().database.read() as db:
        rows = sessions.list_sessions(db, g.user, idle_limit())
    shown = [(row, describe_browser(row.user_agent)) for row in rows]
    settings = services().settings
    return render(
        AccountPage(
            sessions=shown,
            here=g.session.id,
            settings=settings,
            zones=zone_names(),
            languages=LANGUAGES,
            emails=offer_to(g.user),
        )
    )


@blueprint.post("/settings")
@requires()
def change_settings() -> ResponseReturnValue:
    """Save the account's language and time zone, and whether single-key shortcuts work on pages."""
    language = request.form.get("language", "").strip() or None
    if language is not None and language not in LANGUAGES:
        abort(
            422,
            _(
                "Choose a language from the list, or none for that of the browser. Received: '%(given)s'.",
                given=language[:16],
            ),
        )
    name = request.form.get("time_zone", "").strip() or None
    if name is not None and find_zone(name) is None:
        abort(
            422,
            _(
                "Choose a time zone from the list, or none for that of the browser. Received: '%(given)s'.",
                given=name[:64],
            ),
        )
    has_shortcuts = "has_shortcuts" in request.form
    with services().database.write() as db:
        chosen = {"language": language, "time_zone": name, "has_shortcuts": has_shortcuts}
        db.execute(update(User).where(User.id == g.user.id).values(chosen))
        detail = {
            "language": language or "browser",
            "time_zone": name or "browser",
            "shortcuts": "on" if has_shortcuts else "off",
        }
        record(
            db, Action.USER_CHANGED, user_id=g.user.id, subject=g.user.id, address=request.remote_addr, detail=detail
        )
    flash(_("The settings are saved."), "info")
    return see_other(url_for("account.index"))


@blueprint.post("/sessions/<uuid:session_id>/end")
@requires()
def end_session(session_id: uuid.UUID) -> ResponseReturnValue:
    """Sign one browser out."""
    with services().database.write() as db:
        if not sessions.end(db, g.user, session_id):
            abort(404, _("This session has already ended."))
        record(db, Action.SESSION_ENDED, user_id=g.user.id, subject=session_id, address=request.remote_addr)
    flash(_("The session has ended."), "info")
    return see_other(url_for("account.index"))


@blueprint.post("/sessions/end")
@requires()
def end_other_sessions() -> ResponseReturnValue:
    """Sign every other browser out."""
    with services().database.write() as db:
        ended = sessions.end_all(db, g.user, but=g.session.id)
        record(db, Action.SESSION_ENDED, user_id=g.user.id, subject=g.user.id, address=request.remote_addr)
    said = plural(
        ended,
        "%(count)s other session has ended. This one stays open.",
        "%(count)s other sessions have ended. This one stays open.",
    )
    flash(said, "info")
    return see_other(url_for("account.index"))


@blueprint.route("/tokens", methods=["GET", "POST"])
@requires()
def tokens() -> ResponseReturnValue:
    """List the account's tokens, and create one, whose secret only this answer shows."""
    form = _token_form()
    if not form.validate_on_submit():
        return _tokens_page(form), 422 if form.is_submitted() else 200
    with services().database.write() as db:
        _hold_session(db)
        wanted = request.form.get("id", type=uuid.UUID)
        if wanted and db.get(ApiToken, wanted):
            again = _("This token was made already, and is not shown again. Revoke it if you do not have it.")
            flash(again, "info")
            return see_other(url_for("account.tokens"))
        days = form.days.data or None
        name, scopes = form.name.data or "", form.scopes()
        secret = api_tokens.make_token(db, g.user, name, scopes=scopes, days=days, token_id=wanted)
        record(db, Action.TOKEN_CHANGED, user_id=g.user.id, subject=g.user.id, address=request.remote_addr)
    return _tokens_page(_token_form(formdata=None), secret), 201


def _hold_session(db: Session) -> None:
    """Answer 401 where the session has just been ended: a token made in it would outlive it."""
    held = select(BrowserSession.id).where(BrowserSession.id == g.session.id).with_for_update()
    if db.scalar(held) is None:
        abort(401, _("Your session has ended. Sign in again."))


def _token_form(**options: None) -> TokenForm:
    """Make the form, with the scopes that the role can use; those that a program needs are ticked."""
    form = TokenForm(**options, data={scope.value: True for scope in api_tokens.TOKEN_SCOPES})
    for scope in set(Scope) - set(USABLE_SCOPES[g.user.role]):
        del form[scope.value]
    return form


def _tokens_page(form: TokenForm, secret: str | None = None) -> str:
    with services().database.read() as db:
        mine = select(ApiToken).where(ApiToken.user_id == g.user.id, ApiToken.revoked_at.is_(None))
        found = db.scalars(mine.order_by(ApiToken.id.desc())).all()
    return render(TokensPage(form=form, new_id=new_id(), secret=secret, tokens=found, is_valid=api_tokens.is_valid))


@blueprint.post("/tokens/revoke")
@requires()
def revoke_tokens() -> ResponseReturnValue:
    """Revoke every token of the account."""
    with services().database.write() as db:
        revoked = api_tokens.revoke_tokens(db, g.user)
        record(db, Action.TOKEN_CHANGED, user_id=g.user.id, subject=g.user.id, address=request.remote_addr)
    flash(plural(revoked, "%(count)s token is revoked.", "%(count)s tokens are revoked."), "info")
    return see_other(url_for("account.tokens"))


@blueprint.post("/tokens/<uuid:token_id>/revoke")
@requires()
def revoke_token(token_id: uuid.UUID) -> ResponseReturnValue:
    """Revoke one of the account's own tokens."""
    with services().database.write() as db:
        token = db.get(ApiToken, token_id)
        if token is None or token.user_id != g.user.id or not api_tokens.revoke_token(db, token_id):
            abort(404, _("There is no token %(token)s.", token=token_id))
        record(db, Action.TOKEN_CHANGED, user_id=g.user.id, subject=token_id, address=request.remote_addr)
    flash(_("The token '%(name)s' is revoked.", name=token.name), "info")
    return see_other(url_for("account.tokens"))
