"""The sweep: free expired leases, and send tickets for images that wait without one (`python -m worker.sweep`).

It is a separate process, not a Celery task: it monitors the workers, so it must not need one.
"""

import logging
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from shared.database_limits import limits_of
from shared.db import Database
from shared.errors import BrokerAway, StoreAway, StoreFull, StoreMisconfigured
from shared.messages.endings import note_ends
from shared.process.logs import configure_logging
from shared.queue import asked_scores, jobs, leases, score_leases, shadow_scores, stray_files
from shared.queue.heartbeats import Heartbeats
from shared.queue.tickets import CeleryTicketSender, make_ticket_sender
from shared.settings import Settings, load_settings
from shared.store.store import Store, open_store
from worker.messages.sender import Sender, SenderThreads
from worker.stall import StallWatch

log = logging.getLogger(__name__)

ABANDONED_SECONDS: Final = 24 * 3600.0
"""A live sender sends its next images within seconds; one that waits for room in a full queue, within a night."""

LOOKS_AT_A_TIME: Final = 2
"""A look more than one interval late counts as missed; see `StallWatch`."""


class Sweep:
    """Monitor leases and uploads, and take them from holders that have stalled."""

    def __init__(self, database: Database, ticket_sender: CeleryTicketSender, settings: Settings) -> None:
        longest = LOOKS_AT_A_TIME * settings.sweep_seconds
        self._database, self._ticket_sender, self._settings = database, ticket_sender, settings
        self._heartbeats = Heartbeats(settings)
        self._leases: StallWatch[uuid.UUID, datetime] = StallWatch(settings.lease_seconds, longest)
        self._scores: StallWatch[uuid.UUID, datetime] = StallWatch(settings.lease_seconds, longest)
        self._uploads: StallWatch[uuid.UUID, int] = StallWatch(ABANDONED_SECONDS, longest)

    def once(self) -> leases.Swept:
        """Sweep once: free expired leases, send tickets; raise BrokerAway where one is due and Redis is unavailable."""
        swept = self.free_leases(at=time.monotonic())
        self.free_scores(at=time.monotonic())
        with self._database.read() as session:
            waiting = Counter(swept.waiting) + Counter(asked_scores.count_waiting(session))
            compared = shadow_scores.find_waiting(session)
        if compared is not None and not self._has_work():
            waiting[compared] += 1
        for model, images in waiting.items():
            if self._ticket_sender.tickets(model) == 0:
                self._ticket_sender.send(model, images)
        return swept

    def _has_work(self) -> bool:
        """Tell whether a running worker has images waiting, which come before the shadow model's."""
        served = self._heartbeats.served_models()
        with self._database.read() as session:
            return shadow_scores.has_work(session, served)

    def free_leases(self, at: float) -> leases.Swept:
        """Free the images whose holder has stalled, at `at` seconds of a monotonic clock, and count those that wait."""
        with self._database.write() as session:
            held = leases.find_held(session)
            run_out = {token: held[token] for token in self._leases.look(held, at)}
            swept = leases.sweep(session, run_out, self._settings.max_attempts)
        lost = swept.requeued + swept.failed
        if lost:
            log.warning("%d images had lost their worker; %d of them FAILED.", lost, swept.failed)
        return swept

    def free_scores(self, at: float) -> int:
        """Free the asked and shadow scores whose holder has stalled, as `free_leases` does with images."""
        with self._database.read() as session:
            held = score_leases.find_held(session)
        run_out = {key: held[key] for key in self._scores.look(held, at)}
        if not run_out:
            return 0
        with self._database.write() as session:
            freed = score_leases.free(session, run_out)
        if freed:
            log.warning("%d scores that were asked for or compared had lost their worker.", freed)
        return freed

    def note_shadow(self) -> None:
        """Queue the default model's predictions that the shadow model is to be compared with."""
        with self._database.read() as session:
            answers = shadow_scores.find_unnoted(session, self._settings.model)
        if answers:
            with self._database.write() as session:
                shadow_scores.note(session, answers)

    def close_uploads(self, at: float) -> None:
        """Close uploads that have received no image for ABANDONED_SECONDS, at `at` seconds of a monotonic clock."""
        with self._database.read() as session:
            abandoned = self._uploads.look(jobs.open_uploads(session), at)
        for job_id in abandoned:
            with self._database.write() as session:
                jobs.close_job(session, job_id)
        if abandoned:
            log.warning("%d uploads had been abandoned by their senders and are closed.", len(abandoned))


def run(settings: Settings, stops: SimpleQueue[int]) -> None:
    """Sweep every few seconds until a signal is put into `stops`; retry when a service is unavailable."""
    database = Database(settings.database, limits=limits_of(settings))
    sweep = Sweep(database, make_ticket_sender(settings), settings)
    unnoted: list[uuid.UUID] = []
    duties: list[Callable[[], object]] = [
        sweep.once,
        sweep.note_shadow,
        lambda: sweep.close_uploads(time.monotonic()),
        lambda: note_ends(database, unnoted),
    ]
    store = _open_store(settings)
    if store is not None:
        strays = stray_files.StrayCollection(database, store)
        duties += [lambda: stray_files.remove_tombstoned_files(database, store), lambda: _remove_strays(strays)]
    senders = SenderThreads(Sender(database, settings), settings.sweep_seconds)
    senders.start()
    while not _is_stopped(stops, settings.sweep_seconds):
        for duty in duties:
            _try(duty)
    senders.stop()
    database.close()


def _is_stopped(stops: SimpleQueue[int], seconds: float) -> bool:
    """Wait for a signal, for `seconds` at most."""
    try:
        stops.get(timeout=seconds)
    except Empty:
        return False
    return True


def _try(duty: Callable[[], object]) -> None:
    """Run one duty of a sweep: its failure stops neither the other duties nor the next sweep."""
    try:
        duty()
    except (BrokerAway, StoreAway, StoreFull) as error:
        log.warning("%s The next sweep tries again.", error)
    except SQLAlchemyError:
        log.warning("The database did not do what a sweep asked; the next one tries again.", exc_info=True)
    except Exception:
        log.exception("A part of a sweep failed; the next one tries again.")


def _open_store(settings: Settings) -> Store | None:
    """Open the image store; leases are swept even without one."""
    try:
        return open_store(settings)
    except StoreMisconfigured as error:
        log.warning("%s Nothing is removed from it until the sweep starts again.", error)
        return None


def _remove_strays(strays: stray_files.StrayCollection) -> None:
    """Remove some of what broken uploads left."""
    removed = strays.remove_some(time.monotonic())
    if removed.stray_files:
        log.warning("%d files that broken uploads left in the image store were removed.", removed.stray_files)


def main() -> None:
    """Sweep until SIGTERM."""
    configure_logging()
    # An Event set by a signal handler deadlocks on its own lock if the signal interrupts the Event's wait; `put` is
    # reentrant (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put).
    stops: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: stops.put(number))
    run(load_settings(), stops)


if __name__ == "__main__":
    main()
