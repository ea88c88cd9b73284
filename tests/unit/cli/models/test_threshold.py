"""`threshold`: a chosen threshold is in force with its history and its record, or nothing is changed."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from cli.main import main
from shared.activations.in_force import spec_in_force
from shared.db import Database
from shared.models.folder import SPEC_FILE, read_spec
from shared.models.spec import Label, ModelSpec, Site
from shared.tables import AuditEvent


@pytest.fixture
def place(tmp_path: Path, migrated_sqlite: Path, spec: ModelSpec) -> Path:
    """A data folder with a database, and a folder of models beside it."""
    shutil.copyfile(migrated_sqlite, tmp_path / "pneumoscreen.db")
    place = tmp_path / "models" / spec.name
    place.mkdir(parents=True)
    (place / SPEC_FILE).write_text(spec.model_dump_json())
    return place


def call(place: Path, *arguments: str, data: str = ".") -> Result:
    root = place.parents[1]
    options = ("--models-dir", str(place.parent), "--data-dir", str(root / data))
    return CliRunner().invoke(main, ["threshold", place.name, *arguments, *options])


def events(place: Path) -> list[AuditEvent]:
    database = Database(f"sqlite:///{place.parents[1] / 'pneumoscreen.db'}")
    with database.read() as session:
        found = list(session.scalars(select(AuditEvent).order_by(AuditEvent.sequence)))
    database.close()
    return found


def in_force(place: Path) -> ModelSpec:
    database = Database(f"sqlite:///{place.parents[1] / 'pneumoscreen.db'}")
    with database.read() as session:
        spec = spec_in_force(session, read_spec(place))
    database.close()
    return spec


def test_a_threshold_is_put_in_force_and_taken_back_on_record(place: Path, spec: ModelSpec) -> None:
    assert call(place, "0.2").output == (
        "The threshold of 'test-model' is 0.2, it was 0.4. Take it back with --undo.\n"
    )
    chosen = in_force(place)
    assert (chosen.threshold, chosen.threshold_rule) == (0.2, "Chosen by hand")
    assert [one.threshold for one in chosen.former] == [0.4]
    assert (chosen.temperature, chosen.bias) == (spec.temperature, spec.bias)
    assert chosen.identity != spec.identity, "what answers is another, so that no label is changed afterwards"
    assert read_spec(place) == spec, "the folder is as it was"
    call(place, "0.3")
    for expected in (0.2, 0.4):
        assert call(place, "--undo").exit_code == 0
        assert in_force(place).threshold == expected
    assert in_force(place) == spec
    found = events(place)
    assert [event.action for event in found] == ["threshold_changed"] * 4
    assert found[0].detail == {"model": chosen.version, "threshold": "0.2", "before": "0.4"}
    assert (found[0].actor or "").startswith("os:")


@pytest.mark.parametrize("value", ["nan", "inf", "0", "1", "-0.5", "half"])
def test_what_is_no_threshold_is_refused_and_changes_nothing(place: Path, spec: ModelSpec, value: str) -> None:
    refused = call(place, "--", value)
    assert refused.exit_code == 2
    assert value in refused.output
    assert in_force(place) == spec


@pytest.mark.parametrize(
    "command",
    [
        ("calibrate", "--sensitivity", "nan"),
        ("adapt", "--flagged", "nan"),
        ("evaluate", "--prevalence", "nan"),
    ],
)
def test_no_option_takes_what_is_not_a_number(command: tuple[str, ...]) -> None:
    refused = CliRunner().invoke(main, [*command, "."])
    assert refused.exit_code == 2
    assert "'nan' is not a number within the bounds." in refused.output


def test_without_a_value_all_thresholds_are_listed_and_nothing_is_changed(place: Path) -> None:
    call(place, "0.2")
    said = call(place).output
    assert said.index("0.4") < said.index("0.2")
    assert in_force(place).threshold == 0.2
    assert len(events(place)) == 1


@pytest.mark.parametrize(
    ("arguments", "data", "said"),
    [
        (("0.4",), ".", "0.4 is in force already"),
        (("1",), ".", "1.0 is not in the range 0<x<1"),
        (("0.2", "--undo"), ".", "Give a VALUE or --undo, not both."),
        (("--undo",), ".", "so there is none to restore."),
        (("0.2",), "elsewhere", "There is no database at"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    place: Path, spec: ModelSpec, arguments: tuple[str, ...], data: str, said: str
) -> None:
    result = call(place, *arguments, data=data)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert in_force(place) == spec
    assert events(place) == []


def test_another_calibration_of_the_folder_has_its_own_threshold(place: Path, spec: ModelSpec) -> None:
    call(place, "0.2")
    fitted_at = datetime(2026, 11, 28, tzinfo=UTC)
    site = Site(folder="night", images={Label.NORMAL: 40, Label.PNEUMONIA: 40}, fitted_at=fitted_at)
    fresh = spec.model_copy(update={"temperature": 2.0, "threshold": 0.6, "site": site})
    (place / SPEC_FILE).write_text(fresh.model_dump_json())
    assert in_force(place) == fresh, "0.2 was chosen for other probabilities"
    (place / SPEC_FILE).write_text(spec.model_dump_json())
    assert in_force(place).threshold == 0.2


def test_where_the_record_cannot_be_kept_the_threshold_stays(place: Path, spec: ModelSpec) -> None:
    database = Database(f"sqlite:///{place.parents[1] / 'pneumoscreen.db'}")
    with database.engine.connect() as connection:
        connection.execute(
            text("CREATE TRIGGER no_more BEFORE INSERT ON audit_events BEGIN SELECT RAISE(ABORT, 'no room'); END")
        )
        connection.commit()
    database.close()
    result = call(place, "0.2")
    assert (result.exit_code, "The database did not do this: no room" in result.output) == (2, True)
    assert in_force(place) == spec
