"""Reviews in the API: list, add and withdraw them."""

import uuid
from http import HTTPStatus

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from shared.reviews.reviews import list_reviews
from shared.reviews.standing import standing
from shared.tables import Review
from web.api import schemas
from web.api.json_body import read_object
from web.base.services import services
from web.guard.access import REVIEWERS, requires
from web.images import review_requests
from web.uploads.fields import idempotency_key

blueprint = Blueprint("reviews_api", __name__, url_prefix="/api/v1")


@blueprint.get("/screenings/<uuid:screening_id>/reviews")
@requires()
def list_all(screening_id: uuid.UUID) -> ResponseReturnValue:
    """List the reviews of a screening's image."""
    with services().database.read() as db:
        image = review_requests.seen_image(db, screening_id)
        rows = [] if image.is_hidden or image.sha256 is None else list_reviews(db, image.sha256)
    counted = {review.id for review in standing(rows)}
    body = schemas.ReviewList(
        state=image.review_state,
        hidden=image.is_hidden,
        reviews=[schemas.ReviewShown.of(review, counts=review.id in counted) for review in rows],
    )
    return Response(body.model_dump_json(), content_type="application/json")


@blueprint.post("/screenings/<uuid:screening_id>/reviews")
@requires(*REVIEWERS)
def add(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Add the account's review of a screening's image."""
    review, counts = review_requests.add(screening_id, read_object(), idempotency_key())
    return _created(review, counts=counts)


@blueprint.post("/screenings/<uuid:screening_id>/reviews/withdraw")
@requires(*REVIEWERS)
def withdraw(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Withdraw the account's own review of a screening's image."""
    return _created(review_requests.withdraw(screening_id, idempotency_key()), counts=False)


def _created(review: Review, *, counts: bool) -> Response:
    body = schemas.ReviewShown.of(review, counts=counts)
    return Response(body.model_dump_json(), HTTPStatus.CREATED, content_type="application/json")
