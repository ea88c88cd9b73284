"""The schemas of the API's bodies: the views fill them and the OpenAPI document describes them."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Final, Literal, Self

from flask import url_for
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from shared.audit.trail import row_values
from shared.models.spec import Label, version_of
from shared.states import State
from shared.submission.submit import Receipt
from shared.tables import (
    AskedScore,
    AuditEvent,
    Finding,
    Job,
    Priority,
    Review,
    ReviewOutcome,
    ReviewState,
    Role,
    Source,
)
from web.frame.words import explain
from web.http.problem_codes import ProblemCode
from web.images.same_patient import When
from web.jobs.progress import JobState, Progress
from web.lists.rows import PredictionRow, Schema, ScreeningRow
from web.models.known import Known

MOST_OFFERED: Final = 5000
"""As many names as one request of the usual size has."""
LEAST_THRESHOLD: Final = 0.000001
MOST_THRESHOLD: Final = 0.999999
"""Thresholds are stored with six decimals."""
_PRIORITY_NAMES: Final[dict[Priority, Literal["interactive", "bulk"]]] = {
    Priority.INTERACTIVE: "interactive",
    Priority.BULK: "bulk",
}


class Rejected(Schema):
    """A file that cannot be screened."""

    file_name: str
    error_code: str = Field(description="For programs; docs/http.md lists them.")
    message: str = Field(description="For people: what is wrong and what to do.")


class LeftOut(Schema):
    """Files inside ZIPs that are no images, such as a disc's viewer, and have no row."""

    files: int
    reason: str = Field(description="For people: what they are.")


class JobReceipt(Schema):
    """A job, and what became of this request's files."""

    id: uuid.UUID
    name: str
    state: JobState
    status_url: str
    screenings_url: str
    images_url: str
    received: int = Field(description="Files of this request, entries of ZIPs counted one by one.")
    queued: int = Field(description="Images of this request that wait for a worker; others are answered or rejected.")
    rejected: list[Rejected]
    left_out: list[LeftOut]


class ImagesReceipt(Schema):
    """What became of this request's files."""

    received: int
    skipped: int = Field(
        description="Those of them that the job held already under the same name, left out for `skip_received`."
    )
    queued: int
    rejected: list[Rejected]
    left_out: list[LeftOut]
    status_url: str


def _number(value: object) -> object:
    """Accept only JSON numbers, 9.0 included (JSON Schema, section 4.2.3); pydantic would turn true and "1" into 1."""
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


class OfferedFile(Schema):
    """A file that the sender has."""

    file_name: str = Field(description="As it would be sent.")
    size_bytes: Annotated[int, BeforeValidator(_number)] = Field(ge=0)


class OfferedFiles(Schema):
    """Files of which some may be in a job already."""

    files: list[OfferedFile] = Field(max_length=MOST_OFFERED)


class ReceivedFile(Schema):
    """One of these files that the job has."""

    index: int = Field(description="Its place among the files of the request, from 0.")
    sha256: str | None = Field(description="Of what was received; null where it was refused, or was a ZIP.")


class ReceivedFiles(Schema):
    """Which of these files a job has, by name and size."""

    received: list[ReceivedFile]


class JobStatus(Schema):
    """Where a job stands."""

    id: uuid.UUID
    name: str
    state: JobState
    source: Source
    priority: Literal["interactive", "bulk"]
    model: str
    created_by: str
    created_at: datetime
    closed_at: datetime | None
    total: int
    expected_images: int | None
    counts: dict[State, int]
    per_second: float | None
    seconds_left: float | None
    status_url: str
    screenings_url: str
    images_url: str
    page_url: str

    @classmethod
    def of(cls, job: Job, progress: Progress) -> Self:
        """Describe a job."""
        return cls(
            id=job.id,
            name=job.name,
            state=progress.state,
            source=job.source,
            priority=_PRIORITY_NAMES[Priority(job.priority)],
            model=job.model_name,
            created_by=job.created_by.name,
            created_at=job.created_at,
            closed_at=job.closed_at,
            total=progress.total,
            expected_images=job.expected_images,
            counts=progress.counts,
            per_second=progress.per_second,
            seconds_left=progress.seconds_left,
            **job_addresses(job),
            page_url=url_for("jobs.show", job_id=job.id),
        )


