"""Requests to review an image, parsed and carried out alike for the page and the API."""

import hashlib
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar

from flask import current_app, g, request
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.audit.record import Action, record
from shared.idempotency import IdempotencyKey
from shared.reviews import reviews
from shared.reviews.reviews import NOTE_LENGTH, NewReview
from shared.tables import Finding, Prediction, Review, ReviewOutcome, Screening
from web.base.blind import hides_from
from web.base.problems import InvalidRequest
from web.base.services import services
from web.images.missing import refuse_missing
from web.languages.text import N_, _, count, translate
from web.lists.kinds import ask_for
from web.lists.listing import ScreeningDetail, get_screening

E = TypeVar("E", bound=StrEnum)

_OUTCOMES: Final = tuple(outcome for outcome in ReviewOutcome if outcome is not ReviewOutcome.WITHDRAWN)
_FIELDS: Final = ("outcome", "finding", "note", "seen")
_SHOWN: Final = 64


def seen_image(db: Session, screening_id: uuid.UUID) -> ScreeningDetail:
    """Return a screening; answer 404 where there is none or the account may not see it."""
    screening = get_screening(db, g.user, screening_id)
    if screening is None:
        refuse_missing(db, screening_id)
    return screening


def mark_shown(screening: ScreeningDetail) -> str:
    """Return the mark by which a page that showed the result to a blind reader proves it; empty where none is hidden.

    Another reader may review the image while the page is open. From then on its result is hidden, but was seen.
    """
    if screening.is_hidden or not hides_from(g.user):
        return ""
    return str(_serializer().dumps(_seen_by_viewer(screening)))


def _was_shown(screening: ScreeningDetail, mark: str | None) -> bool:
    try:
        return bool(mark) and _serializer().loads(mark or "") == _seen_by_viewer(screening)
    except BadSignature:
        return False


def _seen_by_viewer(screening: ScreeningDetail) -> list[str]:
    return [g.user.id.hex, screening.sha256 or ""]


def _serializer() -> URLSafeSerializer:
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt="result shown")


def add(
    screening_id: uuid.UUID, given: Mapping[str, object], key: str | None, shown: str | None = None
) -> tuple[Review, bool]:
    """Add a review from a request, and record it in the audit trail; raise InvalidRequest where it is invalid.

    Also return whether it counts: a repeated one may have been withdrawn or superseded since. `shown` is the mark of a
    page that showed the result (`mark_shown`).
    """
    whole_key = IdempotencyKey(key, _digest(screening_id, given)) if key is not None else None
    with services().database.write() as db:
        screening = seen_image(db, screening_id)
        outcome, finding, note, seen = _read(given)
        reviewed = db.get_one(Screening, screening_id)
        known = reviews.find_repeated(db, g.user, reviewed, whole_key)
        if known is not None:  # before comparing it with the prediction: the model may have answered since
            return known, reviews.counts(db, known)
        is_blind = screening.is_hidden and not _was_shown(screening, shown)
        settled = _settle(outcome, finding, _prediction_behind(db, screening), is_blind=is_blind)
        review = reviews.add_review(
            db,
            g.user,
            reviewed,
            NewReview(settled, finding, note, seen),
            is_blind=is_blind,
            hides_others=screening.is_hidden,
            key=whole_key,
        )
        _leave_trace(db, Action.REVIEW_ADDED, screening_id, review)
    return review, True


def withdraw(screening_id: uuid.UUID, key: str | None = None) -> Review:
    """Withdraw the account's own review of an image, and record that in the audit trail."""
    digest = _digest(screening_id, {"outcome": ReviewOutcome.WITHDRAWN})
    whole_key = IdempotencyKey(key, digest) if key is not None else None
    with services().database.write() as db:
        seen_image(db, screening_id)
        reviewed = db.get_one(Screening, screening_id)
        known = reviews.find_repeated(db, g.user, reviewed, whole_key)
        if known is not None:
            return known
        review = reviews.withdraw(db, g.user, reviewed, whole_key)
        _leave_trace(db, Action.REVIEW_WITHDRAWN, screening_id, review)
    return review


def _leave_trace(db: Session, action: Action, screening_id: uuid.UUID, review: Review) -> None:
    # Never the note, which may name a patient.
    said = {"outcome": review.outcome.value, **({"finding": review.finding.value} if review.finding else {})}
    address = request.remote_addr
    record(db, action, user_id=g.user.id, subject=screening_id, address=address, detail=said)


