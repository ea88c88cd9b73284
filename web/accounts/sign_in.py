"""Sign-in by password or one-time link, sign-out, and passwords."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, abort, flash, g, make_response, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_wtf import FlaskForm
from sqlalchemy.orm import Session
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests
from wtforms import BooleanField, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, Regexp

from shared.accounts import credentials, links, passwords, sessions, users
from shared.accounts.refusal import AccountRefused
from shared.accounts.tokens import revoke_tokens, valid_tokens
from shared.audit.record import Action, record
from shared.tables import User
from web.accounts import throttle
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import open_to_all, requires, see_other
from web.guard.devices import present_device
from web.guard.identity import BY_PROVIDER, start_session
from web.languages.text import _, count, lazy, plural, say

blueprint = Blueprint("auth", __name__)

_WAITING: Final = 8
_BUSY_SECONDS: Final = 5
_LONGEST_ADDRESS: Final = 4096  # gunicorn accepts 8190 bytes a line, and each character may become nine

# argon2 takes 19 MiB for each check; one at a time keeps the web process small, however many try. And sign-in attempts
# must leave threads for those who are signed in: eight of gunicorn's 32 may wait here.
_one_check = threading.Lock()
_waiting = threading.BoundedSemaphore(_WAITING)

_NOT_TOO_LONG: Final = Length(
    max=passwords.LONGEST_PASSWORD,
    message=lazy("A password has at most %(most)s characters.", most=LazyString(count, passwords.LONGEST_PASSWORD)),
)


class SignInForm(FlaskForm):
    """Name and password."""

    name = StringField(
        lazy("Name"),
        [InputRequired(lazy("Enter your name.")), Regexp(r"[\x20-\x7e]{1,64}\Z", message=lazy("No such name."))],
    )
    password = PasswordField(lazy("Password"), [InputRequired(lazy("Enter your password.")), _NOT_TOO_LONG])


class LinkForm(FlaskForm):
    """A button; the secret is in the address."""


class PresentPasswordForm(FlaskForm):
    """The current password, required where an open session is not enough; removed where the account has none."""

    password = PasswordField(
        lazy("Current password"), [InputRequired(lazy("Enter your current password.")), _NOT_TOO_LONG]
    )


class PasswordForm(PresentPasswordForm):
    """A new password with the current one, and whether to revoke the API tokens, if any."""

    new_password = PasswordField(lazy("New password"), [InputRequired(lazy("Enter a new password.")), _NOT_TOO_LONG])
    repeat = PasswordField(lazy("New password again"), [EqualTo("new_password", lazy("The two new passwords differ."))])
    revoke_tokens = BooleanField()


@dataclass(frozen=True)
class SignInPage(PageContext):
    """The form for name and password."""

    template = "auth/sign_in.html"
    form: SignInForm


@dataclass(frozen=True)
class SpendLinkPage(PageContext):
    """The button that uses a one-time link."""

    template = "auth/link.html"
    form: LinkForm


@dataclass(frozen=True)
class PasswordPage(PageContext):
    """The form for a new password; `offer` names the tokens that may be revoked with it."""

    template = "auth/password.html"
    form: PasswordForm
    offer: str | None


def next_address() -> str:
    """Return the local address in `next` to go to after signing in; one of another site is dropped."""
    wanted = request.args.get("next", "/")
    # A path begins with exactly one slash (RFC 3986, section 4.2). Browsers treat a backslash as a slash and ignore
    # control characters (url.spec.whatwg.org).
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return request.root_path + (wanted if is_local and len(wanted) <= _LONGEST_ADDRESS else "/")


@blueprint.route("/sign-in", methods=["GET", "POST"])
@open_to_all
def sign_in() -> ResponseReturnValue:
    """Show the form, or check a name and a password."""
    form = SignInForm()
    if not form.validate_on_submit():
        return render(SignInPage(form)), 422 if form.is_submitted() else 200
    user, wait = _try_password(form.name.data or "", form.password.data or "")
    if user is not None:
        return see_other(next_address())
    form.password.errors = [_slow_down(wait) if wait else _("The name or the password is wrong.")]
    return refused(render(SignInPage(form)), 401, wait)


def _try_password(name: str, password: str) -> tuple[User | None, int]:
    """Sign an account in; where that fails, return for how many seconds no password is checked, 0 for a wrong one."""
    with check_password_alone():
        with services().database.read() as db:
            counters = _counters(db, name)
            wait = throttle.seconds_to_wait(db, counters)
            opened = None if wait else credentials.check_password(db, name, password)
        if wait:
            return None, wait
        with services().database.write() as db:
            user = credentials.lock_opened(db, opened, password) if opened is not None else None
            if user is None:
                _refuse(db, users.find_user(db, name), counters)
            else:
                credentials.renew_hash(db, user, password)
                throttle.forget(db, counters)
                _let_in(db, user)
    return user, 0


def _counters(db: Session, name: str) -> list[throttle.Counter]:
    """Return the counters of an attempt: in a browser that the account has used, strangers' attempts do not count."""
    user, device = users.find_user(db, name), present_device()
    if user is not None and device.knows(user):
        return throttle.of_device(device.id, name)
    return throttle.of_account(name) + throttle.of_address("password", request.remote_addr)


@contextmanager
def check_password_alone() -> Iterator[None]:
    """Wait for a turn to check a password; raise ServiceUnavailable where too many wait already."""
    if not _waiting.acquire(blocking=False):
        said = _("Many people are signing in at the moment. Try again in %(seconds)s s.", seconds=_BUSY_SECONDS)
        raise ServiceUnavailable(said, retry_after=_BUSY_SECONDS)
    try:
        with _one_check:
            yield
    finally:
        _waiting.release()


