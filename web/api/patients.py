"""Other X-rays of the same patient in the API, without revealing the patient."""

import uuid
from datetime import date
from typing import Final

from flask import Blueprint, Response, g
from flask.typing import ResponseReturnValue

from web.api import schemas
from web.base.services import services
from web.guard.access import requires
from web.images import review_requests
from web.images.same_patient import Dated, find_same_patient
from web.lists.rows import ScreeningRow, screening_values

blueprint = Blueprint("patients_api", __name__, url_prefix="/api/v1")

MOST: Final = 100


@blueprint.get("/screenings/<uuid:screening_id>/same-patient")
@requires()
def show(screening_id: uuid.UUID) -> ResponseReturnValue:
    """List other images of a screening's patient, if its header has one."""
    with services().database.read() as db:
        found = find_same_patient(db, g.user, review_requests.seen_image(db, screening_id), MOST)
    body = schemas.SamePatient(
        is_known=found.is_known,
        taken_on=_taken_on(found.dated),
        others=[
            schemas.SamePatientImage(
                when=other.when,
                taken_on=_taken_on(other.dated),
                screening=ScreeningRow(**screening_values(other.screening)),
            )
            for other in found.others
        ],
    )
    return Response(body.model_dump_json(), content_type="application/json")


def _taken_on(dated: Dated | None) -> date | None:
    return dated.day if dated is not None and dated.is_of_header else None
