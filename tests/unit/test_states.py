"""Every pair of state and event, good and bad."""

import itertools

import pytest

from shared.errors import IllegalMove
from shared.states import ENTRY_STATES, FINAL_STATES, MOVES, Event, State, after, sources, target

ALLOWED = {
    "QUEUED": {"claim": "RUNNING", "cancel": "CANCELLED"},
    "RUNNING": {"finish": "DONE", "reject": "REJECTED", "lose": "QUEUED", "fail": "FAILED", "cancel": "CANCELLED"},
    "DONE": {},
    "REJECTED": {"retry": "QUEUED"},
    "FAILED": {"retry": "QUEUED"},
    "CANCELLED": {"retry": "QUEUED"},
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=lambda value: value.value)
def test_each_pair(state: State, event: Event) -> None:
    expected = ALLOWED[state.value].get(event.value)
    if expected is None:
        with pytest.raises(IllegalMove, match=f"{state} cannot {event}"):
            after(state, event)
    else:
        assert after(state, event) == expected


def test_every_event_leads_to_one_state_from_where_the_moves_say() -> None:
    for event in Event:
        assert {after(state, event) for state in sources(event)} == {target(event)}


def test_every_state_can_be_reached_and_left_or_is_final() -> None:
    reached = set(MOVES.values()) | ENTRY_STATES
    assert reached == set(State)
    assert {state for state, _ in MOVES} | FINAL_STATES == set(State)
