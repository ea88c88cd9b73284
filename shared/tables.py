"""The tables. `screenings` is the work, `predictions` the result, and rows are the truth: Redis only carries hints."""

import uuid
from collections.abc import Iterable
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Enum,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    Text,
    TextClause,
    UniqueConstraint,
    false,
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


class Role(StrEnum):
    """What an account may do: technicians upload and see their own jobs, readers see all, admins govern."""

    TECHNICIAN = "technician"
    READER = "reader"
    ADMIN = "admin"


class Scope(StrEnum):
    """What an API token may be used for; it never gives more than its account's role."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"


class Source(StrEnum):
    """Where a job came from."""

    WEB = "web"
    API = "api"
    CLI = "cli"
    SAMPLES = "samples"
    DICOM = "dicom"
    FOLDER = "folder"
    SCHEDULE = "schedule"


class Priority(IntEnum):
    """Who goes first: someone waits for an interactive job."""

    INTERACTIVE = 0
    BULK = 1


class ReviewOutcome(StrEnum):
    """What a reader says of an image; `withdrawn` takes back what the same reader said before."""

    AGREE = "agree"
    OVERRULE = "overrule"
    INADEQUATE = "inadequate"
    SECOND_READER = "second_reader"
    WITHDRAWN = "withdrawn"


class Finding(StrEnum):
    """What a reader who overrules the model found in its place."""

    NORMAL = "normal"
    BACTERIAL = "bacterial"
    VIRAL = "viral"
    UNCLEAR = "unclear"
    OTHER = "other"


class ReviewState(StrEnum):
    """What the standing reviews of an image amount to; `shared.reviews.standing` says how."""

    UNREAD = "unread"
    READ = "read"
    DISAGREED = "disagreed"
    SECOND_READER = "second_reader"
    INADEQUATE = "inadequate"


class MessageEvent(StrEnum):
    """What a message tells of."""

    JOB_FINISHED = "job.finished"
    IMAGE_FLAGGED = "image.flagged"
    TEST = "test"


class MessageState(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    GATHERED = "gathered"
    """The e-mail of another message tells of it, see `shared.messages.digests`; what became of it stands there."""


class ActivationKind(StrEnum):
    """What an administrator puts in force."""

    DEFAULT_MODEL = "default_model"
    THRESHOLD = "threshold"
    SHADOW_MODEL = "shadow_model"


def _by_value(kind: type[StrEnum], length: int = 16) -> Enum:
    return Enum(kind, native_enum=False, length=length, values_callable=lambda members: [m.value for m in members])


def _partial(name: str, *columns: str, where: TextClause) -> Index:
    """Index some rows only: what is not in it costs nothing to write."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


