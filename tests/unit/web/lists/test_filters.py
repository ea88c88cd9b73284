"""Filters as they come in an address."""

import uuid
from datetime import date

import pytest

from shared.models.spec import Label
from shared.states import State
from web.lists.filters import Filters
from web.lists.listing import FilterError

JOB = "01a1f809-7564-7000-a907-0132d3beaccb"


def test_filters_are_read_from_an_address_and_written_back() -> None:
    args = {
        "label": "PNEUMONIA",
        "min_confidence": "0.5",
        "max_confidence": "1",
        "since": "2026-01-31",
        "until": "2026-02-01",
        "job": JOB,
        "model": "compact-cnn@0123",
        "text": "IM-1.0",
        "state": "DONE",
    }
    filters = Filters.from_args({**args, "order": "newest", "unknown": "x"})
    assert filters == Filters(
        label=Label.PNEUMONIA,
        min_confidence=0.5,
        max_confidence=1.0,
        since=date(2026, 1, 31),
        until=date(2026, 2, 1),
        job=uuid.UUID(JOB),
        model="compact-cnn@0123",
        text="IM-1.0",
        state=State.DONE,
    )
    assert filters.to_args() == args


def test_empty_values_do_not_narrow() -> None:
    assert Filters.from_args({"label": "", "text": "  ", "since": ""}) == Filters()
    assert Filters().to_args() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", "normal"),
        ("min_confidence", "1.01"),
        ("min_confidence", "-0.1"),
        ("max_confidence", "nan"),
        ("max_confidence", "much"),
        ("since", "31.01.2026"),
        ("until", "9999-12-31"),
        ("job", "1"),
        ("state", "done"),
        ("text", "a\0b"),
        ("model", "\0"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(FilterError) as caught:
        Filters.from_args({name: value})
    assert caught.value.field == name
    assert "Received" in caught.value.message


@pytest.mark.parametrize(
    ("args", "field"),
    [
        ({"since": "2026-02-01", "until": "2026-01-31"}, "since"),
        ({"min_confidence": "0.9", "max_confidence": "0.5"}, "min_confidence"),
        ({"min_suspicion": "10", "max_suspicion": "9.5"}, "min_suspicion"),
        ({"min_suspicion": "20", "max_suspicion": "10"}, "min_suspicion"),
    ],
)
def test_a_range_that_ends_before_it_starts_is_refused(args: dict[str, str], field: str) -> None:
    with pytest.raises(FilterError, match="not after the end of the range") as caught:
        Filters.from_args(args)
    assert caught.value.field == field
    start, end = args.values()
    assert f"the range, {end}. Received: '{start}'." in caught.value.message


def test_a_range_may_start_where_it_ends() -> None:
    args = {"since": "2026-01-31", "until": "2026-01-31", "min_confidence": "0.5", "max_confidence": "0.5"}
    filters = Filters.from_args(args)
    assert (filters.since, filters.min_confidence) == (filters.until, filters.max_confidence)
