"""What has not changed for a while, by the watcher's own clock."""

from hypothesis import given
from hypothesis import strategies as st

from worker.stall import StallWatch

SECONDS, LONGEST = 20.0, 10.0
gaps = st.lists(st.floats(0.1, 1000.0), min_size=1, max_size=30)


@given(gaps)
def test_what_changes_at_every_look_is_never_still(gaps: list[float]) -> None:
    watch, at = StallWatch(SECONDS, LONGEST), 0.0
    for number, gap in enumerate(gaps):
        at += gap
        assert watch.look({"a": number}, at) == []


@given(gaps)
def test_still_means_unchanged_for_that_long_while_the_watcher_looked(gaps: list[float]) -> None:
    watch, at = StallWatch(SECONDS, LONGEST), 0.0
    watch.look({"a": 1}, at)
    looked = 0.0
    for gap in gaps:
        at, looked = at + gap, looked + min(gap, LONGEST)
        assert (watch.look({"a": 1}, at) == ["a"]) == (looked >= SECONDS)


def test_a_long_gap_counts_as_one_look() -> None:
    watch = StallWatch(SECONDS, LONGEST)
    watch.look({"a": 1}, 0.0)
    assert watch.look({"a": 1}, 3600.0) == []
    assert watch.look({"a": 1}, 3610.0) == ["a"]


def test_a_key_that_was_gone_starts_anew() -> None:
    watch = StallWatch(SECONDS, LONGEST)
    for at in (0.0, 8.0, 16.0):
        watch.look({"a": 1}, at)
    assert watch.look({}, 24.0) == []
    assert watch.look({"a": 1}, 32.0) == []


def test_each_key_has_its_own_age() -> None:
    watch = StallWatch(SECONDS, LONGEST)
    watch.look({"old": 1}, 0.0)
    watch.look({"old": 1, "young": 1}, 10.0)
    assert watch.look({"old": 1, "young": 1}, 20.0) == ["old"]
