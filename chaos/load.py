"""The client: sends films without end and keeps a backlog, with the patience of `pneumoscreen screen`."""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeVar

from chaos.errors import ChaosFailed
from chaos.films import ChaosFilm, Pictures
from chaos.watch import Watch
from cli.client.answers import ServerError
from cli.client.client import Api
from shared.db import new_id

T = TypeVar("T")

REQUEST_FILMS: Final = 20
BACKLOG: Final = 100
"""Films that wait, below which more are sent."""
PAUSE: Final = 0.5
PATIENCE: Final = 600.0


@dataclass(frozen=True)
class Accepted:
    """A film for which the client got its 202, and the fault that went on then."""

    film: ChaosFilm
    fault: str


class Load(threading.Thread):
    """Send films into one job a fault while there is a fault to send for."""

    def __init__(self, url: str, token: str, pictures: Pictures, watch: Watch) -> None:
        super().__init__(daemon=True)
        self._api = Api(url, token, patience=PATIENCE)
        self._pictures, self._watch = pictures, watch
        self._lock = threading.Lock()
        self._poison: list[ChaosFilm] = []
        self._fault: str | None = None
        self._wanted = 0
        self._job: str | None = None
        self._ended = threading.Event()
        self.failure: BaseException | None = None
        self.accepted: list[Accepted] = []
        self.refusals: dict[int, int] = {}
        """How often the server said no, by status; each such request was sent again."""

    # ------------------------------------------------------------ called by the campaign

    def send_all(self, films: Sequence[ChaosFilm], fault: str) -> None:
        """Send films at once, in a job of their own."""
        job_id = self._open(fault)
        for start in range(0, len(films), REQUEST_FILMS):
            self._send(job_id, films[start : start + REQUEST_FILMS], fault)
        self._patiently(lambda: self._api.close_job(job_id))

    def begin(self, fault: str, at_least: int = 0) -> None:
        """Keep a backlog from now on; send so many films in all, at least, before `pause` has effect."""
        with self._lock:
            self._fault, self._wanted = fault, at_least

    def poison(self) -> ChaosFilm:
        """Have a film that kills its worker sent among the next ones."""
        film = self._pictures.film(poison=True)
        self._poison.append(film)
        return film

    def unreadable(self) -> ChaosFilm:
        """Have a film whose file in the store cannot be read sent among the next ones."""
        film = self._pictures.film(unreadable=True)
        self._poison.append(film)
        return film

    def pause(self) -> None:
        """Send what is still owed, close the job and wait for the next fault."""
        with self._lock:
            while self._wanted > 0:
                self._step(self._fault or "")
            if self._job is not None:
                job_id = self._job
                self._patiently(lambda: self._api.close_job(job_id))
            self._fault, self._job = None, None

    def stop(self) -> None:
        """Stop sending; raise what the sender died of."""
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
        films = [self._pictures.film() for _ in range(REQUEST_FILMS)]
        while self._poison:
            films[len(self._poison) - 1] = self._poison.pop()
        self._send(self._job, films, fault)
        self._wanted -= len(films)

    def _open(self, fault: str) -> str:
        key = str(new_id())
        return self._patiently(lambda: self._api.open_job(fault, None, key))

    def _send(self, job_id: str, films: Sequence[ChaosFilm], fault: str) -> None:
        with tempfile.TemporaryDirectory(prefix="chaos-films-") as folder:
            files = [film.write(Path(folder)) for film in films]
            answer = self._patiently(lambda: self._api.send(job_id, files))
        if answer.received != len(films):
            raise ChaosFailed(f"Sent {len(films)} films; the server says that it received {answer.received}.")
        self.accepted += [Accepted(film, fault) for film in films]

    def _patiently(self, request: Callable[[], T]) -> T:
        """Repeat what the server refuses for a fault's sake; a client of the product would tell its user."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return request()
            except ServerError as error:
                self.refusals[error.status] = self.refusals.get(error.status, 0) + 1
                if error.status < HTTPStatus.INTERNAL_SERVER_ERROR or time.monotonic() > until:
                    raise
            time.sleep(PAUSE)