class JobList(Schema):
    """A page of jobs, newest first."""

    jobs: list[JobStatus]
    next: str | None


class Changed(Schema):
    """What a cancel or a retry did."""

    changed: int = Field(description="Images that changed state.")
    job: JobStatus


class ScreeningList(Schema):
    """A page of one job's images, by position."""

    screenings: list[ScreeningRow]
    next: str | None


class Score(Schema):
    """What the model says of an image that the gate stopped, for who asked all the same; no result."""

    screening: uuid.UUID
    state: Literal["WAITING", "SCORED", "REFUSED"]
    stopped_by: str = Field(description="Code under which the gate stopped the image.")
    label: Label | None
    p_pneumonia: float | None
    threshold: float | None
    model: str | None = Field(description="Name and start of the sha256 of the weights that answered.")
    asked_by: str
    asked_at: datetime
    finished_at: datetime | None
    error: str | None = Field(description="For people: why there is no score, and what to do.")
    error_code: str | None

    @classmethod
    def of(cls, asked: AskedScore) -> Self:
        """Describe a score that was asked for."""
        state: Literal["WAITING", "SCORED", "REFUSED"] = "WAITING" if asked.finished_at is None else "REFUSED"
        return cls(
            screening=asked.screening_id,
            state="SCORED" if asked.label else state,
            stopped_by=asked.stopped_by,
            label=asked.label,
            p_pneumonia=asked.p_pneumonia,
            threshold=asked.threshold,
            model=asked.model,
            asked_by=asked.asked_by.name,
            asked_at=asked.asked_at,
            finished_at=asked.finished_at,
            error=explain(asked.error_code, asked.error_details).text if asked.error_code else None,
            error_code=asked.error_code,
        )


class PredictionList(Schema):
    """A page of images across jobs."""

    predictions: list[PredictionRow]
    next: str | None


class ReviewShown(Schema):
    """What one reader said of an image."""

    id: uuid.UUID
    by: str
    outcome: ReviewOutcome
    finding: Finding | None
    note: str | None
    blind: bool = Field(description="Prediction and others' reviews were hidden from the reader until this review.")
    counts: bool = Field(description="It is its reader's newest and was not withdrawn.")
    screening: uuid.UUID | None = Field(description="Where it was read; null once that job was deleted.")
    model: str | None = Field(description="The model whose prediction this was said of.")
    label: Label | None
    p_pneumonia: float | None
    threshold: float | None
    created_at: datetime

    @classmethod
    def of(cls, review: Review, *, counts: bool) -> Self:
        """Describe a review."""
        return cls(
            id=review.id,
            by=review.user.name,
            outcome=review.outcome,
            finding=review.finding,
            note=review.note,
            blind=review.is_blind,
            counts=counts,
            screening=review.screening_id,
            model=version_of(review.model_name, review.model_version or "") if review.model_name else None,
            label=review.label,
            p_pneumonia=review.p_pneumonia,
            threshold=review.threshold,
            created_at=review.created_at,
        )


class ReviewList(Schema):
    """Every review of an image, oldest first, and what those that count amount to."""

    state: ReviewState
    hidden: bool = Field(description="They are kept back until your own review is in.")
    reviews: list[ReviewShown]


class SamePatientImage(Schema):
    """Another image of the same patient."""

    when: When = Field(description="How its day lies beside that of the image that was asked for.")
    taken_on: date | None = Field(description="The day that its header gives; null where it gives none.")
    screening: ScreeningRow


class SamePatient(Schema):
    """Other images of the patient of one; who that is stays unsaid."""

    is_known: bool = Field(description="The header says whose image it is.")
    taken_on: date | None = Field(description="The day that the header of the image that was asked for gives.")
    others: list[SamePatientImage] = Field(description="At most 100, the nearest in time, newest first.")


