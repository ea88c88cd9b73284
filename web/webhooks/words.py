"""What the events, states and problems of messages are called on pages."""

from typing import Final

from shared.messages.problems import PAUSED, RESTORED, Problem
from shared.tables import MessageEvent, MessageState

EVENTS: Final[dict[MessageEvent, str]] = {
    MessageEvent.JOB_FINISHED: "Job finished",
    MessageEvent.IMAGE_FLAGGED: "X-ray flagged",
    MessageEvent.TEST: "Test",
}

STATES: Final[dict[MessageState, tuple[str, str]]] = {
    MessageState.WAITING: ("QUEUED", "Waiting"),
    MessageState.SENT: ("DONE", "Sent"),
    MessageState.FAILED: ("FAILED", "Given up"),
}
"""The icon and colour of a state of images that looks the same, and the word."""

PROBLEMS: Final[dict[str, str]] = {
    Problem.ADDRESS_REFUSED: "The name stands for an address that may not be called, or only by https.",
    Problem.NAME_UNKNOWN: "The name could not be looked up.",
    Problem.NO_CONNECTION: "No connection could be made.",
    Problem.CERTIFICATE: "The certificate is not valid for this name.",
    Problem.NO_ANSWER: "No answer came in time.",
    Problem.REDIRECT: "The answer was a redirect, which is not followed.",
    Problem.ANSWER: "The answer was not one of success.",
    Problem.GONE: "The receiver said that the address is gone (410).",
    Problem.NO_KEY: "The sweep does not have PNEUMOSCREEN_SECRET_KEY, so it cannot sign.",
    RESTORED: "A backup was restored.",
    PAUSED: "An administrator paused it.",
}


def say_problem(code: str | None) -> str:
    """Say what went wrong; a code of another version stands for itself."""
    return PROBLEMS.get(code, code) if code else ""