def _let_in(db: Session, user: User, subject: str | None = None) -> None:
    record(db, Action.SIGN_IN, user_id=user.id, subject=subject, address=request.remote_addr)
    start_session(db, user)


def _refuse(db: Session, user: User | None, counters: list[throttle.Counter], subject: str | None = None) -> None:
    throttle.count_refusal(db, counters)
    user_id = user.id if user else None
    record(db, Action.SIGN_IN_REFUSED, user_id=user_id, subject=subject, address=request.remote_addr)


def _slow_down(seconds: int) -> str:
    return _(
        "There were too many wrong attempts. Try again in %(seconds)s s, or ask an administrator for a one-time link, "
        "which works at once.",
        seconds=seconds,
    )


def refused(page: str, status: int, wait: int) -> ResponseReturnValue:
    """Answer with a form that was not accepted; 429 where it was only too early."""
    response = make_response(page, 429 if wait else status)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


@blueprint.route("/sign-in/link/<secret>", methods=["GET", "POST"])
@open_to_all
def link(secret: str) -> ResponseReturnValue:
    """Show a button; only pressing it uses up the link, because mail scanners and previews open addresses."""
    form = LinkForm()
    if not form.validate_on_submit():
        return render(SpendLinkPage(form))
    with services().database.write() as db:
        user = links.use_link(db, secret)
        wait = 0
        if user is not None:
            _let_in(db, user, "link")
        else:
            wait = _refuse_link(db)
    if wait:
        said = _("Too many wrong links came from this address. Try again in %(seconds)s s.", seconds=wait)
        raise TooManyRequests(said, retry_after=wait)
    if user is None:
        abort(410, _("This sign-in link has been used or replaced, or is too old. Ask an administrator for a new one."))
    return see_other(url_for("auth.password" if user.password_hash is None else "screen.home"))


def _refuse_link(db: Session) -> int:
    """Count an invalid link; after too many, only return how long to wait."""
    counters = throttle.of_address("link", request.remote_addr)
    wait = throttle.seconds_to_wait(db, counters)
    if not wait:
        _refuse(db, None, counters, "link")
    return wait


@blueprint.post("/sign-out")
@open_to_all
def sign_out() -> ResponseReturnValue:
    """End this browser's session."""
    if g.session is not None:
        with services().database.write() as db:
            sessions.end(db, g.user, g.session.id)
            record(db, Action.SIGN_OUT, user_id=g.user.id, address=request.remote_addr)
    goes_on = services().settings.oidc_issuer is not None and session.get(BY_PROVIDER)
    session.clear()
    return see_other(url_for("oidc.signed_out" if goes_on else "auth.sign_in"))


@blueprint.route("/account/password", methods=["GET", "POST"])
@requires()
def password() -> ResponseReturnValue:
    """Set or change the password of the account that is signed in."""
    form = PasswordForm()
    tokens = 0
    if g.user.password_hash is None:
        del form.password
    else:
        with services().database.read() as db:
            tokens = len(valid_tokens(db, g.user))
    if not form.validate_on_submit():
        return _password_page(form, tokens), 422 if form.is_submitted() else 200
    try:
        wait = _change_password(form)
    except AccountRefused as refusal:
        wait, form.new_password.errors = 0, [say(refusal)]
    if form.errors or wait:
        return refused(_password_page(form, tokens), 422, wait)
    flash(_("The password is set. Every other session and sign-in link of this account has ended."), "info")
    if not tokens or form.revoke_tokens.data:
        return see_other(url_for("screen.home"))
    said = plural(
        tokens,
        "%(count)s API token still works. Revoke it if you do not recognise or need it.",
        "%(count)s API tokens still work. Revoke those that you do not recognise or need.",
    )
    flash(said, "info")
    return see_other(url_for("account.tokens"))


def _password_page(form: PasswordForm, tokens: int) -> str:
    offer = plural(tokens, "Also revoke my API token", "Also revoke my %(count)s API tokens")
    return render(PasswordPage(form, offer if tokens else None))


def _change_password(form: PasswordForm) -> int:
    """Change the password and renew this session; put errors on the form, and return how long to wait."""
    with check_password_alone(), services().database.write() as db:
        user = db.get_one(User, g.user.id)
        if form.password:
            wait = check_present_password(db, user, form)
            if form.password.errors:
                return wait
        elif user.password_hash is not None:
            raise AccountRefused(_("This account was given a password in the meantime. Load the page again."))
        credentials.set_password(db, user, form.new_password.data or "")
        if form.revoke_tokens.data and revoke_tokens(db, user):
            record(db, Action.TOKEN_CHANGED, user_id=user.id, subject=user.id, address=request.remote_addr)
        record(db, Action.PASSWORD_CHANGED, user_id=user.id, subject=user.id, address=request.remote_addr)
        start_session(db, user)
    return 0


def check_present_password(db: Session, user: User, form: PresentPasswordForm) -> int:
    """Check a password; put an error on the form where it is wrong, and return how long to wait after too many."""
    counters = throttle.of_password_change(user)
    wait = throttle.seconds_to_wait(db, counters)
    if wait:
        form.password.errors = [_slow_down(wait)]
    elif not credentials.check_password(db, user.name, form.password.data or ""):
        throttle.count_refusal(db, counters)
        form.password.errors = [_("The current password is wrong.")]
    return wait
