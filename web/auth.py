"""Who is asking: sessions, API tokens, sign-in, one-time links and passwords."""

import threading
import time
import uuid
from collections.abc import Callable
from functools import wraps
from typing import Final, ParamSpec, TypeVar
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, abort, flash, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized
from wtforms import PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, Regexp

from shared import accounts
from shared.audit import Action, record
from shared.tables import Role, User
from web.parts import parts
from web.problems import prefers_problem
from web.security import counts_sign_ins

P = ParamSpec("P")
R = TypeVar("R")

blueprint = Blueprint("auth", __name__)

SUBMITTERS: Final = (Role.TECHNICIAN, Role.ADMIN)
"""The roles that may send films; readers read."""

# argon2 takes 19 MiB for each check; one at a time keeps the web process small, whoever knocks.
_one_check = threading.Lock()


class SignInForm(FlaskForm):
    """Name and password."""

    name = StringField(
        "Name", [InputRequired("Give your name."), Regexp(r"[\x20-\x7e]{1,64}$", message="No such name.")]
    )
    password = PasswordField("Password", [InputRequired("Give your password."), Length(max=1024)])


class LinkForm(FlaskForm):
    """A button; the secret is in the address."""


class PasswordForm(FlaskForm):
    """A new password; `password` is the present one and goes away where there is none."""

    password = PasswordField("Present password", [InputRequired("Give your present password."), Length(max=1024)])
    new_password = PasswordField("New password", [InputRequired("Give a new password."), Length(max=1024)])
    repeat = PasswordField("New password again", [EqualTo("new_password", "The two new passwords differ.")])


def install(app: Flask) -> None:
    """Find out who asks before every request."""
    app.before_request(_identify)
    app.context_processor(lambda: {"user": g.get("user"), "may_submit": may_submit})


def _identify() -> None:
    g.user, g.by_token = None, False
    if request.endpoint == "static":
        return
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        g.by_token = True
        with parts().database.read() as db:
            g.user = accounts.token_user(db, secret.strip())
    elif "user" in session:
        g.user = _session_user()


def _session_user() -> User | None:
    if session.get("until", 0) <= time.time():
        return None
    with parts().database.read() as db:
        user = db.get(User, uuid.UUID(session["user"]))
    if user is None or not user.is_active or user.session_epoch != session.get("epoch"):
        return None
    return user


def requires(*roles: Role) -> Callable[[Callable[P, R]], Callable[P, R | Response]]:
    """Let only signed-in people in, and where roles are named, only those."""

    def decorate(view: Callable[P, R]) -> Callable[P, R | Response]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | Response:
            if g.user is None:
                return _ask_to_sign_in()
            if roles and g.user.role not in roles:
                abort(403, f"This needs the role {' or '.join(roles)}; your account is a {g.user.role}.")
            return view(*args, **kwargs)

        return guarded

    return decorate


def may_submit(user: User | None) -> bool:
    """Tell whether an account may send films."""
    return user is not None and user.role in SUBMITTERS


def _ask_to_sign_in() -> Response:
    # A script that fetches a piece of a page must not get the sign-in page in its place.
    is_navigation = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    if g.by_token or prefers_problem() or not is_navigation:
        # RFC 9110, section 11.6.1: a 401 names the scheme.
        scheme = WWWAuthenticate("bearer", {"realm": "PneumoScreen"})
        raise Unauthorized("Sign in, or send a token: 'Authorization: Bearer psc_...'.", www_authenticate=scheme)
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    return _see_other(url_for("auth.sign_in", next=target if target != "/" else None))


def _see_other(address: str) -> Response:
    response = redirect(address, 303)
    assert isinstance(response, Response)  # noqa: S101  # Flask's own redirect gives Flask's own Response
    return response


def _next_address() -> str:
    """Return where to go after signing in; an address of another site is dropped."""
    wanted = request.args.get("next", "/")
    parts_of = urlsplit(wanted)
    is_local = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if is_local and not parts_of.netloc and not parts_of.scheme else "/"


def _start_session(user: User) -> None:
    """Begin a fresh session, so that nothing from before the sign-in survives in it."""
    session.clear()
    session.permanent = True
    session["user"] = str(user.id)
    session["epoch"] = user.session_epoch
    session["until"] = time.time() + parts().settings.session_hours * 3600


@blueprint.route("/sign-in", methods=["GET", "POST"])
@counts_sign_ins
def sign_in() -> ResponseReturnValue:
    """Show the form, or check a name and a password."""
    form = SignInForm()
    if not form.validate_on_submit():
        return render_template("auth/sign_in.html", form=form), 422 if form.is_submitted() else 200
    name, password = form.name.data or "", form.password.data or ""
    with parts().database.read() as db, _one_check:
        user = accounts.check_password(db, name, password)
    with parts().database.write() as db:
        known = user or accounts.find_user(db, name)
        action = Action.SIGN_IN if user else Action.SIGN_IN_REFUSED
        record(db, action, user_id=known.id if known else None, address=request.remote_addr)
    if user is None:
        form.password.errors = ["The name or the password is wrong."]
        return render_template("auth/sign_in.html", form=form), 401
    _start_session(user)
    return _see_other(_next_address())


@blueprint.route("/sign-in/link/<secret>", methods=["GET", "POST"])
@counts_sign_ins
def link(secret: str) -> ResponseReturnValue:
    """Show a button; only pressing it spends the link, because mail scanners and previews open addresses."""
    form = LinkForm()
    if not form.validate_on_submit():
        return render_template("auth/link.html", form=form)
    with parts().database.write() as db:
        user = accounts.use_link(db, secret)
        action = Action.SIGN_IN if user else Action.SIGN_IN_REFUSED
        record(db, action, user_id=user.id if user else None, subject="link", address=request.remote_addr)
    if user is None:
        abort(410, "This sign-in link has been used or is too old. Ask an administrator for a new one.")
    _start_session(user)
    return _see_other(url_for("auth.password") if user.password_hash is None else "/")


@blueprint.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the session of this browser."""
    if g.user is not None:
        with parts().database.write() as db:
            record(db, Action.SIGN_OUT, user_id=g.user.id, address=request.remote_addr)
    session.clear()
    return _see_other(url_for("auth.sign_in"))


@blueprint.route("/account/password", methods=["GET", "POST"])
@requires()
@counts_sign_ins
def password() -> ResponseReturnValue:
    """Set or change the password of the account that is signed in."""
    form = PasswordForm()
    if g.user.password_hash is None:
        del form.password
    if not form.validate_on_submit():
        return render_template("auth/password.html", form=form), 422 if form.is_submitted() else 200
    refusal = _change_password(form)
    if refusal:
        return render_template("auth/password.html", form=form), 422
    flash("The password is set. Every other session of this account has ended.", "info")
    return _see_other("/")


def _change_password(form: PasswordForm) -> bool:
    """Change the password and renew this session; put the reason on the form and return True where it is refused."""
    with _one_check, parts().database.write() as db:
        user = db.get_one(User, g.user.id)
        if user.password_hash and not accounts.check_password(db, user.name, form.password.data or ""):
            form.password.errors = ["The present password is wrong."]
            return True
        try:
            accounts.set_password(user, form.new_password.data or "")
        except accounts.AccountRefused as refusal:
            form.new_password.errors = [str(refusal)]
            return True
        record(db, Action.PASSWORD_CHANGED, user_id=user.id, subject=user.id, address=request.remote_addr)
    _start_session(user)
    return False
