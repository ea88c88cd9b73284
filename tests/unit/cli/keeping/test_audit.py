"""`pneumoscreen audit` on a database of its own: list, verify, export, head, and who acted at the command line."""

import csv
import json
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from cli.actor import operating_user
from cli.main import main
from migrations.schema import upgrade
from shared.audit.record import Action, record
from shared.db import Database

Call = Callable[..., Result]
ROWS = 3


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'pneumoscreen.db'}")
    upgrade(database)
    for n in range(ROWS):
        with database.write() as session:
            record(session, Action.IMAGE_VIEWED, user_id=None, actor=f"=person {n}", subject=f"image {n}")
    yield database
    database.close()


@pytest.fixture
def call(rows: Database, tmp_path: Path) -> Call:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["audit", "--data-dir", str(tmp_path), *arguments])

    return run


def tamper(database: Database, statement: str) -> None:
    with database.write() as session:
        for trigger in ("audit_events_update", "audit_events_delete", "audit_heads_update"):
            session.execute(text(f"DROP TRIGGER {trigger}"))
        session.execute(text(statement))


def test_a_whole_trail_is_said_to_be_whole(call: Call) -> None:
    head = call("head").output.strip()
    assert head.startswith(f"{ROWS}:")
    for arguments in ([], ["--head", head]):
        result = call("verify", *arguments)
        assert result.exit_code == 0
        assert result.output == f"The audit trail is whole: {ROWS} rows. Head: {head}\n"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE audit_events SET actor = 'nobody' WHERE sequence = 2", "Row 2 was edited"),
        ("DELETE FROM audit_events WHERE sequence = 2", "Row 2 was removed"),
        ("DELETE FROM audit_events WHERE sequence >= 2", "Rows 2 to 3 were removed"),
        ("UPDATE audit_events SET sequence = 9 WHERE sequence = 1", "Row 1 was removed"),
    ],
)
def test_a_broken_trail_is_told_by_its_first_row(call: Call, rows: Database, statement: str, said: str) -> None:
    tamper(rows, statement)
    result = call("verify")
    assert result.exit_code == 1
    assert result.output.startswith(f"The audit trail is broken. {said}")


def test_an_end_that_was_cut_with_its_head_shows_by_the_head_that_was_kept(call: Call, rows: Database) -> None:
    kept = call("head").output.strip()
    tamper(rows, "DELETE FROM audit_events WHERE sequence = 3")
    with rows.write() as session:
        session.execute(
            text("UPDATE audit_heads SET sequence = 2, hash = (SELECT hash FROM audit_events WHERE sequence = 2)")
        )
    assert call("verify").exit_code == 0
    cut = call("verify", "--head", kept)
    assert cut.exit_code == 1
    assert "Row 3 was removed" in cut.output


@pytest.mark.parametrize("head", ["", "3", "3:abc", "x:" + "0" * 64, "3:" + "A" * 64])
def test_a_malformed_head_is_told(call: Call, head: str) -> None:
    result = call("verify", f"--head={head}x")
    assert result.exit_code == 2
    assert "audit head" in result.output


def test_an_export_holds_what_is_filtered_and_is_on_record_itself(call: Call, tmp_path: Path) -> None:
    table, objects = tmp_path / "trail.csv", tmp_path / "trail.json"
    assert call("export", "-o", str(table), "--subject", "image 1").exit_code == 0
    with table.open(newline="") as file:
        assert [(row["sequence"], row["actor"]) for row in csv.DictReader(file)] == [("2", "'=person 1")]
    assert call("export", "-o", str(objects)).exit_code == 0
    events = json.loads(objects.read_text())["events"]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5]
    assert events[3]["action"] == "audit_exported"
    assert events[3]["actor"] == operating_user()
    assert events[3]["detail"] == {"format": "csv", "subject": "image 1"}
    assert "user_id" not in events[3]
    assert "address" not in events[3]


def test_an_empty_export_is_a_whole_file(call: Call, tmp_path: Path) -> None:
    for name, content in (("none.json", '{"events": [\n\n]}\n'), ("none.csv", None)):
        assert call("export", "-o", str(tmp_path / name), "--person", "nobody").exit_code == 0
        written = (tmp_path / name).read_text()
        assert written == content if content else len(written.splitlines()) == 1


@pytest.mark.parametrize("output", ["trail.txt", "trail", "no-folder-can-stand-under/pneumoscreen.db/trail.csv"])
def test_an_output_that_cannot_be_written_is_told(call: Call, tmp_path: Path, output: str) -> None:
    (tmp_path / "no-folder-can-stand-under").mkdir()
    (tmp_path / "no-folder-can-stand-under" / "pneumoscreen.db").touch()
    result = call("export", "-o", str(tmp_path / output))
    assert result.exit_code == 2
    assert output.split("/", 1)[0] in result.output
    assert call("head").output.startswith(f"{ROWS}:")


def test_the_list_shows_the_newest_first_and_narrows(call: Call) -> None:
    shown = call("list", "--limit", "2").output
    assert shown.index("image 2") < shown.index("image 1")
    assert "image 0" not in shown
    assert "image 2" not in call("list", "--person", "=person 1").output
    assert "image" not in call("list", "--until", "2020-01-31").output
    assert call("list", "--action", "nothing").exit_code == 2
    assert call("list", "--since", "today").exit_code == 2


def test_acts_at_the_command_line_name_the_operating_systems_user(rows: Database, tmp_path: Path, call: Call) -> None:
    def run(*arguments: str) -> None:
        result = CliRunner().invoke(main, [*arguments, "--data-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output

    run("users", "add", "rita", "--role", "reader")
    run("users", "role", "rita", "technician")
    run("tokens", "create", "rita")
    assert call("export", "-o", str(tmp_path / "trail.json"), "--person", operating_user()).exit_code == 0
    events = json.loads((tmp_path / "trail.json").read_text())["events"]
    assert operating_user() == f"os:{pwd.getpwuid(os.getuid()).pw_name}"
    assert [event["detail"].get("role") for event in events] == ["reader", "technician", None, None]
    assert [event["action"] for event in events] == ["user_changed", "user_changed", "token_changed", "audit_exported"]


def test_a_database_without_a_trail_is_told(tmp_path: Path) -> None:
    (tmp_path / "pneumoscreen.db").touch()
    result = CliRunner().invoke(main, ["audit", "verify", "--data-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "doctor" in result.output
