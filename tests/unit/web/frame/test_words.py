"""The words and numbers of the pages: nothing the code knows goes without words, and figures read as they should."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from shared.models.spec import ImageClass, Label
from shared.states import State
from shared.tables import Source
from tests.conftest import ROOT
from web.base import numbers
from web.base.conditions import Check, Condition
from web.frame import words
from web.jobs.page import SOURCES
from web.jobs.progress import FINISHED, RECEIVING, SCREENING, JobState, Progress
from web.jobs.standing import standing
from web.lists.form import name_field


def test_everything_has_words() -> None:
    assert set(words.STATES) == set(State)
    assert set(SOURCES) == set(Source)
    assert set(words.LABELS) == set(Label)
    assert set(words.CLASSES) == set(ImageClass)
    assert set(words.CONDITIONS) == set(Condition)
    assert set(words.CHECKS) == set(Check)
    assert set(words.JOB_STATES) == {RECEIVING, SCREENING, FINISHED}


@pytest.mark.parametrize("said", [*words.STATES.values(), *words.CONDITIONS.values()])
def test_every_state_and_reason_says_what_it_means_and_what_to_do(said: words.Words) -> None:
    assert said.name
    assert said.meaning.endswith(".")
    assert said.action.endswith(".")


def test_the_operations_guide_says_what_to_do_in_every_condition() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    assert [condition for condition in Condition if f"`{condition}`" not in guide] == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "50.0%"), (0.1221, "12.2%"), (0.9994, "99.9%"), (0.99951, ">99.9%"), (1.0, "100.0%"), (0.0004, "<0.1%"),
     (0.0, "0.0%"), (None, "\N{EN DASH}")],
)  # fmt: skip
def test_probabilities_have_one_decimal_and_are_never_rounded_to_certainty(value: float | None, text: str) -> None:
    assert numbers.percent(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (1023, "1,023 B"), (1536, "1.5 KiB"), (64 * 2**20, "64 MiB"), (5 * 2**31, "10 GiB")]
)
def test_sizes_are_binary(value: int, text: str) -> None:
    assert numbers.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (119.6, "2 min"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (5025, "1 h 23 min"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert numbers.duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(250.4, "250 X-rays/s"), (3.14, "3.1 X-rays/s"), (0.1, "6.0 X-rays/min")])
def test_slow_speeds_are_by_the_minute(value: float, text: str) -> None:
    assert numbers.rate(value) == text


def test_times_are_utc_for_machines_and_people() -> None:
    at = datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    assert str(numbers.moment(at)) == (
        '<time datetime="2026-02-28T22:30:00Z" title="2026-02-28 22:30:00 UTC">28 Feb 2026, 22:30 UTC</time>'
    )
    assert str(numbers.moment(None)) == "\N{EN DASH}"
    assert numbers.moment(datetime(2026, 1, 1, tzinfo=UTC)).startswith("<time")


def test_bars_stay_inside_their_frame() -> None:
    assert [numbers.share(value) for value in (-0.1, 0.12345, 1.2)] == ["0.00%", "12.35%", "100.00%"]


def progress(state: JobState, expected: int | None = None, *, removed: int = 0, **counts: int) -> Progress:
    images = {state: counts.get(state, 0) for state in State}
    settled = sum(counts.values()) - images[State.QUEUED] - images[State.RUNNING]
    total = sum(counts.values())
    return Progress(state, total, total + removed, expected, images, settled, 100.0, None, None)


@pytest.mark.parametrize(
    ("job", "kind", "text", "percent"),
    [
        (progress(FINISHED, 3, DONE=2, REJECTED=1), "FINISHED", "Finished", 100),
        (progress(FINISHED, 1400, DONE=256, CANCELLED=1144), "CANCELLED", "Cancelled, 256 of 1,400 screened", 18),
        (progress(FINISHED, 240, DONE=80), "FAILED", "Incomplete, 160 of 240 X-rays were not received", 33),
        (progress(FINISHED, 1), "FAILED", "Incomplete, 1 of 1 X-ray was not received", 0),
        (progress(FINISHED, 9, DONE=2, CANCELLED=1), "CANCELLED", "Cancelled, 2 of 9 screened", 22),
        (progress(SCREENING, 4, DONE=1, QUEUED=1), SCREENING, "Screening, 2 of 4 X-rays were not received", 25),
        (progress(RECEIVING, 4, DONE=1, QUEUED=1), RECEIVING, "Receiving", 25),
        (progress(FINISHED), "FINISHED", "Finished", 100),
        (progress(FINISHED, 4, removed=2, DONE=2), "FINISHED", "Finished", 100),
        (progress(FINISHED, 6, removed=2, DONE=2), "FAILED", "Incomplete, 2 of 6 X-rays were not received", 66),
    ],
)
def test_a_job_that_was_cut_short_never_reads_as_finished(job: Progress, kind: str, text: str, percent: int) -> None:
    stands = standing(job)
    assert (stands.kind, stands.text, int(stands.percent)) == (kind, text, percent)


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("since: Give a day.", "Sent from: Give a day."),
        ("cursor: Take it from the answer before, unchanged.", "This page of the list"),
        ("files: Send at least one X-ray. Received: none.", "No X-ray was chosen."),
        ("The two new passwords differ.", "The two new passwords differ."),
    ],
)
def test_a_refused_field_is_named_as_on_the_page(detail: str, said: str) -> None:
    assert words.refused(detail, name_field).startswith(said)
