"""What `calibrate` and `adapt` keep: nothing of a run that another one has overtaken."""

from pathlib import Path

import numpy as np
import pytest

from cli.errors import CommandFailed
from cli.models.rewriting import keep, undo_last
from evaluation.calibrate import flag_share
from shared.models.folder import SPEC_FILE, read_spec
from shared.models.spec import ModelSpec

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


def test_a_run_whose_start_was_taken_back_changes_nothing(place: Path, spec: ModelSpec) -> None:
    first = flag_share(spec, P, 0.3, "images")
    change(place, first)
    second = flag_share(read_spec(place), P, 0.5, "images")
    undo_last(place, dry_run=False)
    with pytest.raises(CommandFailed, match="'test-model' was changed meanwhile"):
        change(place, second)
    assert read_spec(place) == spec


def test_runs_one_after_the_other_are_all_kept(place: Path, spec: ModelSpec) -> None:
    for share in (0.3, 0.5):
        change(place, flag_share(read_spec(place), P, share, "images"))
    for _ in range(2):
        undo_last(place, dry_run=False)
    assert read_spec(place) == spec
