"""Race two processes that claim at the same moment, repeatedly, on the database of a working stack."""

import hashlib
import multiprocessing
import uuid
from collections import Counter
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Final

from sqlalchemy import select

from chaos.errors import ChaosFailed
from shared.db import Database, new_id
from shared.errors import ImageRejected
from shared.intake.accept import AcceptedImage, Received
from shared.queue import jobs, leases
from shared.refusals import Rejection
from shared.tables import Priority, Source, User

MODEL: Final = "chaos-claims"
"""No worker serves this model, so only the two claimants claim its images."""
SECONDS: Final = 300.0


@dataclass(frozen=True)
class Claims:
    """The claims of both processes."""

    images: int
    twice: int
    never: int


def claim_at_once(database: Database, rounds: int) -> Claims:
    """Queue two images a round, let two processes claim one each at the same moment, and count the claims."""
    _submit(database, 2 * rounds)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.SimpleQueue()
    url = database.engine.url.render_as_string(hide_password=False)
    claimants = [context.Process(target=_claim, args=(url, rounds, barrier, results)) for _ in range(2)]
    for claimant in claimants:
        claimant.start()
    got = [image for _ in claimants for image in results.get()]
    for claimant in claimants:
        claimant.join(SECONDS)
        if claimant.exitcode != 0:
            raise ChaosFailed(f"A claimant ended with status {claimant.exitcode}.")
    times = Counter(got)
    return Claims(2 * rounds, sum(count > 1 for count in times.values()), 2 * rounds - len(times))


def _submit(database: Database, count: int) -> None:
    names = [f"claim-{new_id()}-{number}" for number in range(count)]
    images = [AcceptedImage(hashlib.sha256(name.encode()).hexdigest(), 1, 64, 64, "image/png") for name in names]
    received = [Received(name, image=image) for name, image in zip(names, images, strict=True)]
    with database.write() as session:
        user = session.scalars(select(User).limit(1)).one()
        job = jobs.open_job(
            session,
            user_id=user.id,
            name="two workers claim at once",
            source=Source.API,
            model_name=MODEL,
            priority=Priority.BULK,
        )
        jobs.add_images(session, job.id, received, None)
        jobs.close_job(session, job.id)


def _claim(url: str, rounds: int, barrier: Barrier, results: "SimpleQueue[list[uuid.UUID]]") -> None:
    """Claim one image a round; a barrier releases both claimants together."""
    database, got = Database(url), []
    model_id = new_id()
    for _ in range(rounds):
        barrier.wait(SECONDS)
        with database.write() as session:
            lease = leases.claim(
                session, model_id=model_id, model_name=MODEL, limit=1, worker="chaos", lease_seconds=SECONDS
            )
        if lease is not None:
            got += [image.screening_id for image in lease.screenings]
            _reject(database, lease)
    database.close()
    results.put(got)


def _reject(database: Database, lease: leases.Claim) -> None:
    """Reject the images at once, so that no lease expires and none is rightly claimed a second time."""
    refusal = ImageRejected(Rejection.NOT_A_RADIOGRAPH)
    outcomes = [leases.Outcome(image, rejection=refusal) for image in lease.screenings]
    with database.write() as session:
        leases.finish(session, lease, outcomes, model_id=new_id(), threshold=0.5, worker="chaos")
