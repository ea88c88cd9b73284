"""The API's answers, validated: the address may belong to anything else."""

from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from cli.errors import CommandFailed
from shared.columns import Result
from shared.states import FINAL_STATES

Answer = TypeVar("Answer", bound=BaseModel)


class ServerError(CommandFailed):
    """Say what the server refused."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Me(BaseModel):
    """The account of a token."""

    name: str


class Opened(BaseModel):
    """A job that accepts images."""

    id: str


class LeftOut(BaseModel):
    """Files inside ZIPs that are no images and have no row."""

    files: int
    reason: str


class Accepted(BaseModel):
    """What the server accepted of one request; each image and each refusal is a row."""

    received: int
    left_out: list[LeftOut] = []


class Job(BaseModel):
    """The state of a job."""

    id: str
    state: str
    total: int
    counts: dict[str, int]
    per_second: float | None = None
    seconds_left: float | None = None

    @property
    def settled(self) -> int:
        """Return how many images need no more work."""
        return sum(self.counts.get(state, 0) for state in FINAL_STATES)


class Changed(BaseModel):
    """How many images a cancellation stopped."""

    changed: int


class Row(Result):
    """One image of a job, with its position."""

    position: int


class Rows(BaseModel):
    """One page of a job's images."""

    screenings: list[Row]
    next: str | None = None


def parse(kind: type[Answer], response: httpx.Response) -> Answer:
    """Validate an answer; raise ServerError with the server's own words where it is an error."""
    status = response.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        raise ServerError(
            "The server does not know this token. It may be revoked, too old or of another server.", status
        )
    if response.is_redirect:
        place = response.headers.get("Location", "")
        raise ServerError(f"{response.url} moves to '{place}'. Give the right address with --url.", status)
    if not response.is_success:
        raise ServerError(sentence(response), status)
    try:
        return kind.model_validate_json(response.content)
    except ValidationError as error:
        raise CommandFailed(
            f"{response.url} does not answer as PneumoScreen does. Check --url, and that both sides are one version. "
            f"Received: {response.text[:80]!r}"
        ) from error


def sentence(response: httpx.Response) -> str:
    """Return the message of an error answer: the detail of a problem document (RFC 9457), else its status."""
    known = read_problem(response)
    detail = known.get("detail") or known.get("title")
    status = f"{response.status_code} {response.reason_phrase}".strip()
    return f"{detail} ({status})" if detail else f"The server answered {status}."


def read_problem(response: httpx.Response) -> dict[str, Any]:
    """Return the members of a problem document (RFC 9457); empty where the answer is none."""
    if not response.is_error:
        return {}
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}
