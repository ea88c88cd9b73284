"""`pneumoscreen purge`: what it reads, what it says, and that it removes nothing unless told to."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from cli.main import main
from migrations.schema import upgrade
from shared.accounts import users
from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.tables import AuditEvent, Image, Job, Role, Screening
from tests.conftest import make_store
from tests.installation import Installation


@pytest.fixture
def installation(tmp_path: Path, spec: ModelSpec) -> Installation:
    database = Database(f"sqlite:///{tmp_path / 'pneumoscreen.db'}")
    upgrade(database)
    with database.write() as session:
        user = users.add_user(session, "tina", Role.TECHNICIAN)
    installation = Installation(database, make_store(tmp_path / "store"), spec, user)
    job_id = installation.submit(b"an image of some bytes")
    installation.work()
    then = now() - timedelta(days=100)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(closed_at=then))
        session.execute(update(Screening).values(finished_at=then))
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (0, 0))
    yield installation
    database.close()


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["purge", *arguments, "--data-dir", str(tmp_path)])


def test_it_shows_what_would_go_and_removes_it_only_when_told(installation: Installation, tmp_path: Path) -> None:
    shown = run(tmp_path, "--older-than", "90d")
    assert shown.exit_code == 0, shown.output
    assert "Add --yes to remove this." in shown.output
    assert installation.count(Image) == len(installation.keys()) == 1
    done = run(tmp_path, "--older-than", "90d", "--yes")
    assert done.exit_code == 0, done.output
    assert "Removed." in done.output
    assert installation.count(Image) == len(installation.keys()) == 0
    assert "There is nothing to remove." in run(tmp_path, "--older-than", "90d").output
    with installation.database.read() as session:
        (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "job_purged")).all()
    assert event.actor.startswith("os:")


@pytest.mark.parametrize(("age", "images"), [("1y", 1), ("15w", 1), ("14w", 0), ("99d", 0), ("101d", 1)])
def test_an_age_counts_days_weeks_or_years(installation: Installation, tmp_path: Path, age: str, images: int) -> None:
    assert run(tmp_path, "--older-than", age, "--yes").exit_code == 0
    assert installation.count(Image) == images


@pytest.mark.parametrize("age", ["90", "d", "-1d", "1.5y", "soon", "99999y"])
def test_what_is_no_age_is_refused(installation: Installation, tmp_path: Path, age: str) -> None:
    result = run(tmp_path, f"--older-than={age}", "--yes")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert installation.count(Image) == 1
