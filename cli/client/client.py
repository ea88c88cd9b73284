"""A client of the HTTP API that survives a restart of the server."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final, Self

import httpx

from cli.client.address import is_loopback
from cli.client.answers import Accepted, Answer, Changed, Job, Me, Opened, Row, Rows, parse, read_problem, sentence
from cli.client.backoff import (
    FIRST_RETRY_SECONDS,
    LOST,
    QUEUE_FULL,
    RETRY_SECONDS,
    FullQueue,
    Outage,
    asked_delay,
    may_pass,
)
from cli.client.images import LocalFile
from cli.client.reading import ByteCount, WatchedFile
from cli.errors import CommandFailed

_ROWS_A_PAGE: Final = 500
# A server takes minutes over a ZIP of thousands of images before it answers.
_TIMEOUT: Final = httpx.Timeout(60, connect=5, read=600)

Attempt = Callable[[], httpx.Response]


def _ignore(_: object) -> None:
    """Ignore a report."""


class Api:
    """Call the API of one server."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        retry_seconds: float = RETRY_SECONDS,
        note: Callable[[str], None] = _ignore,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url
        self._retry_seconds, self._note, self._sleep = retry_seconds, note, sleep
        self._full_queue = FullQueue(note, sleep)
        self._client = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            timeout=_TIMEOUT,
            transport=transport,
            # A proxy for outgoing traffic must not be used for a server on this machine.
            trust_env=not is_loopback(url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self) -> str:
        """Return the account's name; fail soon where the address or the token is wrong."""
        retry_seconds = min(self._retry_seconds, FIRST_RETRY_SECONDS)
        return self._persist(Me, lambda: self._client.get("/api/v1/me"), retry_seconds).name

    def open_job(self, name: str, expected_images: int | None, key: str, model: str | None = None) -> str:
        """Open a job that accepts images and return its id; without a model the server's default screens."""
        announced = {"expected_images": expected_images, "model": model}
        given = {field: value for field, value in announced.items() if value is not None}
        return self._post(Opened, "/api/v1/jobs", key=key, json={"name": name, "source": "cli", **given}).id

    def send(
        self,
        job_id: str,
        files: Sequence[LocalFile],
        report: Callable[[int], None] = _ignore,
        *,
        skip_received: bool = False,
    ) -> Accepted:
        """Stream files into a job; `report` is called with the bytes read by the current attempt.

        The key is derived from the request, so that repeating it adds nothing. With `skip_received` the server leaves
        out what the job already has, whoever sent it.
        """
        path, headers = f"/api/v1/jobs/{job_id}/images", {"Idempotency-Key": _key(files, skip_received=skip_received)}
        fields = {"skip_received": "true"} if skip_received else {}

        def attempt() -> httpx.Response:
            with ExitStack() as stack:
                count = ByteCount(report)
                parts = [("files", (f.sent_name, stack.enter_context(WatchedFile(f, count)))) for f in files]
                return self._client.post(path, data=fields, files=parts, headers=headers)

        return self._persist(Accepted, attempt)

    def close_job(self, job_id: str) -> None:
        """End a job's upload."""
        self._post(Job, f"/api/v1/jobs/{job_id}/close")

    def cancel(self, job_id: str) -> int:
        """Cancel unfinished images and return how many there were."""
        return self._post(Changed, f"/api/v1/jobs/{job_id}/cancel").changed

    def job(self, job_id: str) -> Job:
        """Return the state of a job."""
        return self._persist(Job, lambda: self._client.get(f"/api/v1/jobs/{job_id}"))

    def rows(self, job_id: str) -> Iterator[Row]:
        """Yield a job's images by position."""
        cursor: str | None = None
        while True:
            page = self._page(job_id, {"limit": str(_ROWS_A_PAGE)} | ({"cursor": cursor} if cursor else {}))
            yield from page.screenings
            # Only the cursor is taken from the link: behind a proxy its host may differ, and must not get the token.
            cursor = httpx.URL(page.next).params.get("cursor") if page.next else None
            if cursor is None:
                return

    def _page(self, job_id: str, wanted: dict[str, str]) -> Rows:
        return self._persist(Rows, lambda: self._client.get(f"/api/v1/jobs/{job_id}/screenings", params=wanted))

    def _post(self, kind: type[Answer], path: str, *, key: str | None = None, json: Any = None) -> Answer:
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._persist(kind, lambda: self._client.post(path, json=json, headers=headers))

    def _persist(self, kind: type[Answer], attempt: Attempt, retry_seconds: float | None = None) -> Answer:
        """Repeat a request until the server answers; all requests are idempotent."""
        outage = Outage(
            self.url, self._retry_seconds if retry_seconds is None else retry_seconds, self._note, self._sleep
        )
        while True:
            try:
                response = attempt()
            except LOST as error:
                outage.wait(str(error) or type(error).__name__)
                continue
            except httpx.HTTPError as error:
                raise CommandFailed(f"{self.url} cannot be asked: {error}") from error
            problem = read_problem(response)
            if problem.get("code") == QUEUE_FULL:
                outage.end()
                self._full_queue.wait(str(problem.get("detail")), asked_delay(response))
            elif may_pass(response):
                outage.wait(sentence(response), asked_delay(response))
            else:
                outage.end()
                return parse(kind, response)


def _key(files: Sequence[LocalFile], *, skip_received: bool) -> str:
    # The server accepts a key for one request only: requests that skip need their own keys.
    digest = hashlib.sha256(b"skip_received\0" if skip_received else b"")
    for file in files:
        digest.update(f"{file.name}\0{file.size}\0{file.modified_ns}\0".encode())
    return digest.hexdigest()