class AuditRow(Schema):
    """Who did what to what: a row of the audit trail. Its hash is made of all else, as docs/operations.md says.

    Of a row that was edited so that it cannot be read, the action says so, and the rest is null.
    """

    sequence: int | None = Field(None, description="Counts from 1 without a gap.")
    id: uuid.UUID | None = None
    created_at: str = Field(json_schema_extra={"format": "date-time"}, description="In UTC, as it is hashed.")
    user_id: uuid.UUID | None = None
    actor: str | None = Field(None, description="Name of the account, or os:NAME for the command line.")
    action: str
    subject: str | None = Field(None, description="Id of what was acted on.")
    address: str | None = None
    detail: dict[str, str] | None = None
    previous_hash: str | None = None
    hash: str | None = None

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """Describe a row of the trail."""
        values = row_values(event)
        number = values.pop("sequence", None)
        return cls(**values, sequence=number if isinstance(number, int) else None)


class AuditList(Schema):
    """A page of the audit trail, newest first."""

    events: list[AuditRow]
    next: str | None


class ModelRow(Schema):
    """A model that is known here."""

    name: str
    version: str | None = Field(description="Name and start of the identity of what answers; null without its folder.")
    threshold: float | None = Field(description="In force, 0 to 1: at or above it an image is labelled PNEUMONIA.")
    own_threshold: float | None = Field(description="The one that the model's folder brings.")
    threshold_before: float | None = Field(description="The one that goes back into force by a step back.")
    is_default: bool = Field(description="New jobs get it unless they name another.")
    is_shadow: bool = Field(description="It answers beside the default one, to be compared.")
    has_weights: bool
    workers: int | None = Field(description="How many serve it now; null where that is not known.")

    @classmethod
    def of(cls, model: Known) -> Self:
        """Describe a model."""
        return cls(
            name=model.name,
            version=model.spec.version if model.spec else None,
            threshold=model.spec.threshold if model.spec else None,
            own_threshold=model.own.threshold if model.own else None,
            threshold_before=model.history.before if model.history else None,
            is_default=model.is_default,
            is_shadow=model.is_shadow,
            has_weights=model.has_weights,
            workers=model.workers,
        )


class ModelList(Schema):
    """Every model that is known here, the default one first."""

    models: list[ModelRow]


class ThresholdTried(Schema):
    """What a threshold would have flagged, counted from the probabilities that images were given."""

    threshold: float
    present: float = Field(description="The threshold in force.")
    days: int = Field(description="How far back it is counted.")
    images: int = Field(description="Results of that time that this model gave, at whatever threshold.")
    flagged: int
    flagged_at_present: int


class Me(Schema):
    """The account that asks."""

    name: str
    """What the person signs in with."""
    display_name: str | None
    """How the person's name is written, in any script."""
    email: str | None
    role: Role


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Schema):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: ProblemCode = Field(description="For programs; docs/http.md lists them.")
    errors: list[FieldProblem] | None = None
    retry_after: int | None = Field(None, description="Seconds after which it is worth sending again.")


def job_addresses(job: Job) -> dict[str, str]:
    """Return the URLs of a job and its parts."""
    return {
        "status_url": url_for("api.show_job", job_id=job.id),
        "screenings_url": url_for("api.list_screenings", job_id=job.id),
        "images_url": url_for("api.add_images", job_id=job.id),
    }


def rejected(receipt: Receipt) -> list[Rejected]:
    """Describe the files that were refused."""
    return [
        Rejected(file_name=item.file_name, error_code=reason.code, message=explain(reason.code, reason.details).text)
        for item in receipt.received
        if (reason := item.rejection)
    ]


def left_out(counts: Mapping[str, int]) -> list[LeftOut]:
    """Describe the files that were skipped, by reason."""
    return [LeftOut(files=files, reason=reason) for reason, files in sorted(counts.items())]
