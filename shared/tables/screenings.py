"""The work and its result: screenings, and models' predictions of their images."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    literal,
    or_,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, UtcDateTime, new_id, now
from shared.models.spec import ImageClass, Label
from shared.refusals import OF_THE_GATE, Details
from shared.states import State
from shared.tables.definitions import by_value, partial_index
from shared.tables.images import Image
from shared.tables.jobs import Job
from shared.tables.models import Model
from shared.tables.reviews import ReviewState


class Prediction(Base):
    """One model's prediction of one image. Append-only."""

    __tablename__ = "predictions"
    __table_args__ = (UniqueConstraint("image_id", "model_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    label: Mapped[Label] = mapped_column(by_value(Label))
    cause: Mapped[ImageClass | None] = mapped_column(by_value(ImageClass))
    confidence: Mapped[float]
    p_pneumonia: Mapped[float]
    probabilities: Mapped[dict[str, float]] = mapped_column(JSON)
    threshold: Mapped[float]
    """The threshold in force when the label was given."""
    heat_map: Mapped[bytes | None]
    """A grey PNG of about 100 bytes by shared.models.heatmap; None from a model that makes no heat map."""
    brightness: Mapped[int | None] = mapped_column(SmallInteger)
    """Of the image as the model saw it, 0 to 255, by shared.images.exposure; None where it was not stored."""
    contrast: Mapped[int | None] = mapped_column(SmallInteger)
    worker: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    model: Mapped[Model] = relationship()


_QUEUED = text("state = 'QUEUED'")


_RUNNING = text("state = 'RUNNING'")


_ENDED_WITHOUT = text("state = 'REJECTED' OR state = 'FAILED' OR state = 'CANCELLED'")


_LABELLED = text("label IS NOT NULL")


_OF_THE_GATE = "error_code IN ({})".format(", ".join(f"'{code}'" for code in sorted(OF_THE_GATE)))


_HAS_PREDICTION = text("prediction_id IS NOT NULL")


class Screening(Base):
    """One image of one job: the unit of work, and its state."""

    __tablename__ = "screenings"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        # Images are in many jobs; with the flag, those to clear are found without reading the others.
        Index(None, "image_id", "is_latest"),
        partial_index("ix_screenings_prediction_id", "prediction_id", where=_HAS_PREDICTION),
        # The claim reads these in order and stops at its limit; the last is for lists.
        partial_index("ix_screenings_waiting", "priority", "turn", "id", "created_by_id", where=_QUEUED),
        partial_index("ix_screenings_leases", "lease_until", where=_RUNNING),
        # A job's images of one state by position, with all that its page counts every second, without reading the rows.
        Index("ix_screenings_progress", "job_id", "state", "position", "started_at", "finished_at"),
        # Lists (`web.lists`): each index ends in the order of a list, so that a page is read without sorting. Columns
        # after the order are read from the index alone.
        Index("ix_screenings_sent", "created_by_id", "id"),
        partial_index(
            "ix_screenings_answers", "label", "model_id", "id", "created_by_id", "p_pneumonia", where=_LABELLED
        ),
        partial_index(
            "ix_screenings_suspicion", "label", "p_pneumonia", "id", "created_by_id", "model_id", where=_LABELLED
        ),
        partial_index("ix_screenings_job_suspicion", "job_id", "label", "p_pneumonia", "id", where=_LABELLED),
        # The worklist: each review state by suspicion, the latest screening of each image. Conditions are written as
        # each database's queries write them, or it would not see that the index covers the query.
        Index(
            "ix_screenings_worklist",
            *("review_state", "p_pneumonia", "id", "label", "created_by_id", "model_id"),
            sqlite_where=text("is_latest = 1 AND label IS NOT NULL"),
            postgresql_where=text("is_latest AND label IS NOT NULL"),
        ),
        partial_index("ix_screenings_unanswered", "state", "id", "created_by_id", where=_ENDED_WITHOUT),
        # Also for the worklist: what the gate refused, newest first. Its first two columns have one value each; without
        # them SQLite prefers the index of all refusals, which names more columns of the condition.
        Index(
            "ix_screenings_outside",
            *("state", "is_latest", "id"),
            sqlite_where=text(f"state = 'REJECTED' AND is_latest = 1 AND {_OF_THE_GATE}"),
            postgresql_where=text(f"state = 'REJECTED' AND is_latest AND {_OF_THE_GATE}"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    image_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("images.id"))
    """Missing where the file was refused at intake and so never stored."""
    prediction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("predictions.id"))
    position: Mapped[int]
    file_name: Mapped[str] = mapped_column(String(512))
    state: Mapped[State] = mapped_column(by_value(State))
    priority: Mapped[int] = mapped_column(SmallInteger)
    turn: Mapped[int] = mapped_column(BigInteger)
    """Virtual time of fair queueing: jobs of one priority take turns image by image."""
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    """How often a worker was lost while it held this image."""
    lease_token: Mapped[uuid.UUID | None]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    worker: Mapped[str | None] = mapped_column(String(128))
    error_code: Mapped[str | None] = mapped_column(String(32))
    error_details: Mapped[Details | None] = mapped_column(JSON(none_as_null=True))
    """The parameters of `error_code`; `shared.refusals.explain` makes the words."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    # Copies of columns of the job, and of the prediction once there is one, because an index cannot span a join.
    created_by_id: Mapped[uuid.UUID | None]
    model_id: Mapped[uuid.UUID | None]
    label: Mapped[Label | None] = mapped_column(by_value(Label))
    p_pneumonia: Mapped[float | None]

    is_latest: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Of the image's screenings by its model, the one that lists show; `shared.reviews.latest` keeps it up to date."""
    review_state: Mapped[ReviewState] = mapped_column(
        by_value(ReviewState), default=ReviewState.UNREAD, server_default=ReviewState.UNREAD.value
    )
    """State of the image's reviews, the same in all its screenings; `shared.reviews` keeps it up to date."""

    job: Mapped[Job] = relationship()
    image: Mapped[Image | None] = relationship()
    prediction: Mapped[Prediction | None] = relationship()


def prediction_copies() -> dict[str, Any]:
    """Return a screening's copies of its prediction: columns of `screenings`, and where their values come from."""
    return {
        "prediction_id": Prediction.id,
        "model_id": Prediction.model_id,
        "label": Prediction.label,
        "p_pneumonia": Prediction.p_pneumonia,
    }


def in_states(states: Iterable[State], screening: Any = Screening) -> ColumnElement[bool]:
    """Match screenings in any of these states, written as literals: a bound value hides a partial index from SQLite."""
    return or_(*[screening.state == literal(state, Screening.state.type, literal_execute=True) for state in states])
