"""Choose which e-mails the account gets: on the page Account, and on the unsubscribe page."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flask import Blueprint, abort, flash, g, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import update
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.email_addresses import to_ascii
from shared.messages.digests import APART
from shared.messages.emails import TESTS_AN_HOUR, TOLD_OF_FLAGS, may_test
from shared.messages.events import note_test
from shared.reviews.blind import reads_blind
from shared.tables import User
from web.base.contexts import PageContext, render
from web.base.services import services
from web.guard.access import requires, see_other
from web.languages.text import _, count

blueprint = Blueprint("account_emails", __name__, url_prefix="/account/emails")

CHOICES: Final = ("job_finished", "image_flagged")


class Hindrance(StrEnum):
    """Why no e-mail can be sent to an account."""

    NO_SERVER = "no_server"
    NO_ADDRESS = "no_address"
    BAD_ADDRESS = "bad_address"


@dataclass(frozen=True)
class Offer:
    """The e-mails that an account can choose, or why it can choose none."""

    hindrance: Hindrance | None
    offers_flags: bool
    """Whether e-mails about flagged images are offered: to readers and admins, who may see them."""
    is_blind: bool
    """Those would be offered, were it not for blind second reading."""
    seconds_apart: float
    """The account gets at most one e-mail in this many seconds."""


@dataclass(frozen=True)
class StopPage(PageContext):
    """The page that the unsubscribe link in each e-mail opens."""

    template = "auth/stop_emails.html"
    wants_any: bool


def offer_to(user: User) -> Offer:
    """Return what an account can choose."""
    settings = services().settings
    may_see = user.role in TOLD_OF_FLAGS
    is_blind = may_see and settings.blind_second_reading and reads_blind(user)
    hindrance = None
    if settings.smtp_host is None:
        hindrance = Hindrance.NO_SERVER
    elif user.email is None:
        hindrance = Hindrance.NO_ADDRESS
    elif to_ascii(user.email) is None:
        hindrance = Hindrance.BAD_ADDRESS
    seconds_apart = APART.total_seconds()
    return Offer(hindrance, offers_flags=may_see and not is_blind, is_blind=is_blind, seconds_apart=seconds_apart)


@blueprint.post("")
@requires()
def choose() -> ResponseReturnValue:
    """Save which e-mails the account wants; those that it is not offered are off."""
    offer = offer_to(g.user)
    chosen = {name: name in request.form for name in CHOICES}
    chosen["image_flagged"] = chosen["image_flagged"] and offer.offers_flags
    _keep(chosen, "chosen")
    flash(_("The settings are saved."), "info")
    return see_other(url_for("account.index", _anchor="emails"))


@blueprint.post("/test")
@requires()
def test() -> ResponseReturnValue:
    """Send a test e-mail, a few times an hour at most."""
    if offer_to(g.user).hindrance is not None:
        abort(409, _("No e-mail can be sent to this account. Its page says why."))
    with services().database.write() as db:
        user = db.get_one(User, g.user.id, with_for_update=True)
        if not may_test(db, user):
            said = _("At most %(most)s test e-mails an hour. Try again later.", most=count(TESTS_AN_HOUR))
            abort(429, said)
        note_test(db, user)
        _record(db, {"change": "tested"})
    flash(_("A test e-mail is on its way. Within seconds this page shows whether it was sent."), "info")
    return see_other(url_for("emails.index"))


@blueprint.get("/stop")
@requires()
def ask_to_stop() -> ResponseReturnValue:
    """Show the button that ends all e-mails; opening the link ends none, since programs that scan e-mails open it."""
    return render(StopPage(wants_any=g.user.emails_job_finished or g.user.emails_image_flagged))


@blueprint.post("/stop")
@requires()
def stop() -> ResponseReturnValue:
    """End all e-mails to the account."""
    _keep(dict.fromkeys(CHOICES, False), "stopped")
    flash(_("You get no more e-mails. You can ask for them again here."), "info")
    return see_other(url_for("account.index", _anchor="emails"))


def _keep(chosen: Mapping[str, bool], change: str) -> None:
    with services().database.write() as db:
        values = {f"emails_{name}": is_on for name, is_on in chosen.items()}
        db.execute(update(User).where(User.id == g.user.id).values(values))
        _record(db, {"change": change, **{name: "on" if is_on else "off" for name, is_on in chosen.items()}})


def _record(db: Session, detail: Mapping[str, str]) -> None:
    record(db, Action.EMAIL_CHANGED, user_id=g.user.id, subject=g.user.id, address=request.remote_addr, detail=detail)
