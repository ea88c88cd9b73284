"""An installation without its processes, for the tests of deletion, purge and backup."""

import os
import uuid
from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from sqlalchemy import select, update

from shared.db import Database, now
from shared.idempotency import IdempotencyKey
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import ModelSpec
from shared.queue import jobs, leases, retention
from shared.queue.removed import Removed
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import Image, Job, Priority, Screening, Source, User

LONG_AGO = timedelta(days=100)
LIMIT = timedelta(days=90)


class Installation:
    """An installation without its processes: images come in, are screened, and get old."""

    def __init__(self, database: Database, store: FolderStore, spec: ModelSpec, user: User) -> None:
        self.database, self.store, self.spec, self.user = database, store, spec, user
        with database.write() as session:
            self.model_id = leases.register_model(session, spec)

    def keep(self, data: bytes) -> Received:
        with self.store.receive() as incoming:
            incoming.write(data)
            key = self.store.keep(incoming)
        return Received("image.jpeg", image=AcceptedImage(key, len(data), 256, 224, "image/jpeg"))

    def submit(self, *images: bytes) -> uuid.UUID:
        return self.add([self.keep(data) for data in images])

    def add(self, received: Sequence[Received]) -> uuid.UUID:
        with self.database.write() as session:
            job = jobs.open_job(
                session, user_id=self.user.id, name="a job", source=Source.API, model_name=self.spec.name,
                priority=Priority.BULK,
            )  # fmt: skip
            jobs.add_images(session, job.id, received, self.spec, IdempotencyKey("a key"))
            jobs.close_job(session, job.id)
            return job.id

    def claim(self) -> leases.Claim | None:
        with self.database.write() as session:
            return leases.claim(
                session, model_id=self.model_id, model_name=self.spec.name, limit=100, worker="w", lease_seconds=60.0
            )

    def finish(self, claim: leases.Claim) -> int:
        """Answer every image of a claim, as a worker does."""
        predictions = self.spec.judge(self.spec.calibrate(np.tile([0.0, 1.0, 2.0], (len(claim.screenings), 1))))
        for image in claim.screenings:
            self.store.put_derived(image.sha256, THUMBNAIL, b"small")
        outcomes = [leases.Outcome(f, prediction=v) for f, v in zip(claim.screenings, predictions, strict=True)]
        with self.database.write() as session:
            return leases.finish(
                session, claim, outcomes, model_id=self.model_id, threshold=self.spec.threshold, worker="w"
            )

    def work(self) -> None:
        while claim := self.claim():
            self.finish(claim)

    def grow_old(self, *job_ids: uuid.UUID) -> None:
        """Set back the ends of jobs, and the age of every file that is there."""
        then = now() - LONG_AGO
        with self.database.write() as session:
            session.execute(update(Job).where(Job.id.in_(job_ids)).values(closed_at=then))
            ended = update(Screening).where(Screening.job_id.in_(job_ids), Screening.finished_at.is_not(None))
            session.execute(ended.values(finished_at=then))
        self.files_grow_old()

    def files_grow_old(self) -> None:
        then = (now() - LONG_AGO).timestamp()
        for path in self.store.root.rglob("*"):
            if path.is_file():
                os.utime(path, (then, then))

    def delete(self, job_id: uuid.UUID) -> Removed:
        return retention.delete_job(self.database, job_id, lambda _session: None)

    def survey(self) -> Removed:
        return retention.survey(self.database, self.store, now() - LIMIT)

    def purge(self) -> Removed:
        return sum(retention.purge(self.database, self.store, now() - LIMIT), Removed())

    def count(self, table: type) -> int:
        with self.database.read() as session:
            return len(session.scalars(select(table)).all())

    def keys(self) -> set[str]:
        return {image.key for image in self.store.images()}

    def named(self) -> set[str]:
        with self.database.read() as session:
            return set(session.scalars(select(Image.sha256)))