def _prediction_behind(db: Session, screening: ScreeningDetail) -> Prediction | None:
    """Return the model's prediction, even where the viewer may not see it."""
    return db.scalar(select(Prediction).join(Screening).where(Screening.id == screening.screening_id))


def _read(
    given: Mapping[str, object],
) -> tuple[ReviewOutcome | None, Finding | None, str | None, uuid.UUID | None]:
    unknown = sorted(set(given) - set(_FIELDS))
    if unknown:
        raise InvalidRequest(unknown[0][:_SHOWN], _("Leave it out; this takes %(fields)s.", fields=", ".join(_FIELDS)))
    outcome = _choose("outcome", given.get("outcome"), _OUTCOMES)
    finding = _choose("finding", given.get("finding"), tuple(Finding))
    return outcome, finding, _read_note(given.get("note")), _read_seen(given)


def _settle(
    outcome: ReviewOutcome | None, finding: Finding | None, prediction: Prediction | None, *, is_blind: bool
) -> ReviewOutcome:
    """Derive the outcome from outcome and finding; a finding alone is compared with the prediction."""
    if outcome is None and finding is None:
        choices = ", ".join(_OUTCOMES)
        raise InvalidRequest("outcome", _("Give one of %(choices)s, or a finding. Received: none.", choices=choices))
    if is_blind and outcome in {ReviewOutcome.AGREE, ReviewOutcome.OVERRULE}:
        said = _("You read blind: leave it out and give what you find. Received: an outcome.")
        raise InvalidRequest("outcome", said)
    label, cause = (prediction.label, prediction.cause) if prediction else (None, None)
    judged = reviews.judge(finding, label, cause) if finding else None
    if outcome is None:
        assert judged is not None  # noqa: S101  # one of the two is given
        return judged
    if (outcome is ReviewOutcome.OVERRULE) is not (finding is not None):
        raise InvalidRequest("finding", _say_unfit(outcome, finding, is_blind=is_blind))
    if judged is ReviewOutcome.AGREE:
        said = _("The model says that too: leave the outcome out. Received: %(finding)s.", finding=finding)
        raise InvalidRequest("finding", said)
    return outcome


def _say_unfit(outcome: ReviewOutcome, finding: Finding | None, *, is_blind: bool) -> str:
    given = ", ".join([outcome, *([finding] if finding else [])])
    if is_blind:
        alone = N_("Give the finding alone, or inadequate or second_reader without one. Received: %(given)s.")
        return translate(alone, given=given)
    with_overrule = N_("Give one of %(choices)s with overrule, and with nothing else. Received: %(given)s.")
    return translate(with_overrule, choices=", ".join(Finding), given=given)


def _choose(name: str, value: object, choices: tuple[E, ...]) -> E | None:
    if value is None or value == "":
        return None
    found = next((choice for choice in choices if choice == value), None)
    if found is None:
        raise InvalidRequest(name, f"{ask_for(choices)} {_received(value)}")
    return found


def _read_note(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest("note", _("Give a text. Received: %(type)s.", type=type(value).__name__))
    # PostgreSQL stores no NUL and no lone surrogate. Browsers end a line in a form with CR LF.
    kept = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    text = kept.replace("\r\n", "\n").strip()
    if len(text) > NOTE_LENGTH:
        most, given = count(NOTE_LENGTH), count(len(text))
        said = _("Give at most %(most)s characters. Received: %(given)s.", most=most, given=given)
        raise InvalidRequest("note", said)
    return text or None


def _read_seen(given: Mapping[str, object]) -> uuid.UUID | None:
    value = given.get("seen")
    if value is None or value == "":
        return None
    try:
        return uuid.UUID(value if isinstance(value, str) else "")  # a number of 32 digits is no id
    except ValueError as error:
        raise InvalidRequest("seen", " ".join([_("Give the id of a review."), _received(value)])) from error


def _received(value: object) -> str:
    return _("Received: %(value)s.", value=repr(str(value)[:_SHOWN]))


def _digest(screening_id: uuid.UUID, given: Mapping[str, object]) -> str:
    told = "\0".join([str(screening_id), *(f"{name}={given.get(name) or ''}" for name in _FIELDS if name != "seen")])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
