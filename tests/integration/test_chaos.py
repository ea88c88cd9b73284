"""The short form of `make chaos`: the real stack, hurt a few times, every image accounted for."""

import hashlib
import json
from pathlib import Path

import click
import numpy as np
import pytest
from rich.console import Console
from sqlalchemy import update

from chaos.__main__ import choose
from chaos.campaign import Line, Outcome, Plan, run
from chaos.images import PICTURES, Pictures
from chaos.injector import POISON
from chaos.ledger import Account, Ledger
from chaos.load import Accepted
from chaos.report import as_json, as_markdown, show, write_into
from chaos.stack import Timing
from shared.accounts import users
from shared.db import Database, now
from shared.intake.accept import AcceptedImage, Received
from shared.models.spec import ModelSpec
from shared.queue import jobs, leases
from shared.queue.leases import Outcome as ImageOutcome
from shared.settings import PREFIX
from shared.states import State
from shared.tables import Priority, Role, Screening, Source, User
from tests.conftest import GRAPHS

pytestmark = pytest.mark.timeout(600)

TIMING = Timing(lease=2.0, sweep=0.5, image=0.01)


def test_every_image_has_one_outcome_whatever_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills at exact points of the worker and the web, and a Redis that forgets all."""
    monkeypatch.setenv(f"{PREFIX}GRAPHS_DIR", str(GRAPHS))
    faults = choose(("between write and acknowledgement", "between commit and response", "Redis flushed"))
    plan = Plan("embedded", faults, times_alone=1, times_random=0, images=200, seed=7, timing=TIMING)
    said: list[str] = []
    outcome = run(plan, said.append)
    account = outcome.total.account
    assert (account.lost, account.duplicated, account.wrong, account.failed) == (0, 0, 0, 0), account.notes
    assert account.images >= 3 * 20
    assert [line.times for line in outcome.lines] == [1, 1, 1]
    assert len(said) == 3


@pytest.mark.long
def test_malformed_messages_on_redis_and_an_unreadable_file_hold_up_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"{PREFIX}GRAPHS_DIR", str(GRAPHS))
    faults = choose(("malformed messages", "image unreadable"))
    plan = Plan("embedded", faults, times_alone=1, times_random=1, images=100, seed=7, timing=TIMING)
    outcome = run(plan, lambda _line: None)
    account = outcome.total.account
    assert (account.lost, account.duplicated, account.wrong, account.failed) == (0, 0, 0, 0), account.notes
    assert [line.times for line in outcome.lines] == [1, 1]


# ---------------------------------------------------------------- the account itself can fail


class Screened:
    """A database in which the pictures have their answers, and images on top."""

    def __init__(self, database: Database, spec: ModelSpec, user: User) -> None:
        self.database, self.spec, self.user = database, spec, user
        self.pictures = Pictures(seed=1)
        self.ledger = Ledger(database)
        with database.write() as session:
            self.model_id = leases.register_model(session, self.spec)
        self.screen({image.name: image.picture for image in self.pictures.plain()})
        self.ledger.learn_answers()

    def submit(self, names: list[str]) -> None:
        images = [
            Received(name, image=AcceptedImage(hashlib.sha256(name.encode()).hexdigest(), 1, 64, 64, "image/png"))
            for name in names
        ]
        with self.database.write() as session:
            job = jobs.open_job(
                session,
                user_id=self.user.id,
                name="j",
                source=Source.API,
                model_name=self.spec.name,
                priority=Priority.BULK,
            )
            jobs.add_images(session, job.id, images, self.spec)

    def screen(self, pictures: dict[str, int]) -> None:
        """Submit images and answer each as its picture is due."""
        self.submit(list(pictures))
        due = {hashlib.sha256(name.encode()).hexdigest(): picture for name, picture in pictures.items()}
        while (lease := self.claim()) is not None:
            logits = [[0.0, due[image.sha256] / PICTURES * 4 - 2, 0.0] for image in lease.screenings]
            predictions = self.spec.judge(self.spec.calibrate(np.array(logits)))
            outcomes = [ImageOutcome(f, prediction=v) for f, v in zip(lease.screenings, predictions, strict=True)]
            with self.database.write() as session:
                leases.finish(session, lease, outcomes, model_id=self.model_id, threshold=0.5, worker="w")

    def claim(self) -> leases.Claim | None:
        with self.database.write() as session:
            return leases.claim(
                session,
                model_id=self.model_id,
                model_name=self.spec.name,
                limit=100,
                worker="w",
                lease_seconds=60.0,
            )

    def account(self, *images) -> Account:
        return self.ledger.close([Accepted(image, "a fault") for image in images])["a fault"]


@pytest.fixture
def screened(sqlite_database: Database, spec: ModelSpec) -> Screened:
    with sqlite_database.write() as session:
        user = users.add_user(session, "tina", Role.TECHNICIAN)
    return Screened(sqlite_database, spec, user)


def test_an_image_with_its_expected_answer_is_correct(screened: Screened) -> None:
    image = screened.pictures.image()
    screened.screen({image.name: image.picture})
    assert screened.account(image) == Account(images=1)


def test_an_image_without_a_row_is_lost(screened: Screened) -> None:
    account = screened.account(screened.pictures.image())
    assert (account.lost, account.duplicated, account.wrong) == (1, 0, 0)


def test_an_image_without_an_outcome_is_lost(screened: Screened) -> None:
    image = screened.pictures.image()
    screened.submit([image.name])
    assert screened.account(image).lost == 1


def test_an_image_with_two_rows_is_duplicated(screened: Screened) -> None:
    image = screened.pictures.image()
    for _ in range(2):
        screened.submit([image.name])
    assert screened.account(image).duplicated == 1


def test_the_answer_of_another_image_is_wrong(screened: Screened) -> None:
    image = screened.pictures.image()
    screened.screen({image.name: image.picture + 1})
    assert screened.account(image).wrong == 1


def test_an_outcome_that_changes_after_it_was_written_is_wrong(screened: Screened) -> None:
    image = screened.pictures.image()
    screened.screen({image.name: image.picture})
    screened.ledger.look()
    with screened.database.write() as session:
        session.execute(update(Screening).where(Screening.file_name == image.name).values(finished_at=now()))
    assert screened.account(image).wrong == 1


def test_a_poison_image_that_is_answered_is_wrong(screened: Screened) -> None:
    image = screened.pictures.image(poison=True)
    assert image.data.endswith(POISON)
    screened.screen({image.name: image.picture})
    assert screened.account(image).wrong == 1


def test_an_image_that_failed_has_an_outcome_and_is_counted(screened: Screened) -> None:
    image = screened.pictures.image()
    screened.submit([image.name])
    with screened.database.write() as session:
        session.execute(update(Screening).where(Screening.file_name == image.name).values(state=State.FAILED))
    assert screened.account(image) == Account(images=1, failed=1, notes=[f"{image.name}: FAILED: None None"])


def test_every_image_is_another_content_and_pictures_recur() -> None:
    pictures = Pictures(seed=3)
    images = [pictures.image() for _ in range(2 * PICTURES)]
    assert len({image.data for image in images}) == 2 * PICTURES
    assert images[0].picture == images[PICTURES].picture


# ---------------------------------------------------------------- the table


def made_outcome(lost: int) -> Outcome:
    plan = Plan("postgres", choose(("flushed",)), 1, 0, 10, 3, TIMING)
    lines = [
        Line("Redis flushed", 2, [0.5, 1.5], None, Account(images=10, lost=lost)),
        Line("disk full", 0, [], "no disk of our own"),
    ]
    return Outcome(plan, lines, {507: 2}, 0, 60.0)


@pytest.mark.parametrize(("lost", "is_clean"), [(0, True), (1, False)])
def test_a_lost_image_makes_a_run_unclean(lost: int, is_clean: bool) -> None:
    assert made_outcome(lost).is_clean is is_clean
    assert json.loads(as_json([made_outcome(lost)]))["runs"][0]["is_clean"] is is_clean


def test_the_table_says_what_was_found_and_what_was_skipped(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("Before.\n<!-- chaos -->\nold\n<!-- /chaos -->\nAfter.\n")
    for _ in range(2):
        write_into(document, as_markdown([made_outcome(0)], "make chaos"))
    text = document.read_text()
    assert "| Redis flushed | 2 | 10 | 0 | 0 | 0 | 0 | 1.0 s | 1.5 s |" in text
    assert "| disk full (skipped: no disk of our own) | 0 |" in text
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert text.count("Redis flushed") == 1
    assert "old" not in text
    console = Console(record=True, width=200)
    show(made_outcome(0), console)
    assert "2 x 507" in console.export_text()


def test_faults_are_chosen_by_their_names() -> None:
    assert [fault.name for fault in choose(("flushed",))] == ["Redis flushed"]
    with pytest.raises(click.UsageError, match="The faults are:"):
        choose(("no such fault",))
