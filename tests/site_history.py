"""Weeks of work at a site, written as rows: what was sent, answered and reviewed when."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from shared.accounts.users import add_user
from shared.db import first_id, now
from shared.models.calibrations import calibration_of, with_calibration
from shared.models.spec import Label, ModelSpec
from shared.models.spec import Site as CalibrationSite
from shared.queue.leases import register_model
from shared.states import State
from shared.tables import (
    Finding,
    Image,
    Job,
    Prediction,
    Priority,
    Review,
    ReviewOutcome,
    Role,
    Screening,
    Source,
    User,
)


def recalibrated(spec: ModelSpec) -> ModelSpec:
    """Return the spec as a site has calibrated it anew."""
    site = CalibrationSite(folder="x", images={Label.NORMAL: 30, Label.PNEUMONIA: 30}, fitted_at=now())
    fitted = calibration_of(spec).model_copy(update={"temperature": 4.0, "bias": 2.0, "site": site})
    return with_calibration(spec, fitted, (calibration_of(spec),))


@dataclass
class History:
    """Write rows of the past, each with ids of its time."""

    session: Session
    spec: ModelSpec
    made: int = 0
    people: dict[str, User] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Register the model."""
        self.model_id = register_model(self.session, self.spec)

    def person(self, name: str, role: Role = Role.READER) -> User:
        if name not in self.people:
            self.people[name] = add_user(self.session, name, role)
        return self.people[name]

    def make_id(self, at: datetime) -> uuid.UUID:
        """An id of this time that no other has."""
        self.made += 1
        return uuid.UUID(int=first_id(at).int + (7 << 76) + (0b10 << 62) + self.made)

    def job(self, at: datetime, model_name: str | None = None) -> Job:
        job = Job(
            id=self.make_id(at),
            name="A job",
            created_by_id=self.person("sender", Role.TECHNICIAN).id,
            source=Source.WEB,
            priority=Priority.BULK,
            model_name=model_name or self.spec.name,
            created_at=at,
            closed_at=at,
        )
        self.session.add(job)
        return job

    def screen(
        self,
        job: Job,
        at: datetime,
        p: float,
        seconds: float | None = 1.0,
        sha256: str | None = None,
        *,
        exposure: tuple[int, int] | None = None,
    ) -> Screening:
        """Send an image and have it answered after so many seconds; None for what was answered before.

        `exposure` is its brightness and contrast; none are known where it is left out.
        """
        brightness, contrast = exposure or (None, None)
        threshold = self.spec.threshold
        label = Label.PNEUMONIA if p >= threshold else Label.NORMAL
        image = Image(
            id=self.make_id(at),
            sha256=sha256 or f"{self.made:064x}",
            size_bytes=1,
            width=64,
            height=64,
            media_type="image/png",
            created_at=at,
        )
        prediction = Prediction(
            id=self.make_id(at),
            image_id=image.id,
            model_id=self.model_id,
            label=label,
            confidence=max(p, 1 - p),
            p_pneumonia=p,
            probabilities={"normal": 1 - p, "pneumonia": p},
            threshold=threshold,
            brightness=brightness,
            contrast=contrast,
            worker="w1",
            created_at=at,
        )
        screening = self._screening(job, at, State.DONE)
        screening.image_id, screening.prediction_id, screening.model_id = image.id, prediction.id, self.model_id
        screening.label, screening.p_pneumonia = label, p
        screening.started_at = None if seconds is None else at
        screening.finished_at = at + timedelta(seconds=seconds or 0)
        for row in (image, prediction, screening):
            self.session.add(row)
            self.session.flush()
        return screening

    def send_again(self, job: Job, at: datetime, known: Screening) -> Screening:
        """Send an image that was answered before."""
        screening = self._screening(job, at, State.DONE)
        for name in ("image_id", "prediction_id", "model_id", "label", "p_pneumonia"):
            setattr(screening, name, getattr(known, name))
        screening.finished_at = at
        self.session.add(screening)
        self.session.flush()
        return screening

    def refuse(self, job: Job, at: datetime, code: str, state: State = State.REJECTED) -> None:
        """Send a file that gets no label."""
        screening = self._screening(job, at, state)
        screening.error_code, screening.error_details = code, {}
        self.session.add(screening)
        self.session.flush()

    def _screening(self, job: Job, at: datetime, state: State) -> Screening:
        job.next_position = (job.next_position or 0) + 1
        return Screening(
            id=self.make_id(at),
            job_id=job.id,
            position=job.next_position,
            file_name=f"image {job.next_position}.png",
            state=state,
            priority=Priority.BULK,
            turn=job.next_position,
            created_at=at,
            created_by_id=job.created_by_id,
        )

    def review(
        self,
        screening: Screening,
        at: datetime,
        outcome: ReviewOutcome,
        finding: Finding | None = None,
        *,
        by: str = "rita",
        number: int = 1,
        is_blind: bool = False,
    ) -> None:
        """Have a reader say something of an image."""
        image = self.session.get_one(Image, screening.image_id)
        self.session.add(
            Review(
                id=self.make_id(at),
                image_sha256=image.sha256,
                number=number,
                screening_id=screening.id,
                user_id=self.person(by).id,
                outcome=outcome,
                finding=finding,
                is_blind=is_blind,
                model_name=self.spec.name,
                model_version=self.spec.identity,
                label=screening.label,
                p_pneumonia=screening.p_pneumonia,
                threshold=self.spec.threshold,
                created_at=at,
            )
        )
        self.session.flush()

    def review_truthfully(
        self, screenings: Sequence[Screening], at: datetime, is_ill: Sequence[bool], by: str = "rita"
    ) -> None:
        """Have a reader say of each image what it shows."""
        for screening, ill in zip(screenings, is_ill, strict=True):
            if (screening.label is Label.PNEUMONIA) is ill:
                self.review(screening, at, ReviewOutcome.AGREE, by=by)
            else:
                finding = Finding.BACTERIAL if ill else Finding.NORMAL
                self.review(screening, at, ReviewOutcome.OVERRULE, finding, by=by)
