"""Calibration on a site's images: what is fitted, what is refused, what can be taken back."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation import calibrate
from evaluation.errors import DataUnusable
from evaluation.labelled import read_images
from evaluation.metrics import calibration_error
from shared.models.folder import read_spec
from shared.models.spec import Label, ModelSpec
from tests.conftest import draw, encode

pytestmark = pytest.mark.lab

TRUTH = np.arange(400) % 4 == 0


def logits_of(log_odds: np.ndarray) -> np.ndarray:
    """Three-class logits in which the two causes share the log-odds of pneumonia evenly."""
    half = log_odds - np.log(2)
    return np.stack([np.zeros_like(half), half, half], axis=1)


def log_odds_of_images(truth: np.ndarray, seed: int = 0) -> np.ndarray:
    """Log-odds that are right as they stand: images of two normal distributions with their true prior."""
    x = np.random.default_rng(seed).normal(np.where(truth, 1.0, -1.0), 1.0)
    return 2 * x + np.log(truth.mean() / (1 - truth.mean()))


def test_a_scale_and_a_shift_of_the_log_odds_are_found_again(spec: ModelSpec) -> None:
    right = log_odds_of_images(TRUTH)
    # At temperature T the halves' share of ln 2 shrinks too; the bias takes that up.
    temperature, bias = calibrate.fit_temperature_and_bias(spec, logits_of(3.0 * right + 2.0), TRUTH)
    assert temperature == pytest.approx(3.0, rel=0.25)
    assert bias == pytest.approx(-2 / 3 - (np.log(2) - np.log(2) / 3), abs=0.4)


def test_a_model_that_is_far_off_is_not_made_unsure_instead(spec: ModelSpec) -> None:
    wrong = logits_of(3.0 * (log_odds_of_images(TRUTH) - 5.0))
    temperature, bias = calibrate.fit_temperature_and_bias(spec, wrong, TRUTH)
    fitted = spec.model_copy(update={"temperature": temperature, "bias": bias})
    assert temperature == pytest.approx(3.0, rel=0.25), "and not 10, the highest"
    assert calibration_error(TRUTH, fitted.p_pneumonia(fitted.calibrate(wrong))) < 0.05


def test_calibrated_probabilities_hold(spec: ModelSpec) -> None:
    wrong = logits_of(0.3 * log_odds_of_images(TRUTH) - 1.5)
    fresh = calibrate.recalibrate(spec, wrong, TRUTH, 0.95, "site")
    before, after = (one.p_pneumonia(one.calibrate(wrong)) for one in (spec, fresh))
    assert calibration_error(TRUTH, after) < 0.05 < calibration_error(TRUTH, before)
    assert after.mean() == pytest.approx(TRUTH.mean(), abs=0.01)
    assert (after >= fresh.threshold)[TRUTH].mean() == pytest.approx(0.95, abs=0.01)


def test_images_that_are_told_apart_perfectly_do_not_make_it_perfectly_sure(spec: ModelSpec) -> None:
    truth = np.arange(60) < 30
    logits = logits_of(np.where(truth, 3.0, -3.0))
    fresh = calibrate.recalibrate(spec, logits, truth, 1.0, "site")
    p = fresh.p_pneumonia(fresh.calibrate(logits))
    assert p[truth] == pytest.approx(np.full(30, 31 / 32), abs=0.005)
    assert p[~truth] == pytest.approx(np.full(30, 1 / 32), abs=0.005)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (np.arange(59) < 30, "29 NORMAL and 30 PNEUMONIA"),
        (np.arange(200) < 29, "171 NORMAL and 29 PNEUMONIA"),
        (np.ones(100, bool), "0 NORMAL and 100 PNEUMONIA"),
    ],
    ids=["few normal", "few pneumonia", "one class"],
)
def test_too_few_images_are_refused(spec: ModelSpec, truth: np.ndarray, words: str) -> None:
    with pytest.raises(DataUnusable, match=words):
        calibrate.recalibrate(spec, np.zeros((len(truth), 3)), truth, 0.99, "site")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty files of each class, all of a class copies of one image."""
    for seed, name in enumerate(Label):
        (tmp_path / name).mkdir()
        for number in range(30):
            (tmp_path / name / f"{number}.png").write_bytes(encode(draw(seed), "PNG"))
    return tmp_path


def test_copies_of_an_image_count_once(folder: Path, spec: ModelSpec) -> None:
    with pytest.raises(DataUnusable, match="1 NORMAL and 1 PNEUMONIA that can be read, copies counted once"):
        calibrate.check_contents(read_images(folder, spec))


def test_thirty_images_of_each_class_with_copies_are_enough(folder: Path, spec: ModelSpec) -> None:
    images = read_images(folder, spec)
    several = [f"{truth}-{n % 29}" for n, truth in enumerate(images.truth)]
    with pytest.raises(DataUnusable, match="29 NORMAL and 29 PNEUMONIA"):
        calibrate.check_contents(replace(images, digests=tuple(several)))
    calibrate.check_contents(replace(images, digests=tuple(map(str, range(60)))))


def test_an_image_with_both_labels_is_refused(folder: Path, spec: ModelSpec) -> None:
    (folder / "PNEUMONIA" / "again.png").write_bytes((folder / "NORMAL" / "0.png").read_bytes())
    with pytest.raises(DataUnusable, match=r"NORMAL/0\.png and PNEUMONIA/again\.png are one image with both labels"):
        calibrate.check_contents(read_images(folder, spec))


def test_images_ranked_the_wrong_way_round_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(DataUnusable, match="mistaken for each other"):
        calibrate.recalibrate(spec, logits_of(-log_odds_of_images(TRUTH)), TRUTH, 0.99, "site")


def test_every_calibration_can_be_taken_back_in_turn(spec: ModelSpec) -> None:
    once = calibrate.recalibrate(spec, logits_of(log_odds_of_images(TRUTH)), TRUTH, 0.99, "first")
    twice = calibrate.recalibrate(once, logits_of(log_odds_of_images(TRUTH, 1)), TRUTH, 0.995, "second")
    assert [former.site and former.site.folder for former in twice.former] == [None, "first"]
    assert twice.site is not None
    assert twice.site.images == {Label.NORMAL: 300, Label.PNEUMONIA: 100}
    assert "at least 99.5% of" in twice.threshold_rule
    assert calibrate.undo(twice) == once
    assert calibrate.undo(once) == spec
    with pytest.raises(DataUnusable, match="nothing to undo"):
        calibrate.undo(spec)


def test_a_spec_is_written_whole_or_not_at_all(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibrate.write_spec(tmp_path, spec)
    assert read_spec(tmp_path) == spec
    assert stat.S_IMODE((tmp_path / "spec.json").stat().st_mode) == 0o644
    written = (tmp_path / "spec.json").read_bytes()

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("evaluation.calibrate.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        calibrate.write_spec(tmp_path, spec.model_copy(update={"threshold": 0.9}))
    assert (tmp_path / "spec.json").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["spec.json"]
    assert json.loads(written)["former"] == []
