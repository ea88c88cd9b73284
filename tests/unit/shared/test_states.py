"""Every pair of state and event, good and bad."""

import itertools

import pytest

from shared.states import FINAL_STATES, MOVES, Event, State, sources, target

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
    assert MOVES.get((state, event)) == ALLOWED[state.value].get(event.value)
    assert (state in sources(event)) == (event.value in ALLOWED[state.value])


def test_every_event_leads_to_one_state_from_where_the_moves_say() -> None:
    for event in Event:
        assert {MOVES[state, event] for state in sources(event)} == {target(event)}


def test_every_state_can_be_reached_and_left_or_is_final() -> None:
    reached = {*MOVES.values(), State.QUEUED}
    assert reached == set(State)
    assert {state for state, _ in MOVES} | FINAL_STATES == set(State)
