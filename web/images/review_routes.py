"""Reader's actions on the page of an image: review it, undo that, and claim it while open."""

import uuid
from http import HTTPStatus
from typing import Final

from flask import Blueprint, Response, flash, g, jsonify, request, url_for
from flask.typing import ResponseReturnValue

from shared.errors import NothingToWithdraw, NotReviewable, ReviewOutdated, TranslatableError
from shared.reviews import claims
from shared.reviews.reviews import list_reviews
from shared.tables import Finding
from web.base.problems import InvalidRequest, prefers_problem
from web.base.services import services
from web.guard.access import REVIEWERS, asked_by_script, requires, see_other
from web.images import page, review_requests
from web.images.neighbours import listed
from web.images.next_unread import next_unread
from web.languages.text import _, say

blueprint = Blueprint("reviews", __name__, url_prefix="/screenings")

_KEY_LENGTH: Final = 64


@blueprint.post("/<uuid:screening_id>/reviews")
@requires(*REVIEWERS)
def add(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Add a review, then redirect to the next unread image."""
    says = request.form.get("says", "")
    given = {
        "finding" if says in list(Finding) else "outcome": says,
        "note": request.form.get("note"),
        "seen": request.form.get("seen"),
    }
    try:
        key = request.form.get("key", "")[:_KEY_LENGTH] or None
        review_requests.add(screening_id, given, key, request.form.get("shown"))
    except (ReviewOutdated, NotReviewable, InvalidRequest) as error:
        if prefers_problem():
            if isinstance(error, ReviewOutdated):  # the page reloads itself
                flash(say(error), "error")
            raise
        status = HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, InvalidRequest) else HTTPStatus.CONFLICT
        problem = say(error) if isinstance(error, TranslatableError) else str(error)
        return page.render_image(screening_id, problem=problem, note=request.form.get("note")), status
    return _lead_on(screening_id)


@blueprint.post("/<uuid:screening_id>/reviews/withdraw")
@requires(*REVIEWERS)
def withdraw(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Undo the reader's own review and show its image again."""
    try:
        review_requests.withdraw(screening_id)
    except NothingToWithdraw:
        flash(_("You have no review of this X-ray that could be undone."), "error")
    else:
        flash(_("Your review is undone."), "info")
    return see_other(url_for("screenings.show", screening_id=screening_id, **listed()))


@blueprint.post("/<uuid:screening_id>/claim")
@requires(*REVIEWERS)
@asked_by_script
def claim(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Record that the page is still open; return who else has it open, and which review is the newest."""
    with services().database.write() as db:
        screening = review_requests.seen_image(db, screening_id)
        if screening.sha256 is None:
            return jsonify(open=[], newest=None)
        claims.claim(db, g.user, screening.sha256)
        others = claims.claims_of_others(db, g.user, [screening.sha256])
        rows = [] if screening.is_hidden else list_reviews(db, screening.sha256)
    others_rows = [review for review in rows if review.user_id != g.user.id]
    return jsonify(
        open=[page.say_open(other) for other in others],
        newest=str(others_rows[-1].id) if others_rows else None,
        by=others_rows[-1].user.name if others_rows else None,
    )


@blueprint.post("/<uuid:screening_id>/release")
@requires(*REVIEWERS)
@asked_by_script
def release(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Record that the page was closed."""
    with services().database.write() as db:
        screening = review_requests.seen_image(db, screening_id)
        claims.release(db, g.user, screening.sha256 or "")
    return Response(status=HTTPStatus.NO_CONTENT)


def _lead_on(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Redirect to the next unread image, or to this one where there is none."""
    with services().database.read() as db:
        screening = review_requests.seen_image(db, screening_id)
        following = next_unread(db, screening, request.args)
    if following.is_cut and following.screening_id is None:
        flash(_("Your review is saved. No next unread X-ray was found yet. Go on from the list."), "info")
    elif following.screening_id is None:
        flash(_("Your review is saved. No unread X-rays are left in this list."), "info")
    reviewed = screening_id if following.screening_id else None
    shown = following.screening_id or screening_id
    address = url_for("screenings.show", screening_id=shown, reviewed=reviewed, **listed())
    if prefers_problem():
        return jsonify(next=address), HTTPStatus.CREATED
    return see_other(address)
