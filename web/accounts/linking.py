"""Link single sign-on to the signed-in account, and unlink it."""

from dataclasses import dataclass

from flask import Blueprint, flash, g, url_for
from flask.typing import ResponseReturnValue

from shared.accounts.identities import identity_of, unlink_identity
from shared.accounts.refusal import AccountRefused
from shared.tables import Identity, User
from web.accounts.oidc import ask, record_link
from web.accounts.sign_in import PresentPasswordForm, check_password_alone, check_present_password, refused
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.guard.identity import start_session
from web.languages.text import _

blueprint = Blueprint("linking", __name__, url_prefix="/account/single")


@dataclass(frozen=True)
class LinkingPage(PageContext):
    """Whether single sign-on opens the account; `way` is the address at the identity provider."""

    template = "oidc/account.html"
    form: PresentPasswordForm
    identity: Identity | None
    way: str | None


@blueprint.get("")
@requires()
def index() -> ResponseReturnValue:
    """Show whether single sign-on opens the account."""
    return _page(_form())


@blueprint.post("")
@requires()
def link() -> ResponseReturnValue:
    """Check the password, then show the link to the identity provider.

    A browser left unattended must not be enough to give somebody else permanent access. And a form may not redirect to
    another site by itself: the policy `form-action 'self'` applies to redirects too.
    """
    form = _form()
    if not form.validate_on_submit():
        return _page(form), 422
    wait = _check_password(form)
    if form.errors:
        return refused(_page(form), 422, wait)
    return _page(form, way=ask(url_for("linking.index"), g.user))


@blueprint.post("/unlink")
@requires()
def unlink() -> ResponseReturnValue:
    """Unlink single sign-on from the account; raise AccountRefused where nothing else would open it."""
    if g.user.password_hash is None:
        raise AccountRefused(
            _("Single sign-on is the only way to sign in to this account. Set a password first, then unlink it.")
        )
    with services().database.write() as db:
        user = db.get_one(User, g.user.id)
        if unlink_identity(db, user, services().settings.oidc_issuer or ""):
            record_link(db, user, "single sign-on unlinked")
            start_session(db, user)
    flash(
        _(
            "Single sign-on does not open this account any more. Its other sessions, sign-in links and API tokens have "
            "ended; make new tokens for your programs."
        ),
        "info",
    )
    return see_other(url_for("linking.index"))


def _form() -> PresentPasswordForm:
    form = PresentPasswordForm()
    if g.user.password_hash is None:
        del form.password
    return form


def _check_password(form: PresentPasswordForm) -> int:
    """Put a wrong password's error on the form, and return how long to wait where it was wrong too often."""
    if not form.password:
        return 0
    with check_password_alone(), services().database.write() as db:
        return check_present_password(db, db.get_one(User, g.user.id), form)


def _page(form: PresentPasswordForm, way: str | None = None) -> str:
    with services().database.read() as db:
        identity = identity_of(db, g.user, services().settings.oidc_issuer or "")
    return render(LinkingPage(form, identity, way))
