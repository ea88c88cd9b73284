"""The columns of results, the same in exports of pages, API and command line; see docs/http.md."""

from typing import Final

from pydantic import BaseModel


class Result(BaseModel):
    """What became of one image; its fields, in this order, are the columns."""

    file_name: str
    state: str
    label: str | None = None
    confidence: float | None = None
    p_pneumonia: float | None = None
    model: str | None = None
    error: str | None = None
    job_name: str | None = None
    created_at: str | None = None
    id: str | None = None
    job: str | None = None
    created_by: str | None = None
    finished_at: str | None = None
    cause: str | None = None
    threshold: float | None = None
    error_code: str | None = None
    review_state: str | None = None
    reviews: int | None = None
    review_outcome: str | None = None
    review_finding: str | None = None
    review_note: str | None = None
    reviewed_by: str | None = None
    reviewed_at: str | None = None
    brightness: int | None = None
    contrast: int | None = None


RESULT_COLUMNS: Final = tuple(Result.model_fields)
