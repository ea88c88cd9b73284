"""What may go on at once: the rest waits for so long, and is told to come back."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Response

from web.base.concurrency import Once, TooBusy, Turns


def test_one_more_than_may_go_on_is_told_when_to_come_back() -> None:
    turns = Turns(2, 0.05, "Two go on.")
    with turns.turn(), turns.turn():
        begun = time.monotonic()
        with pytest.raises(TooBusy, match=r"Two go on\. Try again in 5 s\.") as refused, turns.turn():
            pytest.fail("a third went on")
        assert 0.05 <= time.monotonic() - begun < 5
    assert dict(refused.value.get_headers())["Retry-After"] == "5"
    with turns.turn(), turns.turn():
        pass


@pytest.mark.parametrize("end", ["read whole", "closed at once", "closed in the middle", "never made"])
def test_an_answer_gives_its_turn_back_however_it_ends(end: str) -> None:
    turns = Turns(1, 0, "One is sent.")

    def make() -> Response:
        if end == "never made":
            raise ValueError(end)
        return Response(iter(["a", "b"]))

    for _ in range(2):
        if end == "never made":
            with pytest.raises(ValueError, match=end):
                turns.stream(make)
            continue
        response = turns.stream(make)
        with pytest.raises(TooBusy):
            turns.stream(make)
        if end == "read whole":
            assert response.get_data() == b"ab"
        if end == "closed in the middle":
            assert next(iter(response.response)) == b"a"
        response.close()


def test_a_thing_is_made_once_for_all_who_ask_at_the_same_time() -> None:
    once, begun, go_on, made = Once(30, "It is made."), threading.Event(), threading.Event(), []

    def make() -> bytes:
        made.append(1)
        begun.set()
        assert go_on.wait(30)
        return b"made"

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(once.make, "a", make)
        assert begun.wait(30)
        second = pool.submit(once.make, "a", make)
        assert once.make("b", lambda: b"other") == b"other", "another is not waited for"
        go_on.set()
        assert first.result(30) == b"made"
        assert second.result(30) == b"made"
    assert once.make("a", lambda: b"anew") == b"anew"


def test_whoever_waits_for_too_long_is_told_to_come_back() -> None:
    once, begun, go_on = Once(0.05, "It is made."), threading.Event(), threading.Event()

    def make() -> bytes:
        begun.set()
        assert go_on.wait(30)
        raise KeyError("it failed")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(once.make, "a", make)
        assert begun.wait(30)
        with pytest.raises(TooBusy):
            once.make("a", make)
        go_on.set()
        with pytest.raises(KeyError):
            first.result(30)
    assert once.make("a", lambda: b"whole") == b"whole"
