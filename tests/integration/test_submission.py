"""Submissions without HTTP: what a DICOM receiver, a watched folder and a schedule call, on both databases."""

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from shared.db import Database
from shared.errors import DiskLow, JobClosed, KeyReused, QueueFull
from shared.idempotency import IdempotencyKey
from shared.intake import archive
from shared.intake.accept import Received
from shared.queue import jobs, retention
from shared.queue.tickets import queue_name
from shared.refusals import Rejection
from shared.settings import Settings
from shared.submission.admission import admit
from shared.submission.model_choice import UnknownModel, check_model
from shared.submission.services import Services, open_services
from shared.submission.submit import (
    EmptySubmission,
    Sender,
    Submission,
    add_images,
    answer_again,
    close_submission,
    find_open,
    open_submission,
    submit,
    submit_files,
)
from shared.tables import AuditEvent, Image, Job, Screening, Source, Upload, User
from tests.conftest import ROOT, draw, encode

IMAGES = [(f"{n}.jpeg", encode(draw(900 + n, (80, 80)))) for n in range(4)]
NOTES = ("notes.txt", b"no image")


@dataclass
class Tickets:
    """Notes how many screenings another transaction sees at the moment when tickets are sent."""

    database: Database
    sent: list[tuple[str, int, int]] = field(default_factory=list)

    def send(self, model: str, images: int) -> None:
        with self.database.read() as session:
            self.sent.append((model, images, session.scalar(select(func.count()).select_from(Screening)) or 0))


@pytest.fixture
def tickets(database: Database) -> Tickets:
    return Tickets(database)


@pytest.fixture
def services(settings: Settings, database: Database, tickets: Tickets) -> Services:
    services = open_services(settings, database=database, tickets=tickets)
    admit(services)  # creates the image store
    return services


@pytest.fixture
def sender(technician: User) -> Sender:
    return Sender(technician.id, address="10.0.0.7", actor="dicom:XRAY1")


def changed(services: Services, **limits: int) -> Services:
    """The same services under other limits."""
    settings = services.settings.model_copy(update=limits)
    return open_services(settings, database=services.database, store=services.store, tickets=services.tickets)


def take(services: Services, *files: tuple[str, bytes]) -> list[Received]:
    return [
        received
        for name, data in files
        for received in archive.receive(name, [data], services.store, services.settings)
    ]


def counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        tables = (Job, Screening, Image, Upload, AuditEvent)
        return {table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def names(database: Database, job_id: uuid.UUID) -> list[str]:
    rows = select(Screening.file_name).where(Screening.job_id == job_id).order_by(Screening.position)
    with database.read() as session:
        return list(session.scalars(rows))


def test_a_program_without_flask_submits_whole_and_in_parts(
    database: Database, technician: User, redis_url: str, tmp_path: Path
) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.delete(queue_name("probe"))
    files = [tmp_path / name for name, _ in (*IMAGES[:2], NOTES)]
    for path, (_, data) in zip(files, (*IMAGES[:2], NOTES), strict=True):
        path.write_bytes(data)
    url = database.engine.url.render_as_string(hide_password=False)
    arguments = [url, str(tmp_path / "probe-data"), redis_url, str(technician.id), *map(str, files)]
    probe = Path(__file__).with_name("submission_probe.py")
    run = subprocess.run(
        [sys.executable, probe, *arguments], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, check=True
    )
    found = json.loads(run.stdout)
    whole, opened = uuid.UUID(found["whole"][0]), uuid.UUID(found["in parts"][0])
    assert found["loaded"] == []
    assert found["whole"][1:] == [2, ["notes.txt"]]
    assert found["in parts"][1:] == [2, 1]
    assert found["tickets"] == 3, "one for the job of two images, one for each part that brought one"
    assert names(database, whole) == names(database, opened) == ["0.jpeg", "1.jpeg", "notes.txt"]
    with database.read() as session:
        jobs = {job.id: job for job in session.scalars(select(Job))}
        events = list(session.scalars(select(AuditEvent)))
    assert [jobs[key].source for key in (whole, opened)] == [Source.DICOM, Source.FOLDER]
    assert all(job.closed_at is not None and job.model_name == "probe" for job in jobs.values())
    traces = {(event.action, event.subject, event.user_id, event.actor, event.address) for event in events}
    assert traces == {("job_submitted", str(key), technician.id, "dicom:XRAY1", "10.0.0.7") for key in (whole, opened)}


def test_tickets_are_sent_once_others_see_the_rows(services: Services, sender: Sender, tickets: Tickets) -> None:
    receipt = submit(services, sender, Submission(Source.FOLDER), take(services, *IMAGES[:3], NOTES))
    assert tickets.sent == [(services.settings.model, 3, 4)]
    assert (receipt.job.name, receipt.job.created_by.name, receipt.queued) == ("4 files", "tina", 3)
    assert [item.rejection.code for item in receipt.rejected if item.rejection] == [Rejection.UNKNOWN_FORMAT]
    assert services.capacity.backlog().images == 3


def test_what_is_not_committed_leaves_no_row_and_no_ticket(services: Services, tickets: Tickets) -> None:
    nobody = Sender(uuid.uuid4())
    with pytest.raises(IntegrityError):
        submit(services, nobody, Submission(Source.API), take(services, IMAGES[0]))
    assert set(counts(services.database).values()) == {0}
    assert tickets.sent == []


def test_images_that_cannot_be_written_take_job_and_audit_row_back(
    services: Services, sender: Sender, tickets: Tickets
) -> None:
    (received,) = take(services, IMAGES[0])
    assert received.image is not None
    spoiled = replace(received, image=replace(received.image, media_type=None))  # NOT NULL, behind the audit row
    with pytest.raises(IntegrityError):
        submit(services, sender, Submission(Source.API), [spoiled])
    assert set(counts(services.database).values()) == {0}
    assert tickets.sent == []


def test_an_open_submission_takes_each_part_once_until_it_is_closed(
    services: Services, sender: Sender, tickets: Tickets
) -> None:
    database, said = services.database, Submission(Source.DICOM, "study", expected_images=3)
    key = IdempotencyKey("association 7")
    job = open_submission(services, sender, said, key)
    assert open_submission(services, sender, said, key).id == job.id
    first, other = IdempotencyKey("1", "a" * 64), IdempotencyKey("1", "b" * 64)
    part = add_images(services, sender, job, take(services, IMAGES[0], NOTES), first)
    assert (part.queued, len(part.rejected), part.job.closed_at) == (1, 1, None)
    assert add_images(services, sender, job, take(services, IMAGES[0], NOTES), first).queued == 0
    with pytest.raises(KeyReused):
        add_images(services, sender, job, take(services, IMAGES[1]), other)
    assert add_images(services, sender, job, take(services, IMAGES[1]), IdempotencyKey("2")).queued == 1
    close_submission(services, sender, job)
    close_submission(services, sender, job)
    with pytest.raises(JobClosed):
        add_images(services, sender, job, take(services, IMAGES[2]), IdempotencyKey("3"))
    assert names(database, job.id) == ["0.jpeg", "notes.txt", "1.jpeg"]
    assert (counts(database)["uploads"], counts(database)["audit_events"]) == (2, 1)
    assert [images for _, images, _ in tickets.sent] == [1, 1]


def test_a_part_that_is_known_is_answered_again_after_the_end(services: Services, sender: Sender) -> None:
    job = open_submission(services, sender, Submission(Source.FOLDER))
    key = IdempotencyKey("1", "a" * 64)
    add_images(services, sender, job, take(services, IMAGES[0], NOTES), key)
    close_submission(services, sender, job)
    found, known = find_open(services, job.id, "1")
    assert found.id == job.id
    assert known is not None
    again = answer_again(services, known, key)
    assert ([item.file_name for item in again.received], again.queued) == (["0.jpeg", "notes.txt"], 0)
    assert [item.file_name for item in again.rejected] == ["notes.txt"]
    with pytest.raises(KeyReused):
        answer_again(services, known, IdempotencyKey("1", "b" * 64))
    with pytest.raises(JobClosed):
        find_open(services, job.id, "2")


def test_a_job_that_was_deleted_while_images_came_in_takes_no_more(services: Services, sender: Sender) -> None:
    job = open_submission(services, sender, Submission(Source.FOLDER))
    with services.database.write() as session:
        jobs.cancel(session, job.id)
    retention.delete_job(services.database, job.id, lambda _session: None)
    with pytest.raises(JobClosed):
        add_images(services, sender, job, take(services, IMAGES[0]), IdempotencyKey("1"))
    with pytest.raises(JobClosed):
        find_open(services, job.id, "1")


def test_files_of_a_folder_are_submitted_once_under_a_key(services: Services, sender: Sender, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in IMAGES[:2]:
        (folder / name).write_bytes(data)
    paths, key = sorted(folder.iterdir()), IdempotencyKey("folder at 12:00")
    first = submit_files(services, sender, Submission(Source.SCHEDULE, "nightly"), paths, key)
    again = submit_files(changed(services, max_backlog=1), sender, Submission(Source.SCHEDULE, "nightly"), paths, key)
    assert (first.queued, again.queued, again.job.id) == (2, 0, first.job.id)
    assert names(services.database, first.job.id) == ["0.jpeg", "1.jpeg"]


def test_an_empty_submission_is_refused(services: Services, sender: Sender) -> None:
    job = open_submission(services, sender, Submission(Source.API))
    with pytest.raises(EmptySubmission):
        submit(services, sender, Submission(Source.API), [])
    with pytest.raises(EmptySubmission):
        add_images(services, sender, job, [])
    assert counts(services.database)["jobs"] == 1


def test_admission_refuses_whoever_submits(services: Services, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "0.jpeg").write_bytes(IMAGES[0][1])
    submit(services, sender, Submission(Source.API), take(services, *IMAGES[:2]))
    before = counts(services.database)
    for limits, refusal in (
        ({"max_backlog": 2, "interactive_reserve": 0}, QueueFull),
        ({"min_free_bytes": 1 << 50}, DiskLow),
    ):
        limited = changed(services, **limits)
        with pytest.raises(refusal):
            open_submission(limited, sender, Submission(Source.DICOM))
        with pytest.raises(refusal):
            submit_files(limited, sender, Submission(Source.FOLDER), [tmp_path / "0.jpeg"])
    assert counts(services.database) == before


def test_every_source_is_kept(services: Services, sender: Sender) -> None:
    jobs = {source: open_submission(services, sender, Submission(source)).id for source in Source}
    with services.database.read() as session:
        assert {session.get_one(Job, job_id).source: job_id for job_id in jobs.values()} == jobs


def test_a_model_that_is_not_there_cannot_be_chosen(services: Services) -> None:
    check_model(services, services.settings.model)
    with pytest.raises(UnknownModel, match="There is no model 'elsewhere' here"):
        check_model(services, "elsewhere")
