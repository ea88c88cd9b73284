"""Screen images: claim a micro-batch, decode it, predict, and write the outcomes."""

import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared.activations.in_force import spec_in_force
from shared.db import Database
from shared.errors import ImageRejected, StoreAway, StoreFull
from shared.images.exposure import Exposure, measure
from shared.images.framing import Box
from shared.images.gate import put_right
from shared.images.preprocess import decode, fit, is_small, refuse_unreadable, thumbnail, window
from shared.models import heatmap
from shared.models.spec import ModelSpec
from shared.queue import asked_scores, leases, score_leases, shadow_scores
from shared.queue.leases import Claim, ClaimedScreening, Outcome
from shared.refusals import OF_THE_GATE, Rejection
from shared.settings import Settings
from shared.store.store import THUMBNAIL, Store
from worker.networks.classifier import Answers, Classifier
from worker.screening.batch_size import BatchSize
from worker.screening.reading import FileUnreadable, ImageReader
from worker.screening.scores import Held, Score, Scores

log = logging.getLogger(__name__)

HEARTBEATS_A_LEASE = 4
PICTURES_REST_SECONDS: Final = 60.0
"""After a thumbnail could not be stored, none is tried for this long; pages then draw them on demand."""


@dataclass
class Screened:
    """What became of a micro-batch."""

    outcomes: list[Outcome]
    unreadable: list[ClaimedScreening] = field(default_factory=list)
    """Images whose file cannot be read although the store works: each loses an attempt."""


class Prepared(NamedTuple):
    """An image as the network sees it."""

    pixels: np.ndarray
    """uint8 (size, size, 1)."""
    seen: Box
    """The part of the image that these pixels show."""
    exposure: Exposure


class Serving(NamedTuple):
    """The model that a worker serves, at the threshold in force."""

    spec: ModelSpec
    model_id: uuid.UUID