class User(Base):
    """A person's account."""

    __tablename__ = "users"
    __table_args__ = (
        # Asked for with every micro-batch. Conditions are written as queries of each database write them.
        Index(
            "ix_users_emails_image_flagged",
            "id",
            sqlite_where=text("emails_image_flagged = 1"),
            postgresql_where=text("emails_image_flagged"),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """What the person signs in with."""
    display_name: Mapped[str | None] = mapped_column(String(128))
    """How the person's name is written, in any script."""
    email: Mapped[str | None] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(_by_value(Role))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_sign_in_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    time_zone: Mapped[str | None] = mapped_column(String(64))
    """An IANA name, in which days and times are read and shown; None for that of the browser."""
    language: Mapped[str | None] = mapped_column(String(16))
    """The code of the language of the pages, see `web.languages`; None for that of the browser."""
    emails_job_finished: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The person wants an e-mail when a job of theirs has finished."""
    emails_image_flagged: Mapped[bool] = mapped_column(default=False, server_default=false())
    """The person wants one when an image is flagged, and may see it: readers and admins."""
    emailed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the mail server last took an e-mail about jobs to the account, or refused it for good."""
    has_shortcuts: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Whether single keys do something on pages (WCAG 2.1.4 wants them to be turned off where they disturb)."""

    @property
    def shown_name(self) -> str:
        """Return the name to show: as the person writes it, else the login name."""
        return self.display_name or self.name


class Identity(Base):
    """A person as an identity provider knows them, and the account that this opens; never found by name or e-mail."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("issuer", "subject"), UniqueConstraint("user_id", "issuer"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    issuer: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255))
    """At most 255 characters (OpenID Connect Core 1.0, section 2)."""
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class SavedView(Base):
    """Filters of the worklist that an account keeps under a name."""

    __tablename__ = "saved_views"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    arguments: Mapped[dict[str, str]] = mapped_column(JSON)
    """As an address holds them (`web.lists.filters`)."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class SignInLink(Base):
    """A one-time link that signs its user in; only its hash is kept."""

    __tablename__ = "sign_in_links"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BrowserSession(Base):
    """A browser that is signed in; ending the session deletes its row."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "user_id"), Index(None, "expires_at"))

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    address: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class SignInFailure(Base):
    """How often sign-in was refused for one account, browser or address, kept while it slows down the next attempt."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index(None, "latest_at"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A keyed hash: people type passwords into the field for the name."""
    failures: Mapped[int]
    since: Mapped[datetime] = mapped_column(UtcDateTime)
    latest_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ApiToken(Base):
    """A key to the API; shown once, kept as a hash."""

    __tablename__ = "api_tokens"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(64))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    scope: Mapped[str] = mapped_column(String(64))
    """Its scopes with spaces between them, as RFC 6749, section 3.3, writes them."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_on: Mapped[date | None]

    user: Mapped[User] = relationship()

    @property
    def scopes(self) -> frozenset[Scope]:
        """Return what it may be used for."""
        return frozenset(map(Scope, self.scope.split()))


class Image(Base):
    """One distinct image, by content."""

    __tablename__ = "images"
    __table_args__ = (_partial("ix_images_patient", "patient", where=text("patient IS NOT NULL")),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int]
    height: Mapped[int]
    media_type: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    patient: Mapped[str | None] = mapped_column(String(64))
    """Whose it is, by a pseudonym of `shared.intake.pseudonyms`; it is compared and never given out."""
    taken_on: Mapped[date | None]
    """The day of the X-ray by its header; only where the patient is known."""


class Tombstone(Base):
    """An image whose row has gone and whose files are to follow; `shared.queue.retention` removes both."""

    __tablename__ = "tombstones"
    __table_args__ = (Index(None, "due_at"),)

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When no upload that kept the same image can still be under way."""


class Model(Base):
    """One exact set of weights, with its calibration, that has screened here."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name", "sha256"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    """`ModelSpec.identity`."""
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    """With the temperature and bias behind its predictions, so that they can be calibrated and labelled anew."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Activation(Base):
    """What an administrator put in force. Append-only; the newest of its kind counts (`shared.activations`)."""

    __tablename__ = "activations"
    __table_args__ = (Index(None, "kind", "model_name", "number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    number: Mapped[int] = mapped_column(unique=True)
    """Counts from 1: their order, whatever the clocks of several servers say."""
    kind: Mapped[ActivationKind] = mapped_column(_by_value(ActivationKind))
    model_name: Mapped[str | None] = mapped_column(String(64))
    """None where no model is a shadow any more."""
    calibration: Mapped[str | None] = mapped_column(String(64))
    """Of a threshold, `ModelSpec.identity` of the model's folder: beside another calibration it is not in force."""
    threshold: Mapped[float | None]
    """None for the one that the model's folder brings."""
    actor: Mapped[str] = mapped_column(String(64))
    """Name of the account, or `os:` and the operating system's user at the command line."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


_UNSEEN: Final = text("ended_at IS NOT NULL AND seen_at IS NULL")


class Job(Base):
    """One upload of one or many images."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("created_by_id", "idempotency_key"),
        Index(None, "created_by_id", "id"),
        # Conditions are written as queries of each database write them.
        Index("ix_jobs_watched", "id", sqlite_where=text("is_watched = 1"), postgresql_where=text("is_watched")),
        Index("ix_jobs_unseen", "created_by_id", "id", sqlite_where=_UNSEEN, postgresql_where=_UNSEEN),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(255))
    created_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    source: Mapped[Source] = mapped_column(_by_value(Source))
    priority: Mapped[int] = mapped_column(SmallInteger)
    model_name: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    """Of the request that came under this key; another one is refused. Missing in rows of before it was kept."""
    expected_images: Mapped[int | None]
    """How many images the sender announced, for a progress bar that knows its end."""
    next_position: Mapped[int] = mapped_column(default=0)
    next_turn: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When its upload ended; until then it takes more images."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a request last brought a part of what is on its way to an open job, to a few seconds."""
    retried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When some of its images were last queued again."""
    is_watched: Mapped[bool] = mapped_column(default=True, server_default=false())
    """Its end is still to be noted, by the sweep (`shared.messages.endings`)."""
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the sweep saw that none of its images waits any more; missing in rows of before it was noted."""
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When who sent it was told of its end on a page, or, where a program sent it, when it ended."""

    created_by: Mapped[User] = relationship()


class Upload(Base):
    """One request that added images to a job, so that the same request sent again adds nothing."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("job_id", "idempotency_key"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    idempotency_key: Mapped[str] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    first_position: Mapped[int | None]
    images: Mapped[int | None]
    """How many it brought, at positions in a row; with them its answer can be given once more."""
    skipped: Mapped[int | None]
    """How many others it brought that the job held already. Missing in rows of before they were left out."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Prediction(Base):
    """What one model said of one image. Append-only."""

    __tablename__ = "predictions"
    __table_args__ = (UniqueConstraint("image_id", "model_id"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    image_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("images.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"))
    label: Mapped[Label] = mapped_column(_by_value(Label))
    cause: Mapped[ImageClass | None] = mapped_column(_by_value(ImageClass))
    confidence: Mapped[float]
    p_pneumonia: Mapped[float]
    probabilities: Mapped[dict[str, float]] = mapped_column(JSON)
    threshold: Mapped[float]
    """The threshold in force when the label was given."""
    heat_map: Mapped[bytes | None]
    """A grey PNG of about 100 bytes, as shared.models.heatmap writes it; none from a model that does not say where."""
    brightness: Mapped[int | None] = mapped_column(SmallInteger)
    """Of the image as the model saw it, 0 to 255, as shared.images.exposure measures it; none where none was kept."""
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
        _partial("ix_screenings_prediction_id", "prediction_id", where=_HAS_PREDICTION),
        # The claim reads these in order and stops at its limit; the last is for lists.
        _partial("ix_screenings_waiting", "priority", "turn", "id", "created_by_id", where=_QUEUED),
        _partial("ix_screenings_leases", "lease_until", where=_RUNNING),
        # A job's images of one state by position, and all that its page counts every second without a look at the rows.
        Index("ix_screenings_progress", "job_id", "state", "position", "started_at", "finished_at"),
        # Lists (`web.lists`): each ends in the order of a list, so that a page is read and not sorted. What follows
        # the order is read in the index alone.
        Index("ix_screenings_sent", "created_by_id", "id"),
        _partial("ix_screenings_answers", "label", "model_id", "id", "created_by_id", "p_pneumonia", where=_LABELLED),
        _partial("ix_screenings_suspicion", "label", "p_pneumonia", "id", "created_by_id", "model_id", where=_LABELLED),
        _partial("ix_screenings_job_suspicion", "job_id", "label", "p_pneumonia", "id", where=_LABELLED),
        # The worklist: each review state by suspicion, of each image its latest screening. Conditions are written as
        # queries of each database write them, or it would not see that the index holds what is asked.
        Index(
            "ix_screenings_worklist",
            *("review_state", "p_pneumonia", "id", "label", "created_by_id", "model_id"),
            sqlite_where=text("is_latest = 1 AND label IS NOT NULL"),
            postgresql_where=text("is_latest AND label IS NOT NULL"),
        ),
        _partial("ix_screenings_unanswered", "state", "id", "created_by_id", where=_ENDED_WITHOUT),
        # Of the worklist, too: what the gate refused, newest first. Its first two columns have one value each; SQLite
        # prefers the index of all that is refused to one that names fewer columns of a condition.
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
    state: Mapped[State] = mapped_column(_by_value(State))
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

    # Copies, because an index cannot reach over a join: of the job, and of the prediction as soon as there is one.
    created_by_id: Mapped[uuid.UUID | None]
    model_id: Mapped[uuid.UUID | None]
    label: Mapped[Label | None] = mapped_column(_by_value(Label))
    p_pneumonia: Mapped[float | None]

    is_latest: Mapped[bool] = mapped_column(default=True, server_default=true())
    """Of the screenings of the image by its model, the one that lists show; `shared.reviews.latest` keeps it."""
    review_state: Mapped[ReviewState] = mapped_column(
        _by_value(ReviewState), default=ReviewState.UNREAD, server_default=ReviewState.UNREAD.value
    )
    """Of the image, the same in all its screenings; `shared.reviews` keeps it."""

    job: Mapped[Job] = relationship()
    image: Mapped[Image | None] = relationship()
    prediction: Mapped[Prediction | None] = relationship()


class AskedScore(Base):
    """A score that a reader asked for although the gate had stopped the image; no prediction, and in no list."""

    __tablename__ = "asked_scores"
    __table_args__ = (_partial("ix_asked_scores_waiting", "model_name", "asked_at", where=text("finished_at IS NULL")),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    screening_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("screenings.id", ondelete="CASCADE"), unique=True)
    model_name: Mapped[str] = mapped_column(String(64))
    asked_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    asked_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stopped_by: Mapped[str] = mapped_column(String(32))
    """Code under which the gate stopped the image."""
    attempts: Mapped[int] = mapped_column(SmallInteger)
    """How often a worker took it."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    model: Mapped[str | None] = mapped_column(String(80))
    """Name and start of the sha256 of what answered."""
    label: Mapped[Label | None] = mapped_column(_by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(32))
    """Why there is no score though it was asked for."""
    error_details: Mapped[Details | None] = mapped_column(JSON(none_as_null=True))

    asked_by: Mapped[User] = relationship()


class ShadowScore(Base):
    """What a shadow model says of an image that another model has answered: to compare, no prediction, in no list."""

    __tablename__ = "shadow_scores"
    __table_args__ = (
        UniqueConstraint("prediction_id", "model_name"),
        _partial("ix_shadow_scores_waiting", "model_name", "id", where=text("finished_at IS NULL")),
        Index(None, "model_name", "prediction_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    prediction_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"))
    """The answer of the model that it is compared with, and so the image."""
    model_name: Mapped[str] = mapped_column(String(64))
    """Of the shadow."""
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    """How often a worker took it."""
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    model_version: Mapped[str | None] = mapped_column(String(64))
    """`ModelSpec.identity` of what answered."""
    label: Mapped[Label | None] = mapped_column(_by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(32))
    """Why there is no score."""


def prediction_copies() -> dict[str, Any]:
    """Name what a screening keeps of its prediction: columns of `screenings`, and where their values come from."""
    return {
        "prediction_id": Prediction.id,
        "model_id": Prediction.model_id,
        "label": Prediction.label,
        "p_pneumonia": Prediction.p_pneumonia,
    }


class Review(Base):
    """What one reader said of one image. Append-only (a trigger refuses changes); each reader's newest row counts."""

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("image_sha256", "number"),
        UniqueConstraint("user_id", "idempotency_key"),
        Index(None, "user_id", "image_sha256"),
        Index(None, "screening_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256", ondelete="CASCADE"))
    number: Mapped[int]
    """Counts the reviews of an image from 1: their order, whatever the clocks of several servers say."""
    screening_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("screenings.id", ondelete="SET NULL"))
    """Where it was read; missing once that job was deleted."""
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    outcome: Mapped[ReviewOutcome] = mapped_column(_by_value(ReviewOutcome))
    finding: Mapped[Finding | None] = mapped_column(_by_value(Finding))
    """Of `overrule` alone."""
    note: Mapped[str | None] = mapped_column(Text)
    is_blind: Mapped[bool]
    """The reader had seen neither the model's prediction nor another's review."""
    model_name: Mapped[str | None] = mapped_column(String(64))
    model_version: Mapped[str | None] = mapped_column(String(64))
    """`ModelSpec.identity`. What the model had said of this screening when it was read; none where it had not."""
    label: Mapped[Label | None] = mapped_column(_by_value(Label))
    p_pneumonia: Mapped[float | None]
    threshold: Mapped[float | None]
    idempotency_key: Mapped[str | None] = mapped_column(String(128))
    request_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    user: Mapped[User] = relationship()


