"""What `calibrate` and `adapt` keep: nothing of a run that another one has overtaken, and no card without a note."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cli.errors import CommandFailed
from cli.models.rewriting import keep, undo_last
from evaluation.calibrate import flag_share, write_spec
from shared.activations.activate import Actor, put_threshold
from shared.activations.in_force import spec_in_force
from shared.db import Database
from shared.models.folder import SPEC_FILE, read_spec
from shared.models.spec import ModelSpec
from web.models.card import render_card

pytestmark = pytest.mark.lab

P = np.random.default_rng(0).random(200)


@pytest.fixture
def place(tmp_path: Path, spec: ModelSpec) -> Path:
    place = tmp_path / "models" / spec.name
    place.mkdir(parents=True)
    (place / SPEC_FILE).write_text(spec.model_dump_json())
    return place


def change(place: Path, fresh: ModelSpec) -> None:
    keep(place, fresh, out=None, in_place=True, dry_run=False)


def test_of_two_runs_at_the_same_time_the_later_changes_nothing(place: Path, spec: ModelSpec) -> None:
    first, second = (flag_share(spec, P, share, "images") for share in (0.3, 0.5))
    change(place, first)
    with pytest.raises(CommandFailed, match="'test-model' was changed meanwhile"):
        change(place, second)
    assert read_spec(place) == first


def test_of_two_runs_that_write_at_once_one_is_kept_and_the_other_told(place: Path, spec: ModelSpec) -> None:
    fresh = [flag_share(spec, P, share, "images") for share in (0.2, 0.3, 0.4, 0.5)]

    def try_change(one: ModelSpec) -> bool:
        try:
            change(place, one)
        except CommandFailed:
            return False
        return True

    for _ in range(20):
        write_spec(place, spec)
        with ThreadPoolExecutor(len(fresh)) as threads:
            assert sum(threads.map(try_change, fresh)) == 1


def test_a_copy_leaves_out_what_a_killed_command_left(place: Path, spec: ModelSpec, tmp_path: Path) -> None:
    (place / ".spec.json-killed").write_text("{")
    out = tmp_path / "models" / "our-site"
    keep(place, flag_share(spec, P, 0.3, "images"), out=out, in_place=False, dry_run=False)
    assert [path.name for path in out.iterdir()] == [SPEC_FILE]


def test_a_threshold_chosen_in_a_database_ends_with_its_calibration_and_that_is_said(
    place: Path, spec: ModelSpec, sqlite_database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite_database.write() as session:
        put_threshold(session, Actor("os:ada"), spec, 0.2)

    def in_force() -> float:
        with sqlite_database.read() as session:
            return spec_in_force(session, read_spec(place)).threshold

    fresh = flag_share(spec, P, 0.3, "images")
    change(place, fresh)
    assert "A threshold that was chosen in a database was of the calibration before" in capsys.readouterr().out
    assert in_force() == fresh.threshold
    undo_last(place, dry_run=False, out=None, has_images=False)
    assert "chosen in a database for this calibration is in force again" in capsys.readouterr().out
    assert in_force() == 0.2


def test_a_run_whose_start_was_taken_back_changes_nothing(place: Path, spec: ModelSpec) -> None:
    first = flag_share(spec, P, 0.3, "images")
    change(place, first)
    second = flag_share(read_spec(place), P, 0.5, "images")
    undo_last(place, dry_run=False, has_images=False, out=None)
    with pytest.raises(CommandFailed, match="'test-model' was changed meanwhile"):
        change(place, second)
    assert read_spec(place) == spec


def test_runs_one_after_the_other_are_all_kept(place: Path, spec: ModelSpec) -> None:
    for share in (0.3, 0.5):
        change(place, flag_share(read_spec(place), P, share, "images"))
    for _ in range(2):
        undo_last(place, dry_run=False, has_images=False, out=None)
    assert read_spec(place) == spec


def test_a_copied_card_says_of_which_calibration_its_figures_are(place: Path, spec: ModelSpec) -> None:
    (place / "card.md").write_text("# test-model\n\nSensitivity 95 % at 0.4.\n")
    fresh = flag_share(spec, P, 0.3, "images")
    out = place.parent / "our-site"
    keep(place, fresh, out=out, in_place=False, dry_run=False)
    note = "The figures below are of the calibration of the training, with the threshold 0.4. This copy was written"
    said = f"# test-model\n\n> **Calibrated anew.** {note} with the threshold {fresh.threshold:g}.\n"
    assert (out / "card.md").read_text().startswith(said)
    assert (place / "card.md").read_text() == "# test-model\n\nSensitivity 95 % at 0.4.\n"
    shown = str(render_card(out))
    assert shown.startswith("<blockquote>\n<p><strong>Calibrated anew.</strong> The figures below")
    assert "<p>Sensitivity 95 % at 0.4.</p>" in shown


def test_a_copy_of_a_copy_has_one_note(place: Path, spec: ModelSpec) -> None:
    (place / "card.md").write_text("Figures without a heading.\n")
    once, twice = place.parent / "once", place.parent / "twice"
    keep(place, flag_share(spec, P, 0.3, "images"), out=once, in_place=False, dry_run=False)
    keep(once, flag_share(read_spec(once), P, 0.5, "images"), out=twice, in_place=False, dry_run=False)
    card = (twice / "card.md").read_text()
    assert card.count("Calibrated anew") == 1
    assert "of the training, with the threshold 0.4. This" in card
    assert f"with the threshold {read_spec(twice).threshold:g}." in card
    assert "Figures without a heading." in card


def test_a_copy_of_a_model_without_a_card_has_none(place: Path, spec: ModelSpec) -> None:
    keep(place, flag_share(spec, P, 0.3, "images"), out=place.parent / "bare", in_place=False, dry_run=False)
    assert [path.name for path in (place.parent / "bare").iterdir()] == [SPEC_FILE]


def test_copied_figures_say_with_which_calibration_they_were_measured(place: Path, spec: ModelSpec) -> None:
    brought = {"validation": {"threshold": 0.4, "recall": 0.95}}
    (place / "metrics.json").write_text(json.dumps(brought))
    once, twice = place.parent / "once", place.parent / "twice"
    keep(place, flag_share(spec, P, 0.3, "images"), out=once, in_place=False, dry_run=False)
    keep(once, flag_share(read_spec(once), P, 0.5, "images"), out=twice, in_place=False, dry_run=False)
    figures = json.loads((twice / "metrics.json").read_text())
    assert list(figures) == ["calibrated_anew", "validation"]
    said = figures.pop("calibrated_anew")
    assert figures == brought
    assert said["measured_with"] == {"temperature": 1.5, "bias": 0.0, "threshold": 0.4}
    assert said["note"].endswith(f"This copy was written with the threshold {read_spec(twice).threshold:g}.")
    assert json.loads((place / "metrics.json").read_text()) == brought
