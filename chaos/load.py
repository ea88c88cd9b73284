"""The load generator: send images continuously, keep a backlog, and retry as `pneumoscreen screen` does."""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from chaos.errors import ChaosFailed
from chaos.images import ChaosImage, Pictures
from chaos.watch import Watch
from cli.client.answers import ServerError
from cli.client.client import Api
from shared.db import new_id

T = TypeVar("T")

REQUEST_IMAGES: Final = 20
BACKLOG: Final = 100
"""More images are sent while fewer than this wait."""
PAUSE: Final = 0.5
RETRY_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Accepted:
    """An image that was accepted with 202, and the fault in progress at the time."""

    image: ChaosImage
    fault: str


class Load(threading.Thread):
    """Send images during each fault, into one job per fault."""

    def __init__(self, url: str, token: str, pictures: Pictures, watch: Watch) -> None:
        super().__init__(daemon=True)
        self._api = Api(url, token, retry_seconds=RETRY_SECONDS)
        self._pictures, self._watch = pictures, watch
        self._lock = threading.Lock()
        self._poison: list[ChaosImage] = []
        self._fault: str | None = None
        self._wanted = 0
        self._job: str | None = None
        self._ended = threading.Event()
        self.failure: BaseException | None = None
        self.accepted: list[Accepted] = []
        self.refusals: dict[int, int] = {}
        """How often the server refused, by status; each such request was retried."""

    # ------------------------------------------------------------ called by the campaign

    def send_all(self, images: Sequence[ChaosImage], fault: str) -> None:
        """Send images at once, in a separate job."""
        job_id = self._open(fault)
        for start in range(0, len(images), REQUEST_IMAGES):
            self._send(job_id, images[start : start + REQUEST_IMAGES], fault)
        self._patiently(lambda: self._api.close_job(job_id))

    def begin(self, fault: str, at_least: int = 0) -> None:
        """Keep a backlog from now on; send at least so many images in all before `pause` takes effect."""
        with self._lock:
            self._fault, self._wanted = fault, at_least

    def poison(self) -> ChaosImage:
        """Include an image that kills its worker among the next ones sent."""
        image = self._pictures.image(poison=True)
        self._poison.append(image)
        return image

    def unreadable(self) -> ChaosImage:
        """Include an image whose stored file cannot be read among the next ones sent."""
        image = self._pictures.image(unreadable=True)
        self._poison.append(image)
        return image

    def pause(self) -> None:
        """Send what is left of the least number, close the job and wait for the next fault."""
        with self._lock:
            while self._wanted > 0:
                self._step(self._fault or "")
            if self._job is not None:
                job_id = self._job
                self._patiently(lambda: self._api.close_job(job_id))
            self._fault, self._job = None, None

    def stop(self) -> None:
        """Stop sending; raise the error that ended the sender, if any."""
        self._ended.set()
        self.join()
        with self._api:
            pass
        if self.failure is not None:
            raise ChaosFailed(f"The client gave up: {self.failure}") from self.failure

    # ------------------------------------------------------------ its own thread

    def run(self) -> None:
        """Send until told to stop."""
        try:
            while not self._ended.is_set():
                with self._lock:
                    fault = self._fault
                    sends = fault is not None and self._watch.waiting < BACKLOG
                    if fault is not None and sends:
                        self._step(fault)
                time.sleep(0.01 if sends else 0.05)
        except Exception as error:  # noqa: BLE001  # `stop` raises it in the thread that waits
            self.failure = error

    def _step(self, fault: str) -> None:
        if self._job is None:
            self._job = self._open(fault)
        images = [self._pictures.image() for _ in range(REQUEST_IMAGES)]
        while self._poison:
            images[len(self._poison) - 1] = self._poison.pop()
        self._send(self._job, images, fault)
        self._wanted -= len(images)

    def _open(self, fault: str) -> str:
        key = str(new_id())
        return self._patiently(lambda: self._api.open_job(fault, None, key))

    def _send(self, job_id: str, images: Sequence[ChaosImage], fault: str) -> None:
        with tempfile.TemporaryDirectory(prefix="chaos-images-") as folder:
            files = [image.write(Path(folder)) for image in images]
            answer = self._patiently(lambda: self._api.send(job_id, files))
        if answer.received != len(images):
            raise ChaosFailed(f"Sent {len(images)} images; the server says that it received {answer.received}.")
        self.accepted += [Accepted(image, fault) for image in images]

    def _patiently(self, request: Callable[[], T]) -> T:
        """Retry a request that is refused because of a fault; a real client would tell its user."""
        until = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                return request()
            except ServerError as error:
                self.refusals[error.status] = self.refusals.get(error.status, 0) + 1
                if error.status < HTTPStatus.INTERNAL_SERVER_ERROR or time.monotonic() > until:
                    raise
            time.sleep(PAUSE)
