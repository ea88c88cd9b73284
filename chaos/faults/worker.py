"""Faults of workers and of the sweep."""

import time
from dataclasses import dataclass
from typing import ClassVar, Final

import psutil
from sqlalchemy import exists, select

from chaos.claims import claim_at_once
from chaos.errors import ChaosFailed
from chaos.images import ChaosImage
from chaos.scene import Scene
from chaos.stack import Stack
from chaos.waiting import wait_until
from shared.refusals import Failure
from shared.settings import Settings
from shared.states import State
from shared.tables import Screening

STOP_SECONDS: Final = 30.0
"""Within which a worker that receives SIGTERM must finish its batch or release it."""
BATCH_SECONDS: Final = 300.0
POISON_SECONDS: Final = 600.0
CLAIM_ROUNDS: Final = 1000


@dataclass(frozen=True)
class WorkerKilled:
    """A worker process is killed by SIGKILL at an exact point of its work."""

    point: str
    name: str
    family: str = "worker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill the process that reaches the point first."""
        scene.kill_at(self.point)


class EveryWorkerKilled:
    """All workers die at once, Celery's main process included."""

    name: ClassVar = "all workers killed at once"
    family: ClassVar = "worker"
    is_random: ClassVar = True

    def hurt(self, scene: Scene) -> None:
        """Kill the main process and every process that holds a network."""
        parent = scene.stack.worker()
        for process in [*parent.children(recursive=True), parent]:
            kill(process)


class SweepKilled:
    """The sweep dies; it has no state that it cannot rebuild."""

    name: ClassVar = "sweep killed"
    family: ClassVar = "sweep"
    is_random: ClassVar = True

    def hurt(self, scene: Scene) -> None:
        """Kill the sweep."""
        kill(scene.stack.sweep())


class WorkerStoppedPastLease:
    """A worker is suspended in mid-batch, others take its images, and then it resumes where it was."""

    name: ClassVar = "worker suspended beyond its lease, then resumed"
    family: ClassVar = "worker"
    is_random: ClassVar = True

    def hurt(self, scene: Scene) -> None:
        """Suspend a process that holds a lease until it has lost it and others have had time to finish its images."""
        timing = scene.stack.timing
        holder = holder_of_a_lease(scene.stack)
        holder.suspend()
        try:
            # A process suspended while it writes to SQLite holds the lock, so that its images cannot be freed.
            until = time.monotonic() + 3 * timing.lease
            while _holds_images(scene.stack, holder) and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(timing.sweep)
        finally:
            holder.resume()


class WorkerToldToStop:
    """SIGTERM in the middle of a batch, as at every update."""

    name: ClassVar = "worker sent SIGTERM during a batch"
    family: ClassVar = "worker"
    is_random: ClassVar = True

    def hurt(self, scene: Scene) -> None:
        """Send SIGTERM to Celery; raise ChaosFailed where it has not exited within STOP_SECONDS."""
        holder_of_a_lease(scene.stack)
        parent = scene.stack.worker()
        began = time.monotonic()
        parent.terminate()
        _, alive = psutil.wait_procs([parent], timeout=STOP_SECONDS)
        if alive:
            raise ChaosFailed(f"A worker sent SIGTERM was still running after {time.monotonic() - began:.0f} s.")


class PoisonImage:
    """An image that crashes every decoder that touches it (SIGSEGV)."""

    name: ClassVar = "poison image that crashes its worker"
    family: ClassVar = "worker"
    is_random: ClassVar = False

    def hurt(self, scene: Scene) -> None:
        """Send the image and wait until it has FAILED; raise ChaosFailed where it does not say why."""
        _wait_until_failed(scene, scene.load.poison(), Failure.WORKER_LOST)


class UnreadableImage:
    """One image's file cannot be read (EIO; an archived object), although the store works."""

    name: ClassVar = "stored file of one image unreadable"
    family: ClassVar = "worker"
    is_random: ClassVar = False

    def hurt(self, scene: Scene) -> None:
        """Send the image and wait until it has FAILED; raise ChaosFailed where it does not say why."""
        _wait_until_failed(scene, scene.load.unreadable(), Failure.IMAGE_UNREADABLE)


def _wait_until_failed(scene: Scene, image: ChaosImage, code: str) -> None:
    rows: list[Screening] = []

    def has_ended() -> bool:
        with scene.stack.database.read() as session:
            rows[:] = session.scalars(select(Screening).where(Screening.file_name == image.name))
        return bool(rows) and rows[0].state is not State.QUEUED and rows[0].state is not State.RUNNING

    wait_until(has_ended, POISON_SECONDS, f"{image.name} to fail")
    attempts = Settings.model_fields["max_attempts"].default
    said = (rows[0].state, rows[0].attempts, rows[0].error_code, rows[0].error_details)
    if said != (State.FAILED, attempts, code, {"attempts": attempts}):
        raise ChaosFailed(f"{image.name} ended as {said}.")


class ClaimsAtOnce:
    """Two workers claim at the same moment, a thousand times."""

    name: ClassVar = f"two workers claim at the same moment, {CLAIM_ROUNDS:,} times"
    family: ClassVar = "worker"
    is_random: ClassVar = False

    def hurt(self, scene: Scene) -> None:
        """Claim from two processes at once; raise ChaosFailed where an image was claimed twice or not at all."""
        claims = claim_at_once(scene.stack.database, CLAIM_ROUNDS)
        if claims.twice or claims.never:
            raise ChaosFailed(f"Of {claims.images} images, {claims.twice} were claimed twice and {claims.never} never.")


def _holds_images(stack: Stack, process: psutil.Process) -> bool:
    own = Screening.worker.endswith(f":{process.pid}")
    with stack.database.read() as session:
        return session.scalar(select(exists().where(own, Screening.state == State.RUNNING))) is True


def kill(process: psutil.Process) -> None:
    """Send SIGKILL; a process that has just exited by itself is fine, too."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def holder_of_a_lease(stack: Stack) -> psutil.Process:
    """Wait for a worker process that holds a lease and return it."""
    found: list[psutil.Process] = []

    def look() -> bool:
        with stack.database.read() as session:
            statement = select(Screening.worker).where(Screening.state == State.RUNNING).distinct()
            names = [name for name in session.scalars(statement) if name]
        alive = {child.pid: child for child in stack.worker().children()}
        found[:] = [alive[pid] for name in names if (pid := int(name.rpartition(":")[2])) in alive]
        return bool(found)

    wait_until(look, BATCH_SECONDS, "a worker to hold images")
    return found[0]


FAULTS: Final = (
    WorkerKilled("decode", "worker killed while decoding"),
    WorkerKilled("predict", "worker killed while predicting"),
    WorkerKilled("written", "worker killed between write and acknowledgement"),
    EveryWorkerKilled(),
    SweepKilled(),
    WorkerStoppedPastLease(),
    WorkerToldToStop(),
    PoisonImage(),
    UnreadableImage(),
    ClaimsAtOnce(),
)
