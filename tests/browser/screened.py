"""Jobs of images that are screened already, on pages that run without workers."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from sqlalchemy import select

from shared.accounts.users import find_user
from shared.intake.accept import AcceptedImage, Received
from shared.models.folder import read_spec
from shared.models.spec import ImageClass, Label, ModelPrediction
from shared.queue import jobs, leases
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import Priority, Screening, Source
from tests.browser.conftest import Server
from tests.conftest import DEFAULT_MODEL, draw, encode

PNEUMONIA = ModelPrediction(
    Label.PNEUMONIA, ImageClass.VIRAL, 0.934, 0.934, {"normal": 0.066, "bacterial": 0.234, "viral": 0.7}
)
NORMAL = ModelPrediction(Label.NORMAL, None, 0.981, 0.019, {"normal": 0.981, "bacterial": 0.012, "viral": 0.007})


@dataclass(frozen=True)
class ScreenedJob:
    """A job, and the addresses of its images' pages in their order."""

    id: uuid.UUID
    addresses: list[str]


def store_of(server: Server) -> FolderStore:
    return FolderStore(Path(server.database.engine.url.database or "").parent / "store")


def keep(server: Server, seed: int, size: tuple[int, int] = (256, 224)) -> AcceptedImage:
    """Store an image that is drawn from a seed, with its thumbnail."""
    picture: Image.Image = draw(seed, size)
    return keep_file(server, encode(picture), picture.size, has_thumbnail=True)


def keep_file(
    server: Server, data: bytes, size: tuple[int, int], media_type: str = "image/jpeg", *, has_thumbnail: bool = False
) -> AcceptedImage:
    """Store the bytes of an image."""
    store = store_of(server)
    with store.receive() as incoming:
        incoming.write(data)
        key = store.keep(incoming)
    if has_thumbnail:
        store.put_derived(key, THUMBNAIL, data)
    return AcceptedImage(key, len(data), *size, media_type)


def screen(
    server: Server,
    sender: str,
    received: Sequence[Received],
    answers: Sequence[ModelPrediction | None],
    *,
    name: str = "a ward",
    heat_maps: Mapping[str, bytes] | None = None,
) -> ScreenedJob:
    """Submit files as one job of an account and answer its images; one whose answer is None waits on.

    Heat maps are given by the sha256 of their image. An image that was answered in a job before keeps that answer.
    """
    spec, worker = read_spec(server.models / DEFAULT_MODEL), "host:1"
    with server.database.write() as session:
        user = find_user(session, sender)
        assert user is not None
        job = jobs.open_job(
            session, user_id=user.id, name=name, source=Source.WEB, model_name=spec.name, priority=Priority.INTERACTIVE
        )
        jobs.add_images(session, job.id, list(received), spec)
        if None not in answers:
            jobs.close_job(session, job.id)
        ids = session.scalars(select(Screening.id).where(Screening.job_id == job.id).order_by(Screening.position)).all()
        given = dict(zip(ids, answers, strict=False))  # what was refused has no answer
        model_id = leases.register_model(session, spec)
        claim = leases.claim(
            session, model_id=model_id, model_name=spec.name, limit=1000, worker=worker, lease_seconds=600
        )
        if claim is not None:
            outcomes = [
                leases.Outcome(image, answer, heat_map=(heat_maps or {}).get(image.sha256))
                for image in claim.screenings
                if (answer := given.get(image.screening_id)) is not None
            ]
            leases.finish(session, claim, outcomes, model_id=model_id, threshold=spec.threshold, worker=worker)
            leases.release(session, claim)
    return ScreenedJob(job.id, [f"{server.url}/screenings/{key}" for key in ids])
