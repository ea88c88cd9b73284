"""One screening as JSON: what the API answers and exports write, made from a row of a list."""

import uuid
from datetime import datetime
from typing import Any

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field

from shared.models.spec import FilmClass, Label
from shared.refusals import Details
from shared.states import State
from web.lists.listing import FilmRow


class Schema(BaseModel):
    """Be exact about what is sent."""

    model_config = ConfigDict(extra="forbid")


class Film(Schema):
    """One film of one job."""

    id: uuid.UUID
    file: str
    position: int
    status: State
    label: Label | None
    cause: FilmClass | None
    confidence: float | None = Field(description="Calibrated probability of the label, 0 to 1.")
    p_pneumonia: float | None
    model: str | None = Field(description="Name and start of the sha256 of the weights that answered.")
    error: str | None = Field(description="For people: what is wrong and what to do.")
    error_code: str | None = Field(description="For programs; docs/http.md lists them.")
    error_details: Details | None = Field(description="The parameters of the code; docs/http.md lists them.")
    created_at: datetime
    finished_at: datetime | None
    page_url: str
    thumbnail_url: str | None
    heat_map_url: str | None = Field(description="Where the model saw evidence, as a PNG to lay over the film.")


class PredictionRow(Film):
    """One film of any job."""

    job: uuid.UUID
    job_name: str
    created_by: str


def film_values(row: FilmRow) -> dict[str, Any]:
    """Return the values of a Film."""
    film = row.screening_id
    return {
        "id": film,
        "file": row.file_name,
        "position": row.position,
        "status": row.state,
        "label": row.label,
        "cause": row.cause,
        "confidence": row.confidence,
        "p_pneumonia": row.p_pneumonia,
        "model": row.model,
        "error": row.refusal.text if row.refusal else None,
        "error_code": row.error_code,
        "error_details": row.error_details,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "page_url": url_for("screenings.show", screening_id=film),
        "thumbnail_url": url_for("films.thumbnail", screening_id=film) if row.sha256 else None,
        "heat_map_url": url_for("films.heat_map", screening_id=film) if row.has_heat_map else None,
    }


def prediction_row(row: FilmRow) -> PredictionRow:
    """Describe one film of any job."""
    return PredictionRow(**film_values(row), job=row.job_id, job_name=row.job_name, created_by=row.created_by)
