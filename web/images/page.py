"""One film: the picture, the result and how it came about."""

import uuid
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, abort, g, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from shared.audit.record import Action, record
from shared.models.heatmap import decode
from shared.tables import Image, Job, Model, Prediction, Screening
from web.base.services import parts
from web.base.zones import current_zone
from web.guard.access import may_see, requires
from web.images.heatmaps import SCALE
from web.lists.listing import FilmDetail, Filters, Order, beside, count_before, count_films, get_film

blueprint = Blueprint("screenings", __name__)

MOST_ELSEWHERE = 20


@blueprint.get("/screenings/<uuid:screening_id>")
@requires()
def show(screening_id: uuid.UUID) -> ResponseReturnValue:
    """Show one film with all that is known of it, between its neighbours in the list that it was opened from."""
    with parts().database.read() as db:
        film = get_film(db, g.user, screening_id)
        if film is None:
            abort(404)
        shown = render_template(
            "screenings/show.html",
            film=film,
            total=db.scalar(select(func.count()).where(Screening.job_id == film.job_id)),
            **_neighbours(db, film),
            also=_elsewhere(db, film),
            threshold_rule=_threshold_rule(db, film),
            places=decode(film.heat_map).size if film.heat_map else None,
            scale=SCALE,
        )
    with parts().database.write() as db:
        record(db, Action.FILM_VIEWED, user_id=g.user.id, subject=screening_id, address=request.remote_addr)
    return shown


def _neighbours(db: Session, film: FilmDetail) -> dict[str, Any]:
    """Find the films beside this one: in the list whose order the address names, else in its job, by position."""
    if not request.args.get("order"):
        beside_in_job = {"previous": _neighbour(db, film, -1), "next": _neighbour(db, film, 1)}
        return {**beside_in_job, "order": None, "listed": {}, "place": None}
    filters, order = Filters.from_args(request.args, current_zone()), Order.from_args(request.args)
    previous, following = beside(db, g.user, filters, order, film)
    listed = {**filters.to_args(), "order": order.value}
    place = _say_place(db, filters, order, film)
    return {"previous": previous, "next": following, "order": order.value, "listed": listed, "place": place}


def _say_place(db: Session, filters: Filters, order: Order, film: FilmDetail) -> str | None:
    """Say where a film stands in the worklist: `12 of 212`; None for other lists, and far down where nobody counts."""
    before = count_before(db, g.user, filters, order, film) if order is Order.UNREAD else None
    if before is None or not before.is_exact:
        return None
    total = count_films(db, g.user, filters, order)
    return f"{before.films + 1:,} of {'' if total.is_exact else 'more than '}{total.films:,}"


def _neighbour(db: Session, film: FilmDetail, step: int) -> uuid.UUID | None:
    """Return the film after this one in its job (`step` 1) or before it (-1)."""
    query = select(Screening.id).where(Screening.job_id == film.job_id)
    if step > 0:
        query = query.where(Screening.position > film.position).order_by(Screening.position)
    else:
        query = query.where(Screening.position < film.position).order_by(Screening.position.desc())
    return db.scalar(query.limit(1))


def _elsewhere(db: Session, film: FilmDetail) -> Sequence[Screening]:
    """Return the same film in other places that the viewer may see, newest first."""
    if film.sha256 is None:
        return []
    query = (
        select(Screening)
        .join(Image)
        .join(Job, Screening.job_id == Job.id)
        .options(joinedload(Screening.job))
        .where(Image.sha256 == film.sha256, Screening.id != film.screening_id, may_see(g.user))
        .order_by(Screening.id.desc())
        .limit(MOST_ELSEWHERE)
    )
    return db.scalars(query).all()


def _threshold_rule(db: Session, film: FilmDetail) -> str | None:
    """Return how the model that answered chose its threshold, in the words of its own spec."""
    query = select(Model).join(Prediction).join(Screening, Screening.prediction_id == Prediction.id)
    model = db.scalar(query.where(Screening.id == film.screening_id))
    return model.spec["threshold_rule"] if model else None