class ImageClaim(Base):
    """Who has an image open, until when unless the page says so again."""

    __tablename__ = "image_claims"
    __table_args__ = (Index(None, "expires_at"),)

    image_sha256: Mapped[str] = mapped_column(ForeignKey("images.sha256", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    user: Mapped[User] = relationship()


class Webhook(Base):
    """An address of another program that is told of events; its secret is made of a key that is not in the database."""

    __tablename__ = "webhooks"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    url: Mapped[str] = mapped_column(String(1024))
    events: Mapped[list[str]] = mapped_column(JSON)
    """Values of `MessageEvent`."""
    salt: Mapped[str] = mapped_column(String(64))
    """What its secret is made of besides the key; another one gives another secret (`shared.messages.webhooks`)."""
    created_by_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Since when nothing is sent there."""
    stopped_for: Mapped[str | None] = mapped_column(String(32))
    """Why: `paused` by a person, or a code of `shared.messages.problems`."""
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last took a message."""
    failures: Mapped[int] = mapped_column(default=0)
    """How often in a row nobody answered there: the attempts of the message that was tried most often meanwhile."""


class Message(Base):
    """What is to be sent to a webhook or, as an e-mail, to a person: the outbox.

    Rows are the truth; whoever holds the lease sends.
    """

    __tablename__ = "messages"
    __table_args__ = (
        CheckConstraint("(webhook_id IS NULL) <> (user_id IS NULL)", name="one_target"),
        Index(None, "user_id", "created_at", "id"),
        Index(None, "webhook_id", "created_at", "id"),
        _partial("ix_messages_due", "webhook_id", "due_at", where=text("state = 'waiting'")),
        _partial("ix_messages_digest_id", "digest_id", where=text("digest_id IS NOT NULL")),
        Index(None, "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    """The same for the same event and target, so that noting it twice is noting it once."""
    webhook_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    event: Mapped[MessageEvent] = mapped_column(_by_value(MessageEvent, 32))
    subject: Mapped[uuid.UUID | None]
    """Id of the job or of the screening, which may be gone by now."""
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Ids and counts; never a name, a picture or a result of one person's image."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    state: Mapped[MessageState] = mapped_column(_by_value(MessageState))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it is to be sent, or sent again; while somebody sends it, when it may be taken for lost."""
    give_up_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    lease_token: Mapped[uuid.UUID | None]
    tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[int | None]
    """The status of the last answer, of HTTP or SMTP; none where there was no answer."""
    problem: Mapped[str | None] = mapped_column(String(32))
    """A code of `shared.messages.problems`."""
    email: Mapped[str | None] = mapped_column(String(254))
    """Where an e-mail was last sent to; the account may have another address by now."""
    digest_id: Mapped[uuid.UUID | None]
    """The message as which the e-mail is sent that tells of this one: its own id, or that of one from before.

    None for a webhook, for a test, and until an e-mail is made of what waits for an account.
    """

    webhook: Mapped[Webhook | None] = relationship()
    user: Mapped[User | None] = relationship()


class AuditEvent(Base):
    """Who did what to what, when and from where. Append-only: triggers refuse every other change."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "actor", "sequence"),
        Index(None, "action", "sequence"),
        Index(None, "subject", "sequence"),
        Index(None, "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    sequence: Mapped[int] = mapped_column(BigInteger, unique=True)
    """Counts from 1 without a gap, in the order of the commits."""
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    actor: Mapped[str | None] = mapped_column(String(64))
    """The account's name at the time, or `os:` and the operating system's user at the command line."""
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str | None] = mapped_column(String(64))
    detail: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    """As `shared.audit.chain.digest` makes it, over all other columns."""


class AuditHead(Base):
    """The newest row of the audit trail: one row, which appends lock and move on, so that a cut end shows."""

    __tablename__ = "audit_heads"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False, default=1)
    sequence: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64))


def in_states(states: Iterable[State], screening: Any = Screening) -> ColumnElement[bool]:
    """Match screenings in any of these states, written as literals: a bound value hides a partial index from SQLite."""
    return or_(*[screening.state == literal(state, Screening.state.type, literal_execute=True) for state in states])
