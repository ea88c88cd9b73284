"""One screening as JSON, for API and exports, made from a row of a list."""

import uuid
from datetime import datetime
from typing import Any

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field

from shared.models.spec import ImageClass, Label
from shared.refusals import Details, explain
from shared.states import State
from shared.tables import Finding, ReviewOutcome, ReviewState
from web.lists.listing import ScreeningSummary


class Schema(BaseModel):
    """Be exact about what is sent."""

    model_config = ConfigDict(extra="forbid")


class ScreeningRow(Schema):
    """One image of one job."""

    id: uuid.UUID
    file_name: str
    position: int
    state: State
    label: Label | None
    cause: ImageClass | None
    confidence: float | None = Field(description="Calibrated probability of the label, 0 to 1.")
    p_pneumonia: float | None
    threshold: float | None = Field(description="In force when the label was given.")
    model: str | None = Field(description="Name and start of the sha256 of the weights that answered.")
    error: str | None = Field(description="For people: what is wrong and what to do.")
    error_code: str | None = Field(description="For programs; docs/http.md lists them.")
    error_details: Details | None = Field(description="The parameters of the code; docs/http.md lists them.")
    created_at: datetime
    finished_at: datetime | None
    job: uuid.UUID
    job_name: str
    created_by: str
    review_state: ReviewState = Field(description="What the reviews of the image amount to.")
    reviews: int = Field(description="How many readers' reviews count; the columns below are of the newest.")
    review_outcome: ReviewOutcome | None
    review_finding: Finding | None
    review_note: str | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    brightness: int | None = Field(description="Median grey of the image as the model saw it, 0 to 255.")
    contrast: int | None = Field(description="Its 95th percentile of grey above its 5th, 0 to 255.")
    hidden: bool = Field(description="Prediction and reviews are kept back until your own review is in.")
    page_url: str
    thumbnail_url: str | None
    heat_map_url: str | None = Field(description="Where the model saw evidence, as a PNG to lay over the image.")


class PredictionRow(ScreeningRow):
    """One image of any job."""


def result_values(row: ScreeningSummary) -> dict[str, Any]:
    """Return the values of `shared.columns.RESULT_COLUMNS`."""
    newest = row.reviews[-1] if row.reviews else None
    return {
        "id": row.screening_id,
        "file_name": row.file_name,
        "state": row.state,
        "label": row.label,
        "cause": row.cause,
        "confidence": row.confidence,
        "p_pneumonia": row.p_pneumonia,
        "threshold": row.threshold,
        "model": row.model,
        "error": explain(row.error_code, row.error_details).text if row.error_code else None,
        "error_code": row.error_code,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
        "job": row.job_id,
        "job_name": row.job_name,
        "created_by": row.created_by,
        "review_state": row.review_state,
        "reviews": len(row.reviews),
        "review_outcome": newest.outcome if newest else None,
        "review_finding": newest.finding if newest else None,
        "review_note": newest.note if newest else None,
        "reviewed_by": newest.user.name if newest else None,
        "reviewed_at": newest.created_at if newest else None,
        "brightness": row.brightness,
        "contrast": row.contrast,
    }


def screening_values(row: ScreeningSummary) -> dict[str, Any]:
    """Return the values of an Image."""
    screening = row.screening_id
    return {
        **result_values(row),
        "position": row.position,
        "error_details": row.error_details,
        "hidden": row.is_hidden,
        "page_url": url_for("screenings.show", screening_id=screening),
        "thumbnail_url": url_for("images.thumbnail", screening_id=screening) if row.sha256 else None,
        "heat_map_url": url_for("images.heat_map", screening_id=screening) if row.has_heat_map else None,
    }


def prediction_row(row: ScreeningSummary) -> PredictionRow:
    """Describe one image of any job."""
    return PredictionRow(**screening_values(row))
