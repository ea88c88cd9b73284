"""Single sign-on by OpenID Connect: redirect to the identity provider and handle its answer.

`web.app` installs this where an issuer is configured; Authlib is imported at the first sign-in.
"""

import re
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from flask import Blueprint, Flask, current_app, flash, g, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from shared.accounts.credentials import end_credentials
from shared.accounts.identities import link_identity
from shared.audit.record import Action, record
from shared.errors import PneumoScreenError
from shared.settings import PREFIX
from shared.tables import User
from web.accounts.claims import Claims, ProviderAway, RoleTaken, SignInRefused, admit
from web.accounts.sign_in import next_address
from web.base.contexts import PageContext, render
from web.base.problems import answer
from web.base.services import services
from web.guard.access import open_to_all, see_other
from web.guard.identity import BY_PROVIDER, start_session
from web.languages.text import _

if TYPE_CHECKING:
    from web.accounts.provider import Provider

EXTENSION: Final = "pneumoscreen.provider"
ASKED: Final = "asked_provider"
"""Session key of the pending sign-in request: one per browser, so that the cookie stays small."""
ASKED_SECONDS: Final = 600
_LONGEST_ADDRESS: Final = 1024  # a cookie has 4096 bytes
WAY: Final = "single sign-on"
"""Name of this way of signing in, in the audit trail."""

blueprint = Blueprint("oidc", __name__)


class SingleSignOnMissing(PneumoScreenError):
    """Say which package single sign-on needs."""


@dataclass(frozen=True)
class SignedOutPage(PageContext):
    """Says that the provider's session continues after signing out here, and links to its logout."""

    template = "oidc/signed_out.html"
    farewell: str | None


def install(app: Flask) -> None:
    """Add single sign-on to an application; raise SingleSignOnMissing where its packages are not installed."""
    missing = [name for name in ("authlib", "requests") if find_spec(name) is None]
    if missing:
        raise SingleSignOnMissing(
            f"{PREFIX}OIDC_ISSUER is set, but single sign-on needs the Python package '{missing[0]}', which is not "
            "installed. Install the dependency group 'sso'."
        )
    app.register_blueprint(blueprint)
    app.register_error_handler(ProviderAway, lambda error: answer(503, str(error)))
    app.register_error_handler(SignInRefused, lambda error: answer(403, str(error)))
    app.context_processor(lambda: {"single_sign_on": services().settings.oidc_label})


def provider() -> "Provider":
    """Return the client of the identity provider."""
    if EXTENSION not in current_app.extensions:
        from web.accounts.provider import Provider  # noqa: PLC0415  # most starts never need it, and it takes memory

        current_app.extensions.setdefault(EXTENSION, Provider(services().settings))
    found: Provider = current_app.extensions[EXTENSION]
    return found


def ask(then: str, link: User | None = None) -> str:
    """Store a sign-in request in the session and return the provider's address; `link` is the account to be linked.

    Raises ProviderAway.
    """
    question = provider().ask(url_for("oidc.finish", _external=True))
    session[ASKED] = {
        "state": question.state,
        "nonce": question.nonce,
        "code_verifier": question.code_verifier,
        "until": time.time() + ASKED_SECONDS,
        "then": then if len(then) <= _LONGEST_ADDRESS else "/",
        "link": str(link.id) if link else None,
    }
    return question.url


@blueprint.get("/sign-in/single")
@open_to_all
def start() -> ResponseReturnValue:
    """Redirect a person to the identity provider."""
    return see_other(ask(next_address()))


@blueprint.get("/sign-in/single/return")
@open_to_all
def finish() -> ResponseReturnValue:
    """Sign in the person whom the identity provider redirects back."""
    asked = _asked()
    place = url_for("oidc.finish", _external=True)
    claims = provider().answer(_code(), asked["nonce"], asked["code_verifier"], place)
    return _link(claims, asked) if asked["link"] else _sign_in(claims, asked)


def _asked() -> dict[str, Any]:
    """Take this browser's sign-in request out of the session; raise SignInRefused where the answer is to another."""
    asked: dict[str, Any] | None = session.pop(ASKED, None)
    if asked is None or asked["until"] <= time.time() or asked["state"] != request.args.get("state"):
        raise SignInRefused(
            _(
                "This answer from the identity provider does not match a sign-in begun in this browser in the last "
                "%(minutes)s minutes. Go to the sign-in page and begin again.",
                minutes=ASKED_SECONDS // 60,
            )
        )
    return asked


def _code() -> str:
    error, code = request.args.get("error"), request.args.get("code")
    if error is None and code:
        return code
    # RFC 6749, section 4.1.2.1, defines the codes; any other text of the provider is not shown on our pages.
    if error and re.fullmatch(r"[a-z_]{1,40}", error):
        said = _(
            "The identity provider did not sign you in (%(error)s). Go to the sign-in page and begin again.",
            error=error,
        )
    else:
        said = _("The identity provider did not sign you in. Go to the sign-in page and begin again.")
    raise SignInRefused(said)


def _sign_in(claims: Claims, asked: dict[str, Any]) -> ResponseReturnValue:
    try:
        # Of two concurrent first sign-ins of one person the second finds what the first created.
        services().database.transact(lambda db: _admit(db, claims))
    except SignInRefused as refusal:
        with services().database.write() as db:
            address = request.remote_addr
            record(db, Action.SIGN_IN_REFUSED, user_id=refusal.user_id, subject=WAY, address=address)
            if isinstance(refusal, RoleTaken):
                end_credentials(db, db.get_one(User, refusal.user_id))
        raise
    session[BY_PROVIDER] = True
    return see_other(asked["then"])


def _admit(db: Session, claims: Claims) -> None:
    user = admit(db, services().settings, claims, request.remote_addr)
    record(db, Action.SIGN_IN, user_id=user.id, subject=WAY, address=request.remote_addr)
    start_session(db, user)


def _link(claims: Claims, asked: dict[str, Any]) -> ResponseReturnValue:
    if g.user is None or str(g.user.id) != asked["link"]:
        raise SignInRefused(
            _(
                "You are not signed in to the account that this link was begun for. "
                "Sign in to it and begin again on its Account page."
            )
        )
    with services().database.write() as db:
        user = db.get_one(User, g.user.id)
        link_identity(db, user, claims["iss"], claims["sub"])
        record_link(db, user, "single sign-on linked")
    flash(_("You can now sign in to this account with single sign-on."), "info")
    return see_other(asked["then"])


def record_link(db: Session, user: User, change: str) -> None:
    """Record in the audit trail what people did to their own account."""
    address, detail = request.remote_addr, {"change": change, "role": user.role.value}
    record(db, Action.USER_CHANGED, user_id=user.id, subject=user.id, address=address, detail=detail)


@blueprint.get("/sign-out/single")
@open_to_all
def signed_out() -> ResponseReturnValue:
    """Say that the provider's own session continues, and offer to end it too."""
    try:
        farewell = provider().farewell(url_for("auth.sign_in", _external=True))
    except (ProviderAway, SignInRefused):
        farewell = None  # the page says what continues there either way
    return render(SignedOutPage(farewell))
