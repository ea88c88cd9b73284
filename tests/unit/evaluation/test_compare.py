"""Models side by side: McNemar's test against values from a table, the same resamples for all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import metrics
from evaluation.compare import FIGURES, Answered, compare_models, mcnemar

pytestmark = pytest.mark.lab


def pairs(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two models' right answers: so many images that both, only the first, only the second or neither gets right."""
    counts = (both, first, second, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (6, 0, 2 / 2**6),
        (10, 2, 2 * (1 + 12 + 66) / 2**12),
        (2, 10, 2 * (1 + 12 + 66) / 2**12),
    ],
)
def test_mcnemar_counts_the_images_that_one_model_alone_gets_right(first: int, second: int, p: float) -> None:
    found = mcnemar(*pairs(20, first, second, 3))
    assert (found["b"], found["c"]) == (first, second)
    assert found["p"] == pytest.approx(p)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_same_seen_from_either_side(answers: list[tuple[bool, bool]]) -> None:
    one, other = np.array(answers).T
    there, back = mcnemar(one, other), mcnemar(other, one)
    assert there["p"] == pytest.approx(back["p"])
    assert (there["b"], there["c"]) == (back["c"], back["b"])
    assert 0 < there["p"] <= 1


def test_models_are_measured_alike_and_tested_against_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 30)
    rng = np.random.default_rng(0)
    truth = np.arange(60) % 2 == 0
    p = (truth * 0.4 + rng.random(60) * 0.6).clip(0, 1)
    answered = {"a": Answered(p, 0.5), "twin": Answered(p, 0.5), "coin": Answered(rng.random(60), 0.5)}
    found = compare_models(truth, answered, "a", [str(i // 2) for i in range(60)])
    assert {name: row for name, row in found["a"].items() if name != "mcnemar"} == {
        name: row for name, row in found["twin"].items() if name != "mcnemar"
    }, "the same resamples"
    assert set(FIGURES) == set(found["a"]["intervals_95"])
    assert found["a"]["mcnemar"] is None
    assert found["twin"]["mcnemar"] == {"b": 0, "c": 0, "p": 1.0}
    assert found["coin"]["mcnemar"]["b"] > found["coin"]["mcnemar"]["c"]


def test_without_the_default_there_is_no_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RESAMPLES", 10)
    truth = np.array([True, False, True, False])
    found = compare_models(truth, {"a": Answered(np.array([0.9, 0.2, 0.8, 0.1]), 0.5)}, "absent", list("abcd"))
    assert found["a"]["mcnemar"] is None
    assert found["a"]["accuracy"] == 1.0
