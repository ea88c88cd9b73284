"""What the reviews of one image amount to, against the same said in other words, for any history."""

import uuid
from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from shared.models.spec import Label
from shared.reviews.standing import standing, state_of
from shared.tables import Finding, ReviewOutcome, ReviewState

READERS = [uuid.UUID(int=n) for n in range(3)]


@dataclass(frozen=True)
class Given:
    number: int
    user_id: uuid.UUID
    outcome: ReviewOutcome
    label: Label | None
    finding: Finding | None = None


@st.composite
def histories(draw: st.DrawFn) -> list[Given]:
    labels = st.sampled_from([*Label, None])
    told = draw(st.lists(st.tuples(st.sampled_from(READERS), st.sampled_from(ReviewOutcome), labels)))
    findings = st.sampled_from(Finding)
    return [
        Given(number, *one, draw(findings) if one[1] is ReviewOutcome.OVERRULE else None)
        for number, one in enumerate(told, 1)
    ]


def said(state: ReviewState, history: list[Given]) -> bool:
    """What a state promises, in words of its own."""
    last = {reader: [r for r in history if r.user_id == reader][-1:] for reader in READERS}
    counted = [r for some in last.values() for r in some if r.outcome != "withdrawn"]
    flags = [r for r in counted if r.outcome == "second_reader"]
    waits = any(not [r for r in counted if r.number > f.number and r.user_id != f.user_id] for f in flags)
    outcomes = [r.outcome for r in counted]
    agreed = {r.label for r in counted if r.outcome == "agree"}
    overruled = [r for r in counted if r.outcome == "overrule"]
    differ = len(agreed) > 1 or any(r.label or r.finding != overruled[0].finding for r in overruled)
    return {
        ReviewState.UNREAD: not counted,
        ReviewState.SECOND_READER: waits,
        ReviewState.INADEQUATE: not waits and "inadequate" in outcomes,
        ReviewState.DISAGREED: not waits and "inadequate" not in outcomes and differ,
        ReviewState.READ: bool(counted) and not waits and "inadequate" not in outcomes and not differ,
    }[state]


@given(histories())
def test_every_history_has_the_one_state_whose_promise_holds(history: list[Given]) -> None:
    assert [state for state in ReviewState if said(state, history)] == [state_of(history)]


@given(histories(), st.randoms(use_true_random=False))
def test_the_order_in_which_rows_are_read_does_not_matter(history: list[Given], random) -> None:
    shuffled = list(history)
    random.shuffle(shuffled)
    assert state_of(shuffled) is state_of(history)
    assert standing(shuffled) == standing(history)


@given(histories(), st.sampled_from(READERS), st.sampled_from(ReviewOutcome), st.sampled_from(Label))
def test_undo_takes_back_all_that_the_reader_had_said_and_nothing_of_others(
    history: list[Given], reader: uuid.UUID, outcome: ReviewOutcome, label: Label
) -> None:
    added = [*history, Given(len(history) + 1, reader, outcome, label)]
    undone = [*added, replace(added[-1], number=len(history) + 2, outcome=ReviewOutcome.WITHDRAWN)]
    others = [review for review in history if review.user_id != reader]
    assert standing(undone) == standing(others)
    assert state_of(undone) is state_of(others)


@given(histories())
def test_each_reader_counts_at_most_once(history: list[Given]) -> None:
    readers = [review.user_id for review in standing(history)]
    assert len(readers) == len(set(readers)) <= len(READERS)
