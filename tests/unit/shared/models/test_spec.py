"""A model folder's spec: calibration, the prediction at the threshold, and folders that are not what they say."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from shared.errors import ModelUnavailable
from shared.models.folder import common_classes, ensemble_sha256, find_model, list_models, read_spec, verify_weights
from shared.models.spec import ImageClass, Label, Member, ModelSpec
from tests.conftest import ROOT

WEIGHTS = b"the weights of a network"
FIELDS = {
    "name": "test-model",
    "description": "for tests",
    "input_size": 192,
    "classes": ("normal", "bacterial", "viral"),
    "temperature": 1.5,
    "threshold": 0.4,
    "threshold_rule": "fixed",
    "intended_population": "none",
    "training_data": "none",
    "licence": "none",
    "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
    "parameters": 1,
    "commit": "uncommitted",
    "trained_at": datetime(2026, 1, 1, tzinfo=UTC),
}
LOGITS = arrays.arrays(np.float32, (5, 3), elements=st.floats(-60, 60, width=32))


COMMITTED = ROOT / "models"


def make_spec(**changes: object) -> ModelSpec:
    return ModelSpec.model_validate(FIELDS | changes)


def write_folder(folder: Path, spec: ModelSpec) -> Path:
    folder.mkdir()
    (folder / "spec.json").write_text(spec.model_dump_json())
    (folder / "model.keras").write_bytes(WEIGHTS)
    return folder


@given(logits=LOGITS, temperature=st.floats(0.05, 20))
def test_calibrated_rows_sum_to_one_and_keep_the_order_of_the_logits(logits: np.ndarray, temperature: float) -> None:
    probabilities = make_spec(temperature=temperature).calibrate(logits)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    first = np.take_along_axis(probabilities, logits.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    assert first == pytest.approx(probabilities.max(axis=1))


@given(logits=LOGITS, low=st.floats(0.1, 5), step=st.floats(0.01, 5))
def test_a_higher_temperature_never_makes_the_answer_surer(logits: np.ndarray, low: float, step: float) -> None:
    sure = make_spec(temperature=low).calibrate(logits).max(axis=1)
    unsure = make_spec(temperature=low + step).calibrate(logits).max(axis=1)
    assert (unsure <= sure + 1e-12).all()


def test_temperature_one_is_the_softmax() -> None:
    logits = np.log(np.array([[0.2, 0.5, 0.3]]))
    assert make_spec(temperature=1.0).calibrate(logits) == pytest.approx(np.array([[0.2, 0.5, 0.3]]))


@given(logits=LOGITS, temperature=st.floats(0.2, 10), bias=st.floats(-8, 8))
def test_a_bias_moves_the_log_odds_of_pneumonia_by_itself(logits: np.ndarray, temperature: float, bias: float) -> None:
    logits = logits.clip(-5, 5)
    plain, biased = make_spec(temperature=temperature), make_spec(temperature=temperature, bias=bias)

    def log_odds(spec: ModelSpec) -> np.ndarray:
        probabilities = spec.calibrate(logits)
        return np.log(spec.p_pneumonia(probabilities) / probabilities[:, 0])

    assert log_odds(biased) - log_odds(plain) == pytest.approx(np.full(5, bias), abs=1e-6)


@given(logits=arrays.arrays(np.float32, (2, 5, 3), elements=st.floats(-60, 60, width=32)), weight=st.floats(0.01, 100))
def test_a_pool_lies_between_its_members(logits: np.ndarray, weight: float) -> None:
    one, other = make_spec(temperature=1.0), make_spec(temperature=1.0)
    members = (Member(name="one", weight=weight), Member(name="other", weight=1))
    pooled = np.exp(make_spec(members=members).pool([one, other], list(logits)))
    both = np.stack([one.calibrate(logits[0]), other.calibrate(logits[1])])
    assert pooled.sum(axis=1) == pytest.approx(1.0)
    assert (pooled >= both.min(axis=0) - 1e-6).all()
    assert (pooled <= both.max(axis=0) + 1e-6).all()


def test_a_pool_keeps_the_digits_of_small_probabilities() -> None:
    logits = np.array([[0.0, -100.0, -110.0]], np.float32)
    spec = make_spec(temperature=1.0, members=(Member(name="one", weight=3), Member(name="other", weight=1)))
    pooled = spec.pool([make_spec(), make_spec()], [logits, logits])
    assert spec.p_pneumonia(spec.calibrate(pooled)) == pytest.approx(np.exp(-100) + np.exp(-110), rel=1e-4)


def test_a_pool_sums_causes_where_a_member_tells_none() -> None:
    causes, none = make_spec(), make_spec(classes=("pneumonia", "normal"))
    assert common_classes([causes, causes]) == causes.classes
    assert common_classes([causes, none]) == ("normal", "pneumonia")
    spec = make_spec(classes=("normal", "pneumonia"), members=(Member(name="a", weight=1), Member(name="b", weight=1)))
    logits = [np.log(np.array([[0.7, 0.1, 0.2]])), np.log(np.array([[0.9, 0.1]]))]
    assert np.exp(spec.pool([causes, none], logits)) == pytest.approx(np.array([[0.4, 0.6]]))


def test_p_pneumonia_is_the_sum_of_the_causes() -> None:
    assert make_spec().p_pneumonia(np.array([[0.7, 0.1, 0.2], [1.0, 0.0, 0.0]])) == pytest.approx([0.3, 0.0])


def test_p_pneumonia_does_not_depend_on_the_order_of_the_classes() -> None:
    spec = make_spec(classes=("bacterial", "normal", "viral"))
    assert spec.p_pneumonia(np.array([[0.1, 0.7, 0.2]])) == pytest.approx([0.3])


@pytest.mark.parametrize(
    ("p", "label", "confidence"),
    [
        (0.4, Label.PNEUMONIA, 0.4),
        (0.39999, Label.NORMAL, 0.60001),
        (1.0, Label.PNEUMONIA, 1.0),
        (0.0, Label.NORMAL, 1.0),
    ],
    ids=["at the threshold", "just below", "certain", "none"],
)
def test_the_label_turns_at_the_threshold(p: float, label: Label, confidence: float) -> None:
    (prediction,) = make_spec().judge(np.array([[1.0 - p, p, 0.0]]))
    assert prediction.label is label
    assert prediction.confidence == pytest.approx(confidence)
    assert prediction.p_pneumonia == pytest.approx(p)


def test_the_cause_is_the_likelier_one_and_only_named_for_pneumonia() -> None:
    viral, healthy = make_spec().judge(np.array([[0.1, 0.3, 0.6], [0.9, 0.06, 0.04]]))
    assert viral.cause is ImageClass.VIRAL
    assert healthy.cause is None
    assert viral.probabilities == pytest.approx({"normal": 0.1, "bacterial": 0.3, "viral": 0.6})


def test_a_model_that_tells_no_causes_names_none() -> None:
    (prediction,) = make_spec(classes=("normal", "pneumonia")).judge(np.array([[0.1, 0.9]]))
    assert prediction.label is Label.PNEUMONIA
    assert prediction.cause is None


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ("bacterial", "viral")},
        {"classes": ("normal",)},
        {"classes": ("normal", "viral", "viral")},
        {"temperature": 0},
        {"threshold": 1},
        {"sha256": "abc"},
        {"name": "../models"},
        {"resize": "crop"},
        {"surprise": 1},
        {"bias": float("nan")},
        {"temperature": float("inf")},
        {"precision": "int4"},
        {"members": ({"name": "../other", "weight": 1},)},
        {"members": ({"name": "..", "weight": 1},)},
        {"members": ({"name": "other", "weight": 0},)},
        {"members": ({"name": "other", "weight": float("inf")},)},
        {"members": ({"name": "other", "weight": 1}, {"name": "other", "weight": 2})},
        {"members": ({"name": "test-model", "weight": 1},)},
    ],
    ids=str,
)
def test_a_spec_that_makes_no_sense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        make_spec(**changes)


def test_a_folder_is_read_back_as_written(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one", make_spec())
    spec = read_spec(folder)
    assert spec == make_spec()
    assert spec.version == f"test-model@{FIELDS['sha256'][:12]}"
    assert verify_weights(folder, spec) == folder / "model.keras"
    assert list_models(tmp_path) == [spec]


def test_every_committed_spec_reads() -> None:
    assert "compact-cnn" in [spec.name for spec in list_models(COMMITTED)]


def test_a_spec_from_before_precision_and_members_still_reads(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "old", make_spec())
    fields = json.loads((folder / "spec.json").read_text())
    for newer in ("bias", "site", "former", "precision", "members"):
        del fields[newer]
    (folder / "spec.json").write_text(json.dumps(fields))
    assert read_spec(folder) == make_spec()


def test_an_ensemble_is_whole_while_every_member_is(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_folder(tmp_path / name, make_spec(name=name))
    members = (Member(name="one", weight=2), Member(name="other", weight=1))
    digest = ensemble_sha256(members, [make_spec(), make_spec()])
    ensemble = make_spec(name="both", members=members, sha256=digest)
    assert verify_weights(tmp_path / "both", ensemble) == tmp_path / "both"
    (tmp_path / "other" / "model.keras").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelUnavailable, match=r"'other': model\.keras is not the file"):
        verify_weights(tmp_path / "both", ensemble)
    changed = make_spec(name="other", sha256=hashlib.sha256(WEIGHTS + b"!").hexdigest())
    (tmp_path / "other" / "spec.json").write_text(changed.model_dump_json())
    with pytest.raises(ModelUnavailable, match="'both': its members are not those"):
        verify_weights(tmp_path / "both", ensemble)


@pytest.mark.parametrize(
    "changes",
    [{"name": "c"}, {"weight": 2.0}, {"temperature": 1.1}, {"bias": 0.1}],
    ids=lambda pair: next(iter(pair)),
)
def test_everything_that_an_ensemble_answers_from_is_in_its_digest(changes: dict[str, object]) -> None:
    fields = {"name": "a", "weight": 1.0}
    before, after = Member.model_validate(fields), Member.model_validate(fields | changes)
    assert ensemble_sha256([before], [make_spec()]) != ensemble_sha256([after], [make_spec()])
    assert ensemble_sha256([before], [make_spec()]) != ensemble_sha256([before], [make_spec(sha256="0" * 64)])


@pytest.mark.parametrize("name", ["two", "..", "../models/one", "", "."])
def test_an_unknown_model_is_answered_with_those_there_are(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path / "one", make_spec())
    assert find_model(tmp_path, "one") == folder
    with pytest.raises(ModelUnavailable, match=r"There is no model .* There is: one\."):
        find_model(tmp_path, name)


def test_a_spec_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "spec.json").mkdir()
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        read_spec(tmp_path)


def test_changed_weights_are_refused_also_after_a_first_good_look(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one", make_spec())
    verify_weights(folder, make_spec())
    (folder / "model.keras").write_bytes(WEIGHTS + b"!")
    with pytest.raises(ModelUnavailable, match=r"Expected sha256 .* received"):
        verify_weights(folder, make_spec())


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "one", make_spec())
    (folder / "model.keras").unlink()
    with pytest.raises(ModelUnavailable, match=r"'test-model' has no model\.keras"):
        verify_weights(folder, make_spec())


def test_a_missing_spec_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"has no spec\.json"):
        read_spec(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", json.dumps({"name": "half"})], ids=["empty", "cut", "list", "half"])
def test_a_damaged_spec_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "spec.json").write_text(damage)
    with pytest.raises(ModelUnavailable, match="damaged"):
        read_spec(tmp_path)


def test_no_models_folder_means_no_models(tmp_path: Path) -> None:
    assert list_models(tmp_path / "absent") == []