class Screener:
    """Screen images with the resources of one worker process."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        store: Store,
        classifier: Classifier,
        worker: str,
        *,
        served_models: Callable[[], Collection[str] | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        self._reader = ImageReader(store, database)
        self._pictures_rest_until = 0.0
        self._classifier = classifier
        self._worker = worker
        self._served_models = served_models
        self._batch_size = BatchSize(settings.batch_size)
        with database.write() as session:
            self._serving = self._look_up(session, None)

    @property
    def model(self) -> str:
        """Return the name of the model whose jobs are served."""
        return self._classifier.spec.name

    @property
    def version(self) -> str:
        """Return the model's version: its name, and the start of its identity."""
        return self._serving.spec.version

    def drain(self, seconds: float) -> bool:
        """Screen micro-batches until the queue is empty or the time is up; return whether images may still wait."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if not self.answer_asked() and self.screen_batch() == 0 and not self.answer_shadow():
                return False
        return True

    def answer_asked(self) -> bool:
        """Compute one score that a reader asked for although the gate had refused the image; False where none waits.

        Raises StoreAway where the image store is to blame; the score then waits for the next ticket.
        """
        with self._database.read() as session:
            if not asked_scores.count_waiting(session).get(self.model):
                return False
        return self._find_one(asked_scores, asked_scores.claim, self._score, FileUnreadable)

    def _score(self, held: asked_scores.AskedImage) -> Score:
        """Predict an image regardless of the gate, turned upright where the gate says how."""
        spec = self._serving.spec
        screening = ClaimedScreening(held.screening_id, held.image_id, held.sha256, None)
        try:
            prepared = self._prepare(screening, OF_THE_GATE, held.refusal)
        except ImageRejected as refusal:
            return None, refusal
        answers = self._classifier.answer(prepared.pixels[np.newaxis])
        (prediction,) = spec.judge(spec.calibrate(answers.logits))
        return prediction, None

    def answer_shadow(self) -> bool:
        """Compute one score as the shadow model, where no other work waits; False where none is due.

        A failure counts as an attempt of the score and affects no screening. Raises StoreAway where the image store is
        to blame; the score then waits for the next ticket.
        """
        with self._database.read() as session:
            if shadow_scores.find_waiting(session) != self.model:
                return False
        # Outside the write transaction, which must not wait for Redis.
        claim = partial(shadow_scores.claim, served=self._served_models())
        return self._find_one(shadow_scores, claim, self._compare, Exception)

    def _compare(self, held: shadow_scores.ShadowImage) -> Score:
        """Predict an image that another model has answered; this model's gate applies as in a screening."""
        spec = self._serving.spec
        try:
            data = self._reader.read(ClaimedScreening(held.score_id, held.image_id, held.sha256, None))
            image = decode(data, at_least=spec.decoded_side)
            refuse_unreadable(data, image, spec, self._settings.ignored_codes)
            pixels = fit(image, spec, window(image, spec))
        except ImageRejected as refusal:
            return None, refusal
        (prediction,) = spec.judge(spec.calibrate(self._classifier.answer(pixels[np.newaxis]).logits))
        return prediction, None

    def _find_one(
        self,
        scores: Scores[Held],
        claim: Callable[..., Held | None],
        find: Callable[[Held], Score],
        excused: type[Exception],
    ) -> bool:
        """Claim, compute and write one score; False where there was none. Errors in `excused` cost it an attempt."""
        with self._database.write() as session:
            serving = self._look_up(session, self._serving)
            held = claim(
                session, self.model,
                lease_seconds=self._settings.lease_seconds, max_attempts=self._settings.max_attempts,
            )  # fmt: skip
        self._serving = serving
        if held is None:
            return False
        try:
            with self._heartbeat(partial(score_leases.extend, held=held)):
                prediction, refusal = find(held)
        except StoreAway:
            with self._database.write() as session:
                score_leases.release(session, held, counts=False)
            raise
        except excused as error:
            if isinstance(error, FileUnreadable):
                log.warning("The file of image %s cannot be read. %s", held.image_id, error)
            else:
                log.exception("%s did not answer for image %s.", self.model, held.image_id)
            with self._database.write() as session:
                score_leases.release(session, held, counts=True)
            return True
        with self._database.write() as session:
            scores.settle(session, held, self._serving.spec, prediction, refusal)
        return True

    def screen_batch(self) -> int:
        """Screen one micro-batch and return how many images it held.

        A batch that fails as a whole counts as an attempt of each of its images, which are then retried one by one. If
        only one image's file cannot be read, that image loses an attempt and the rest goes on. Raises StoreAway where
        the image store is to blame; its images then wait for the next ticket.
        """
        lease = self._claim()
        if lease is None:
            return 0
        started = time.monotonic()
        try:
            with self._heartbeat(partial(leases.extend, token=lease.token)):
                screened = self._screen(lease.screenings)
        except StoreAway:
            self._database.transact(lambda session: leases.release(session, lease))
            raise
        except Exception:
            log.exception("A micro-batch of %d images failed; each is tried again alone.", len(lease.screenings))
            self._database.transact(lambda session: leases.fail_attempts(session, lease, self._settings.max_attempts))
            return len(lease.screenings)
        self._finish(lease, screened)
        # Images answered before or refused say nothing of how long the next will take.
        predicted = {outcome.screening.image_id for outcome in screened.outcomes if outcome.prediction is not None}
        self._batch_size.note(len(predicted), time.monotonic() - started)
        return len(lease.screenings)

    def _claim(self) -> Claim | None:
        with self._database.write() as session:
            serving = self._look_up(session, self._serving)
            claim = leases.claim(
                session,
                model_id=serving.model_id,
                model_name=self.model,
                limit=self._batch_size.images(),
                worker=self._worker,
                lease_seconds=self._settings.lease_seconds,
            )
        # Only after the commit: otherwise the row remembered could be one that was rolled back.
        self._serving = serving
        return claim

    def _look_up(self, session: Session, known: Serving | None) -> Serving:
        """Return the spec with the threshold now in force, and the model row that its predictions refer to."""
        spec = spec_in_force(session, self._classifier.spec)
        if known is not None and known.spec.identity == spec.identity:
            return known
        log.info("%s answers, at the threshold %g.", spec.version, spec.threshold)
        return Serving(spec, leases.register_model(session, spec))

    def _finish(self, lease: Claim, screened: Screened) -> None:
        def write(session: Session) -> int:
            settled = leases.finish(
                session,
                lease,
                screened.outcomes,
                model_id=self._serving.model_id,
                threshold=self._serving.spec.threshold,
                worker=self._worker,
            )
            if screened.unreadable:
                leases.fail_attempt(session, lease, screened.unreadable, self._settings.max_attempts)
            return settled

        # Retry once after a deadlock with a cancellation or an upload, which lock the same rows in another order: else
        # the images would wait until their lease runs out, and lose an attempt.
        settled = self._database.transact(write)
        if settled < len(screened.outcomes):
            lost = len(screened.outcomes) - settled
            log.warning("%d of %d images were cancelled or given away.", lost, len(lease.screenings))

    def _screen(self, screenings: Sequence[ClaimedScreening]) -> Screened:
        outcomes: dict[uuid.UUID, Outcome] = {}
        unreadable: set[uuid.UUID] = set()
        inputs: dict[uuid.UUID, Prepared] = {}
        waiting = [screening for screening in screenings if screening.prediction_id is None]
        for screening in {screening.image_id: screening for screening in waiting}.values():
            try:
                inputs[screening.image_id] = self._prepare(screening, self._settings.ignored_codes)
            except ImageRejected as rejection:
                outcomes[screening.image_id] = Outcome(screening, rejection=rejection)
            except FileUnreadable as error:
                log.warning("The file of image %s cannot be read. %s", screening.image_id, error)
                unreadable.add(screening.image_id)
        outcomes |= self._predict(inputs, screenings)
        return Screened(
            [self._outcome_of(screening, outcomes) for screening in screenings if screening.image_id not in unreadable],
            [screening for screening in screenings if screening.image_id in unreadable],
        )

    def _outcome_of(self, screening: ClaimedScreening, outcomes: dict[uuid.UUID, Outcome]) -> Outcome:
        """Return the outcome for a screening's image; a batch may hold the same image twice."""
        if screening.prediction_id is not None:
            return Outcome(screening)
        shared = outcomes[screening.image_id]
        return replace(shared, screening=screening)

    def _prepare(
        self, screening: ClaimedScreening, ignored: Collection[Rejection], refused: ImageRejected | None = None
    ) -> Prepared:
        """Prepare an image for the model; one that the gate `refused` before is first corrected."""
        spec = self._classifier.spec
        data = self._reader.read(screening)
        image = decode(data, at_least=spec.decoded_side)
        if not is_small(data, image):
            self._keep_thumbnail(screening, image)
        refuse_unreadable(data, image, spec, ignored)
        image = image if refused is None else put_right(image, refused)
        seen = window(image, spec)
        pixels = fit(image, spec, seen)
        return Prepared(pixels, seen, measure(pixels))

    def _keep_thumbnail(self, screening: ClaimedScreening, image: Image.Image) -> None:
        """Store a thumbnail if possible: the prediction matters more than its picture."""
        if time.monotonic() < self._pictures_rest_until:
            return
        try:
            self._store.put_derived(screening.sha256, THUMBNAIL, thumbnail(image))
        except (StoreFull, StoreAway) as error:
            log.warning("No thumbnail is kept for %.0f s: %s", PICTURES_REST_SECONDS, error)
            self._pictures_rest_until = time.monotonic() + PICTURES_REST_SECONDS
        except Exception:
            log.exception("A thumbnail could not be drawn; the image is screened without it.")

    def _predict(
        self, inputs: dict[uuid.UUID, Prepared], screenings: Sequence[ClaimedScreening]
    ) -> dict[uuid.UUID, Outcome]:
        if not inputs:
            return {}
        spec, by_image = self._serving.spec, {screening.image_id: screening for screening in screenings}
        answers = self._classifier.answer(np.stack([prepared.pixels for prepared in inputs.values()]))
        predictions = spec.judge(spec.calibrate(answers.logits))
        maps = self._draw_maps(answers, [prepared.seen for prepared in inputs.values()])
        return {
            image_id: Outcome(by_image[image_id], prediction, heat_map=heat_map, exposure=prepared.exposure)
            for (image_id, prepared), prediction, heat_map in zip(inputs.items(), predictions, maps, strict=True)
        }

    def _draw_maps(self, answers: Answers, seen: Sequence[Box]) -> Sequence[bytes | None]:
        none = [None] * len(answers.logits)
        if answers.places is None:
            return none
        spec = self._classifier.spec
        try:
            maps = list(heatmap.evidence(answers.places, spec.classes))
            if spec.framing is not None:
                maps = [heatmap.lay_over(screening, part) for screening, part in zip(maps, seen, strict=True)]
            return [heatmap.encode(screening) for screening in maps]
        except Exception:
            log.exception("Heat maps could not be drawn; the images are answered without them.")
            return none

    @contextmanager
    def _heartbeat(self, extend: Callable[..., object]) -> Iterator[None]:
        """Extend a lease while its images are screened, by calling `extend` with a session and `lease_seconds`."""
        stopped = threading.Event()
        beat = threading.Thread(target=self._prolong, args=(extend, stopped), daemon=True)
        beat.start()
        try:
            yield
        finally:
            stopped.set()
            beat.join()

    def _prolong(self, extend: Callable[..., object], stopped: threading.Event) -> None:
        while not stopped.wait(self._settings.lease_seconds / HEARTBEATS_A_LEASE):
            try:
                with self._database.write() as session:
                    extend(session, lease_seconds=self._settings.lease_seconds)
            except SQLAlchemyError:
                log.warning("A heartbeat could not be written; the next one tries again.", exc_info=True)
