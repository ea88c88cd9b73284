"""Digests: at most one e-mail in 15 minutes to an account, each event in exactly one, whoever dies meanwhile."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from shared.db import Database, now
from shared.messages import outbox
from shared.messages.digests import APART
from shared.messages.events import note_finished, note_flagged, note_test
from shared.messages.problems import Problem
from shared.models.spec import ModelSpec
from shared.queue.retention import delete_job
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Message, MessageState, Priority, Role, Screening, Source, User
from tests.integration.outgoing import (
    PATIENT,
    PUBLIC,
    change,
    end_pause,
    make_due,
    messages,
    person,
    screen,
    send,
    to,
    told,
)  # fmt: skip
from tests.mail_server import Mail, MailServer, mail_server
from tests.web_site import Site

MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def end_jobs(
    database: Database, sender: User, *flagged: int, images: int = 1, start: int = 0, **more: int
) -> list[str]:
    """Note the end of a bulk job for each number of flagged images, sent a minute apart; return the jobs."""
    ids = []
    for n, number in enumerate(flagged):
        with database.write() as session:
            given = {"source": Source.CLI, "priority": Priority.BULK, "model_name": "test-model"}
            times = {"created_at": MORNING + timedelta(minutes=start + n), "closed_at": now()}
            job = Job(name=f"Ward of {PATIENT}", created_by_id=sender.id, is_watched=False, **given, **times)
            session.add(job)
            session.flush()
            counts = {state.value: 0 for state in (State.DONE, State.REJECTED, State.FAILED, State.CANCELLED)}
            note_finished(session, job, now(), {**counts, State.DONE: images, **more}, number)
            ids.append(str(job.id))
    return ids


def links(mail: Mail) -> list[str]:
    """The jobs that an e-mail links to, in its order."""
    begin = f"{PUBLIC}/jobs/"
    return [line.removeprefix(begin) for line in mail.text.splitlines() if line.startswith(begin)]


def test_the_first_goes_at_once_and_the_rest_together_after_15_minutes(
    database: Database, local: Settings, server: MailServer
) -> None:
    tina = person(database, "tina", Role.TECHNICIAN, finished=True, time_zone="Asia/Tokyo")
    person(database, "rita", flagged=True)
    (first,) = end_jobs(database, tina, 1)
    assert send(database, local) == 2
    assert told(server) == [("rita", "1 X-ray is flagged"), ("tina", "Your job of 1 X-ray has finished")]
    none, few = end_jobs(database, tina, 0, 2, images=3, start=1)
    (refused,) = end_jobs(database, tina, 0, images=0, start=3, REJECTED=2)
    assert send(database, local) == 0
    with database.write() as session:
        session.execute(update(User).values(emailed_at=now() - APART + timedelta(seconds=30)))
    assert send(database, local) == 0
    end_pause(database)
    assert send(database, local) == 2
    assert send(database, local) == 0
    rita, mail = sorted(server.mails[2:], key=lambda mail: mail.recipients)
    assert (rita.parsed["Subject"], links(rita)) == ("2 X-rays are flagged", [few])
    assert mail.parsed["Subject"] == "3 jobs: 2 X-rays are flagged"
    assert mail.text.partition("\n-- \n")[0] == "\n".join(
        [
            "Jobs that finished, or have flagged X-rays, since the last e-mail; those with flagged X-rays first:",
            "",
            "2 Mar 2026, 17:02 JST: 2 of 3 X-rays are flagged",
            f"{PUBLIC}/jobs/{few}",
            "",
            "2 Mar 2026, 17:01 JST: 0 of 3 X-rays are flagged",
            f"{PUBLIC}/jobs/{none}",
            "",
            "2 Mar 2026, 17:03 JST: 0 of 2 X-rays are flagged",
            "2 X-rays could not be screened",
            f"{PUBLIC}/jobs/{refused}",
            "",
        ]
    )
    assert PATIENT not in mail.data.decode()
    assert first not in mail.text
    end_jobs(database, tina, 0)
    assert send(database, local) == 0  # the second e-mail begins 15 minutes, too


def test_it_is_in_the_language_of_the_account(one: Database, local: Settings, server: MailServer) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True, language="es", time_zone="America/Lima")
    end_jobs(one, tina, 0, 2, images=3)
    assert send(one, local) == 1
    (mail,) = server.mails
    assert (mail.parsed["Subject"], mail.parsed["Content-Language"]) == ("2 lotes: 2 radiografías marcadas", "es")
    assert "2 mar 2026, 3:01 -05: 2 de 3 radiografías marcadas\n" in mail.text


def test_where_nothing_is_flagged_the_subject_counts_jobs(one: Database, local: Settings, server: MailServer) -> None:
    end_jobs(one, person(one, "tina", Role.TECHNICIAN, finished=True), 0, 0)
    assert send(one, local) == 1
    assert told(server) == [("tina", "2 jobs of yours have finished")]


def test_an_email_lists_50_jobs_and_counts_the_others(one: Database, local: Settings, server: MailServer) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    jobs = end_jobs(one, tina, *[0] * 51, 1, 0)
    assert send(one, local) == 1
    (mail,) = server.mails
    assert mail.parsed["Subject"] == "53 jobs: 1 X-ray is flagged"
    assert links(mail) == [jobs[51], *jobs[:49]]
    assert f"And 3 more jobs. All jobs:\n{PUBLIC}/jobs\n" in mail.text
    assert {message.state for message in messages(one)} == {MessageState.SENT, MessageState.GATHERED}


def test_a_sender_that_dies_after_gathering_loses_nothing_and_doubles_nothing(
    database: Database, local: Settings, server: MailServer
) -> None:
    tina = person(database, "tina", Role.TECHNICIAN, finished=True)
    before = end_jobs(database, tina, 0, 0)
    with database.write() as session:
        (lost,) = outbox.claim(session)
    after = end_jobs(database, tina, 0, 0, start=10)
    assert send(database, local) == 0  # it is under a lease, and what came later waits for it
    make_due(database)
    server.contents = ["451 Later"]
    assert send(database, local) == 1
    assert send(database, local) == 0
    make_due(database)
    assert send(database, local) == 1
    (mail,) = server.mails
    assert mail.parsed["Message-ID"] == f"<{lost.message_id}@example.org>"
    assert links(mail) == before
    end_pause(database)
    assert send(database, local) == 1
    assert links(server.mails[1]) == after
    assert send(database, local) == 0


def test_an_email_is_tried_for_as_long_as_the_newest_of_what_it_tells(
    one: Database, local: Settings, server: MailServer
) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    end_jobs(one, tina, 0)
    make_due(one, give_up_at=now())
    end_jobs(one, tina, 0, start=1)
    server.contents = ["451 Later"]
    assert send(one, local) == 1
    assert [message.state for message in messages(one) if message.attempts] == [MessageState.WAITING]


def test_several_senders_tell_each_job_once(database: Database, local: Settings, server: MailServer) -> None:
    people = [person(database, f"tina-{n}", Role.TECHNICIAN, finished=True) for n in range(6)]
    jobs = [job for each in people for job in end_jobs(database, each, 0, 0, 0)]
    barrier = threading.Barrier(3)

    def work() -> None:
        barrier.wait()
        while send(database, local):
            pass

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(work) for _ in range(3)]:
            future.result()
    assert sorted(mail.recipients[0] for mail in server.mails) == sorted(str(each.email) for each in people)
    assert sorted(link for mail in server.mails for link in links(mail)) == sorted(jobs)


def test_what_comes_while_the_server_is_away_is_one_email_once_it_is_back(
    one: Database, settings: Settings, server: MailServer
) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    with mail_server() as gone:
        pass
    (first,) = end_jobs(one, tina, 0)
    assert send(one, to(settings, gone)) == 1
    later = end_jobs(one, tina, 0, 0, start=1)
    assert send(one, to(settings, gone)) == 0
    make_due(one)
    assert send(one, to(settings, server)) == 1
    assert send(one, to(settings, server)) == 0
    end_pause(one)
    assert send(one, to(settings, server)) == 1
    assert [links(mail) for mail in server.mails] == [[first], later]


def test_an_address_that_is_refused_is_tried_every_15_minutes(
    one: Database, local: Settings, server: MailServer
) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    server.recipients = ["550 5.1.1 No such user"] * 2
    for _ in range(2):
        end_jobs(one, tina, 0)
        assert send(one, local) == 1
        end_jobs(one, tina, 0)
        assert send(one, local) == 0
        end_pause(one)
    assert server.recipients == []


def test_a_test_email_waits_for_none_and_none_waits_for_it(one: Database, local: Settings, server: MailServer) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    for expected in (2, 1):
        with one.write() as session:
            note_test(session, session.get_one(User, tina.id))
        end_jobs(one, tina, 0)
        assert send(one, local) == expected
    assert [subject for _, subject in told(server)] == ["Test e-mail"] * 2 + ["Your job of 1 X-ray has finished"]


def test_a_job_that_ended_twice_is_told_as_it_ended_last(one: Database, local: Settings, server: MailServer) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    (job,) = end_jobs(one, tina, 0)
    with one.write() as session:
        counts = {State.DONE: 3, State.REJECTED: 0, State.FAILED: 0, State.CANCELLED: 0}
        note_finished(session, session.get_one(Job, uuid.UUID(job)), now(), counts, 2)
    assert send(one, local) == 1
    assert told(server) == [("tina", "Your job of 3 X-rays has finished")]


def test_what_is_flagged_in_jobs_of_a_few_is_listed_and_may_become_more(
    one: Database, local: Settings, spec: ModelSpec, server: MailServer
) -> None:
    person(one, "rita", flagged=True)
    site, tina = Site(local, one), person(one, "tina", Role.TECHNICIAN)
    screen(site, spec, tina, 0.9)
    (image,) = site.screenings()
    job = screen(site, spec, tina, 0.9, 0.8, 0.2, start=10)
    assert send(one, local) == 1
    (mail,) = server.mails
    assert mail.parsed["Subject"] == "2 jobs: 3 X-rays are flagged"
    assert f": 1 X-ray is flagged\n{PUBLIC}/screenings/{image.id}\n" in mail.text
    assert f": 2 X-rays are flagged\n{PUBLIC}/jobs/{job}\n" in mail.text
    assert mail.text.count("may be flagged by the time you open them") == 1
    with one.write() as session:  # a job is told of once, also where more of it is flagged later
        note_flagged(session, session.scalars(select(Screening.id)).all())
    end_pause(one)
    assert send(one, local) == 0


# ---------------------------------------------------------------- what is left out


def delete(database: Database, *jobs: str) -> None:
    for job in jobs:
        delete_job(database, uuid.UUID(job), lambda _session: None)


def test_jobs_that_were_deleted_are_left_out(database: Database, local: Settings, server: MailServer) -> None:
    tina = person(database, "tina", Role.TECHNICIAN, finished=True)
    gone, *kept = end_jobs(database, tina, 1, 0, 0)
    delete(database, gone)
    assert send(database, local) == 1
    (mail,) = server.mails
    assert (mail.parsed["Subject"], links(mail)) == ("2 jobs of yours have finished", kept)


def test_an_email_with_nothing_left_is_not_sent_and_holds_no_other_up(
    database: Database, local: Settings, server: MailServer
) -> None:
    tina = person(database, "tina", Role.TECHNICIAN, finished=True)
    delete(database, *end_jobs(database, tina, 0, 0))
    assert send(database, local) == 1
    (failed,) = [message for message in messages(database) if message.state is MessageState.FAILED]
    assert (failed.problem, failed.email) == (Problem.JOB_DELETED, None)
    assert server.mails == []
    end_jobs(database, tina, 0)
    assert send(database, local) == 1
    assert len(server.mails) == 1


def test_what_an_account_no_longer_wants_is_left_out(one: Database, local: Settings, server: MailServer) -> None:
    ada = person(one, "ada", Role.ADMIN, finished=True, flagged=True)
    tina = person(one, "tina", Role.TECHNICIAN)
    own = end_jobs(one, ada, 0, 0)
    end_jobs(one, tina, 1, 1, start=10)
    change(one, ada, emails_image_flagged=False)
    assert send(one, local) == 1
    assert links(server.mails[0]) == own
    end_jobs(one, ada, 0)
    change(one, ada, emails_job_finished=False)
    end_pause(one)
    assert send(one, local) == 1
    assert [m.problem for m in messages(one) if m.state is MessageState.FAILED] == [Problem.NOT_WANTED]
    assert len(server.mails) == 1


def test_a_blind_reader_learns_no_number_of_flags(one: Database, local: Settings, server: MailServer) -> None:
    rita = person(one, "rita", finished=True, flagged=True)
    own = end_jobs(one, rita, 1, 2, images=3)
    end_jobs(one, person(one, "tina", Role.TECHNICIAN), 1, start=10)
    assert send(one, local.model_copy(update={"blind_second_reading": True})) == 1
    (mail,) = server.mails
    assert (mail.parsed["Subject"], links(mail)) == ("2 jobs of yours have finished", own)
    assert "2 Mar 2026, 08:00 UTC: 3 X-rays\n" in mail.text
    assert "flagged" not in mail.text


def test_an_administrator_sends_all_of_an_email_again(one: Database, local: Settings, server: MailServer) -> None:
    end_jobs(one, person(one, "tina", Role.TECHNICIAN, finished=True), 0, 0)
    assert send(one, local) == 1
    (sent,) = [message for message in messages(one) if message.state is MessageState.SENT]
    with one.write() as session:
        outbox.send_again(session, session.get_one(Message, sent.id))
    assert send(one, local) == 1
    assert server.mails[1].data == server.mails[0].data
