"""The states of a screening and the only transitions between them, as data.

Every statement that changes a state takes its states from here, so that an unlisted transition changes no row.
"""

from enum import StrEnum


class State(StrEnum):
    """Where one image of one job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Event(StrEnum):
    """What can happen to a screening."""

    CLAIM = "claim"
    FINISH = "finish"
    REJECT = "reject"
    LOSE = "lose"  # its lease expired, or its worker gave up on it
    FAIL = "fail"  # lost once too often
    CANCEL = "cancel"
    RETRY = "retry"


MOVES: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.CLAIM): State.RUNNING,
    (State.RUNNING, Event.FINISH): State.DONE,
    (State.RUNNING, Event.REJECT): State.REJECTED,
    (State.RUNNING, Event.LOSE): State.QUEUED,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.QUEUED, Event.CANCEL): State.CANCELLED,
    (State.RUNNING, Event.CANCEL): State.CANCELLED,
    (State.FAILED, Event.RETRY): State.QUEUED,
    (State.REJECTED, Event.RETRY): State.QUEUED,
    (State.CANCELLED, Event.RETRY): State.QUEUED,
}

FINAL_STATES = frozenset({State.DONE, State.REJECTED, State.FAILED, State.CANCELLED})


def sources(event: Event) -> tuple[State, ...]:
    """Return the states in which an event may happen."""
    return tuple(state for state, possible in MOVES if possible is event)


def target(event: Event) -> State:
    """Return the one state that an event leads to, whatever the state before."""
    (only,) = {to for (_, possible), to in MOVES.items() if possible is event}
    return only
