"""E-mails: who gets which, what stands in it, the way by TLS and without, tried again, given up, and never forged."""

import socket
import ssl
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po
from pydantic import SecretStr
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from shared.db import Database, now
from shared.messages import outbox
from shared.messages.endings import note_ends
from shared.messages.events import note_test
from shared.messages.problems import Problem
from shared.models.spec import ModelSpec
from shared.queue import jobs
from shared.settings import Settings
from shared.tables import Job, Message, MessageEvent, MessageState, Role, Source, User
from tests.certificates import make_certificate
from tests.conftest import draw, encode
from tests.integration.conftest import wait_until
from tests.integration.outgoing import (
    PATIENT,
    PUBLIC,
    change,
    end_pause,
    make_due,
    messages,
    person,
    running_sweep,
    screen,
    send,
    slow_lookups,
    to,
    told,
)  # fmt: skip
from tests.integration.test_webhooks import add as add_webhook
from tests.integration.test_webhooks import add_test as note_webhook_test
from tests.mail_server import MailServer, mail_server
from tests.pseudo_language import write_catalog
from tests.receiver import receiving
from tests.web_site import Site, post_images
from worker.messages.sender import Sender, SenderThreads

TLS_HEAD = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"
"""A long record that begins with a long ServerHello."""


def add_test(database: Database, user: User) -> None:
    with database.write() as session:
        note_test(session, session.get_one(User, user.id))


# ---------------------------------------------------------------- who is told what


def test_the_end_of_a_bulk_job_is_one_email_a_person_with_counts_and_a_link(
    database: Database, local: Settings, spec: ModelSpec, server: MailServer
) -> None:
    tina = person(database, "tina", Role.TECHNICIAN, finished=True, display_name="Tina Müller", time_zone="Asia/Tokyo")
    person(database, "rita", flagged=True)
    person(database, "ada", Role.ADMIN, finished=True)  # no job of hers
    person(database, "tom", Role.TECHNICIAN, flagged=True)  # may not see the jobs of others
    site = Site(local, database)
    job = screen(site, spec, tina, 0.9, 0.1, 0.8, priority="bulk")
    assert messages(database) == []
    assert note_ends(database, []) == 1
    assert note_ends(database, []) == 0
    assert send(database, local) == 2
    assert send(database, local) == 0
    assert told(server) == [("rita", "2 X-rays are flagged"), ("tina", "Your job of 3 X-rays has finished")]
    for mail in server.mails:
        assert PATIENT not in mail.data.decode()
        for part in ("2 X-rays are flagged\n", "1 X-ray is not flagged\n", f"{PUBLIC}/jobs/{job}\n"):
            assert part in mail.text
        assert "could not be screened" not in mail.text
    mail = next(mail.parsed for mail in server.mails if mail.recipients == ["tina@example.org"])
    assert "JST has finished" in mail.get_content()
    assert (mail["To"], mail["From"]) == ("tina@example.org", "PneumoScreen <pneumo@example.org>")
    assert mail["List-Unsubscribe"] == f"<{PUBLIC}/account/emails/stop>"
    assert (mail["Auto-Submitted"], mail["Content-Language"]) == ("auto-generated", "en")
    assert (mail.get_content_type(), mail.get_content_charset()) == ("text/plain", "utf-8")
    assert server.connections == 1
    assert server.names[0] == "pneumo.example.org"
    assert [message.state for message in messages(database)] == [MessageState.SENT] * 2
    assert {message.email for message in messages(database)} == {"tina@example.org", "rita@example.org"}


def test_what_is_flagged_in_a_job_of_a_few_is_told_at_once_and_once(
    database: Database, local: Settings, spec: ModelSpec, server: MailServer
) -> None:
    tina = person(database, "tina", Role.TECHNICIAN)
    person(database, "rita", flagged=True)
    site = Site(local, database)
    screen(site, spec, tina, 0.9)
    (image,) = site.screenings()
    assert send(database, local) == 1
    assert f"{PUBLIC}/screenings/{image.id}\n" in server.mails[0].text
    assert "More of its X-rays" not in server.mails[0].text
    job = screen(site, spec, tina, 0.9, 0.8, 0.2, start=10)
    assert note_ends(database, []) == 2
    end_pause(database)
    assert send(database, local) == 1
    assert told(server) == [("rita", "1 X-ray is flagged"), ("rita", "2 X-rays are flagged")]
    assert f"{PUBLIC}/jobs/{job}\n" in server.mails[1].text
    assert "More of its X-rays" in server.mails[1].text


def test_nothing_flagged_is_no_email_to_readers(one: Database, local: Settings, spec: ModelSpec) -> None:
    tina = person(one, "tina", Role.TECHNICIAN)
    person(one, "rita", flagged=True)
    site = Site(local, one)
    screen(site, spec, tina, 0.1)
    screen(site, spec, tina, 0.2, start=10, priority="bulk")
    assert note_ends(one, []) == 2
    assert messages(one) == []


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
def test_whoever_sent_a_job_and_reads_gets_one_email_about_it(
    one: Database, local: Settings, spec: ModelSpec, server: MailServer, priority: str
) -> None:
    ada = person(one, "ada", Role.ADMIN, finished=True, flagged=True)
    screen(Site(local, one), spec, ada, 0.9, priority=priority)
    assert note_ends(one, []) == 1
    assert send(one, local) == 1
    assert told(server) == [("ada", "Your job of 1 X-ray has finished")]
    assert "1 X-ray is flagged\n" in server.mails[0].text


def test_a_few_images_whose_end_was_seen_on_a_page_are_no_email(
    one: Database, local: Settings, spec: ModelSpec
) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    site = Site(local, one)
    for start, (source, priority) in enumerate(
        [(Source.WEB, "interactive"), (Source.WEB, "bulk"), (Source.CLI, "bulk")]
    ):
        job = screen(site, spec, tina, 0.1, start=10 * start, priority=priority)
        with one.write() as session:
            session.execute(update(Job).where(Job.id == job).values(source=source, seen_at=now()))
    assert note_ends(one, []) == 3
    assert [message.event for message in messages(one)] == [MessageEvent.JOB_FINISHED] * 2


def test_a_job_that_is_retried_is_told_once_more(one: Database, local: Settings, server: MailServer) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    site = Site(local, one)
    job = uuid.UUID(post_images(site.token_client(tina), ("a.png", encode(draw(1)))).json["id"])
    for _ in range(2):
        with one.write() as session:
            jobs.retry(session, job)
            jobs.cancel(session, job)
        assert note_ends(one, []) == 1
        assert send(one, local) == 1
        end_pause(one)
    assert len({mail.parsed["Message-ID"] for mail in server.mails}) == 2
    assert "1 X-ray was cancelled" in server.mails[0].text


# ---------------------------------------------------------------- who is not


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"emails_image_flagged": False}, Problem.NOT_WANTED),
        ({"role": Role.TECHNICIAN}, Problem.NOT_WANTED),
        ({"is_active": False}, Problem.DISABLED),
        ({"email": None}, Problem.NO_ADDRESS),
        ({"email": "jürgen@example.org"}, Problem.NO_ADDRESS),
        ({"email": "a@example.org\r\nBcc: eve@example.org"}, Problem.NO_ADDRESS),
        ({"email": "a@example.org>\r\nRCPT TO:<eve@example.org"}, Problem.NO_ADDRESS),
        ({"email": "a@example.org, eve@example.org"}, Problem.NO_ADDRESS),
    ],
)
def test_an_account_that_is_not_to_get_it_by_now_gets_none(
    one: Database, local: Settings, spec: ModelSpec, server: MailServer, *, values: dict[str, object], problem: Problem
) -> None:
    rita = person(one, "rita", flagged=True)
    screen(Site(local, one), spec, person(one, "tina", Role.TECHNICIAN), 0.9)
    change(one, rita, **values)
    assert send(one, local) == 1
    (message,) = messages(one)
    assert (message.state, message.problem, message.email) == (MessageState.FAILED, problem, None)
    assert server.mails == []
    with one.write() as session:
        assert outbox.claim(session) == []


def test_nothing_is_noted_for_whom_it_is_not_for(one: Database, local: Settings, spec: ModelSpec) -> None:
    person(one, "rita", flagged=True, is_active=False)
    person(one, "rolf", flagged=True, email=None)
    screen(Site(local, one), spec, person(one, "tina", Role.TECHNICIAN, finished=True, email=None), 0.9)
    assert note_ends(one, []) == 1
    assert messages(one) == []


def test_an_account_that_is_deleted_takes_its_emails_along(database: Database, local: Settings) -> None:
    rita = person(database, "rita")
    add_test(database, rita)
    with database.write() as session:
        (claimed,) = outbox.claim(session)
    with database.write() as session:
        session.delete(session.get_one(User, rita.id))
    assert messages(database) == []
    with database.write() as session:
        assert not outbox.settle(session, claimed, outbox.Outcome(250))
    assert send(database, local) == 0


def test_who_reads_blind_learns_nothing_of_flags(
    one: Database, local: Settings, spec: ModelSpec, server: MailServer
) -> None:
    blind = local.model_copy(update={"blind_second_reading": True})
    rita, ada = person(one, "rita", flagged=True, finished=True), person(one, "ada", Role.ADMIN, flagged=True)
    site = Site(blind, one)
    change(one, rita, role=Role.TECHNICIAN)  # as she was when she sent it
    screen(site, spec, rita, 0.9, 0.1)
    change(one, rita, role=Role.READER)
    screen(site, spec, person(one, "tina", Role.TECHNICIAN), 0.9, start=10)
    assert note_ends(one, []) == 2
    assert send(one, blind) == 2
    assert told(server) == [
        ("ada", "2 jobs: 2 X-rays are flagged"),
        ("rita", "Your job of 2 X-rays has finished"),
    ]
    mail = next(mail for mail in server.mails if mail.recipients == [rita.email])
    assert "2 X-rays have a result" in mail.text
    assert "flagged" not in mail.text
    screen(site, spec, person(one, "tom", Role.TECHNICIAN), 0.9, start=20)
    end_pause(one)
    assert send(one, blind) == 2
    assert len(server.mails) == 3
    assert [m.problem for m in messages(one) if m.state is MessageState.FAILED] == [Problem.READS_BLIND]
    assert ada.email is not None


def test_without_a_mail_server_nothing_waits_for_one(one: Database, settings: Settings) -> None:
    add_test(one, person(one, "rita"))
    assert send(one, settings) == 1
    (message,) = messages(one)
    assert (message.state, message.problem) == (MessageState.FAILED, Problem.NO_RELAY)


def test_a_message_has_one_target(database: Database) -> None:
    rita = person(database, "rita")
    values = {
        "event": MessageEvent.TEST,
        "body": {},
        "state": MessageState.WAITING,
        "due_at": now(),
        "give_up_at": now(),
    }
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Message(id=uuid.uuid4(), **values))
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Message(id=uuid.uuid4(), user_id=rita.id, webhook_id=uuid.uuid4(), **values))


# ---------------------------------------------------------------- what stands in it


def test_an_email_is_in_the_language_of_the_account(
    one: Database, local: Settings, server: MailServer, tmp_path: Path
) -> None:
    write_catalog(tmp_path, "es")
    add_test(one, person(one, "rita", language="es"))
    add_test(one, person(one, "rolf", language="xx"))
    assert send(one, local, translations=tmp_path) == 2
    spanish, english = sorted(
        (mail.parsed for mail in server.mails), key=lambda mail: mail["Content-Language"], reverse=True
    )
    assert (spanish["Content-Language"], english["Content-Language"]) == ("es", "en")
    assert english["Subject"] == "Test e-mail"
    assert not spanish["Subject"].isascii()
    assert "Decision support" not in spanish.get_content()


@pytest.mark.parametrize(
    "name",
    [
        'Rita "O\'Neill", MD <eve@example.org>',
        "Rita\r\nBcc: eve@example.org",
        "Rita\nSubject: you won",
        "Rita\x00",
        "=?utf-8?q?=0D=0ABcc:_eve=40example.org?=",
    ],
)
def test_a_name_makes_no_header(one: Database, local: Settings, server: MailServer, name: str) -> None:
    add_test(one, person(one, "rita", display_name=name))
    assert send(one, local) == 1
    (mail,) = server.mails
    assert mail.recipients == ["rita@example.org"]
    assert mail.parsed["To"] == "rita@example.org"
    assert sorted(mail.parsed.keys()) == sorted([
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "Content-Language", "List-Unsubscribe",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    ])  # fmt: skip
    assert "eve@" not in mail.data.decode()


def test_a_domain_of_any_script_is_written_in_ascii(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita", email="rita@krankenhäuser.example"))
    assert send(one, local) == 1
    assert server.mails[0].recipients == ["rita@xn--krankenhuser-ncb.example"]


def test_a_text_that_cannot_be_filled_in_holds_no_other_up(
    one: Database, local: Settings, server: MailServer, tmp_path: Path
) -> None:
    path = tmp_path / "es" / "LC_MESSAGES" / "messages.po"
    path.parent.mkdir(parents=True)
    catalog = Catalog(locale="es")
    catalog.add("Decision support, not a diagnosis.", "%(nothing)s")
    with path.open("wb") as file:
        write_po(file, catalog)
    add_test(one, person(one, "rita", language="es"))
    add_test(one, person(one, "rolf"))
    assert send(one, local, translations=tmp_path) == 2
    assert sorted((m.state, m.problem) for m in messages(one)) == [
        (MessageState.SENT, None),
        (MessageState.WAITING, Problem.NOT_WRITTEN),
    ]


def test_sending_that_breaks_off_holds_no_other_up_and_is_given_up_after_a_day(
    database: Database, local: Settings, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    blind = local.model_copy(update={"blind_second_reading": True})
    rita = person(database, "rita")
    add_test(database, rita)
    with database.write() as session:
        session.execute(update(Message).values(body={}))  # a blind reader's e-mail looks into it
    add_test(database, person(database, "rolf"))
    assert send(database, blind) == 2
    assert [mail.recipients for mail in server.mails] == [["rolf@example.org"]]
    (message,) = [message for message in messages(database) if message.user_id == rita.id]
    assert (message.state, message.attempts, message.problem) == (MessageState.WAITING, 1, Problem.BROKE_OFF)
    assert timedelta(seconds=7) < message.due_at - now() < timedelta(seconds=13)
    (record,) = [record for record in caplog.records if record.name == "worker.messages.sender"]
    assert (record.levelname, str(rita.id) in record.getMessage()) == ("ERROR", True)
    assert "KeyError" in caplog.text
    make_due(database, give_up_at=now())
    assert send(database, blind) == 1
    assert messages(database)[0].state is MessageState.FAILED


# ---------------------------------------------------------------- trying again


@pytest.mark.parametrize("where", ["recipients", "contents"])
def test_what_is_not_taken_for_now_is_tried_again_under_the_same_message_id(
    database: Database, local: Settings, server: MailServer, where: str
) -> None:
    rita, rolf = person(database, "rita"), person(database, "rolf")
    add_test(database, rita)
    setattr(server, where, ["451 4.7.1 Greylisted", "452 4.2.2 Full"])
    for tries, code in enumerate([451, 452], start=1):
        assert send(database, local) == 1
        (message,) = messages(database)
        assert (message.state, message.attempts) == (MessageState.WAITING, tries)
        assert (message.problem, message.answer) == (Problem.DEFERRED, code)
        assert message.due_at > now() + timedelta(seconds=5)
        assert send(database, local) == 0
        make_due(database)
    add_test(database, rolf)
    assert send(database, local) == 2
    assert {message.state for message in messages(database)} == {MessageState.SENT}
    (mail,) = [mail.parsed for mail in server.mails if mail.recipients == ["rita@example.org"]]
    message = next(message for message in messages(database) if message.user_id == rita.id)
    assert mail["Message-ID"] == f"<{message.id}@example.org>"
    with database.write() as session:
        outbox.send_again(session, session.get_one(Message, message.id))
    assert send(database, local) == 1
    assert server.mails[-1].data == next(mail.data for mail in server.mails if mail.recipients == ["rita@example.org"])


@pytest.mark.parametrize("where", ["recipients", "contents"])
def test_what_will_never_be_taken_is_given_up_at_once_and_alone(
    one: Database, local: Settings, server: MailServer, where: str
) -> None:
    add_test(one, person(one, "rita"))
    add_test(one, person(one, "rolf"))
    setattr(server, where, ["550 5.1.1 No such user"])
    assert send(one, local) == 2
    assert sorted((m.state, m.problem, m.answer) for m in messages(one)) == [
        (MessageState.FAILED, Problem.REFUSED, 550),
        (MessageState.SENT, None, 250),
    ]
    assert len(server.mails) == 1


def test_after_a_day_an_email_is_given_up(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    server.contents = ["451 Later"]
    make_due(one, give_up_at=now())
    assert send(one, local) == 1
    assert messages(one)[0].state is MessageState.FAILED


def test_where_the_server_is_away_all_emails_wait_and_go_together(
    one: Database, settings: Settings, server: MailServer
) -> None:
    people = [person(one, f"rita-{n}") for n in range(outbox.AT_ONE_ADDRESS + 3)]
    for each in people:
        add_test(one, each)
    with mail_server() as gone:
        pass
    assert send(one, to(settings, gone)) == outbox.AT_ONE_ADDRESS
    assert send(one, to(settings, gone)) == 0  # nobody else is tried meanwhile
    assert {m.problem for m in messages(one) if m.attempts} == {Problem.NO_CONNECTION}
    assert all(now() < m.due_at < now() + timedelta(seconds=13) for m in messages(one))
    add_test(one, people[0])
    assert send(one, to(settings, server)) == 1
    while send(one, to(settings, server)):
        pass
    assert {m.state for m in messages(one)} == {MessageState.SENT}
    assert len(server.mails) == len(people) + 1


def test_a_sender_that_is_refused_holds_all_back(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    add_test(one, person(one, "rolf"))
    server.senders = ["553 5.7.1 Not yours"]
    assert send(one, local) == 2
    assert {(m.state, m.problem, m.answer) for m in messages(one)} == {
        (MessageState.WAITING, Problem.SENDER_REFUSED, 553)
    }


@pytest.mark.parametrize("answer", ["421 4.7.0 One each", "451 4.7.1 One each", "550 5.7.1 One each"])
def test_a_server_that_takes_one_email_a_connection_gets_all_at_once(
    one: Database, local: Settings, server: MailServer, answer: str
) -> None:
    for name in ("rita", "rolf", "rosa"):
        add_test(one, person(one, name))
    server.after_one = answer
    assert send(one, local) == 3
    assert {(message.state, message.attempts) for message in messages(one)} == {(MessageState.SENT, 1)}
    assert server.connections == len(server.mails) == 3


def test_what_was_not_tried_as_the_server_is_away_counts_no_attempt_and_no_address(
    one: Database, local: Settings, server: MailServer
) -> None:
    for name in ("rita", "rolf"):
        add_test(one, person(one, name))
    server.senders = ["421 4.3.2 Closing"]
    assert send(one, local) == 2
    assert sorted((message.attempts, message.email is None) for message in messages(one)) == [(0, True), (1, False)]
    assert all(now() + timedelta(seconds=5) < message.due_at for message in messages(one))


def test_a_server_that_hangs_holds_nobody_up(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    server.hangs = True
    started = now()
    assert send(one, local.model_copy(update={"smtp_seconds": 0.3})) == 1
    assert now() - started < timedelta(seconds=10)
    (message,) = messages(one)
    assert (message.state, message.problem) == (MessageState.WAITING, Problem.UNCONFIRMED)


def test_a_slow_mail_server_keeps_no_webhook_waiting(
    database: Database, settings: Settings, server: MailServer
) -> None:
    add_test(database, person(database, "rita"))
    server.hangs = True
    with receiving() as receiver:
        slow = to(settings, server, smtp_seconds=3.0, webhook_networks="127.0.0.0/8")
        webhook = add_webhook(database, slow, receiver.url)
        senders = SenderThreads(Sender(database, slow), 0.05)
        senders.start()
        try:
            wait_until(lambda: server.heard == 1, 10, "the mail server has one")
            note_webhook_test(database, webhook)
            wait_until(lambda: len(receiver.calls) == 1, 10, "a call")
            (email,) = [message for message in messages(database) if message.user_id is not None]
            assert email.lease_token is not None  # still under way
        finally:
            senders.stop()
    states = {message.problem: message.state for message in messages(database)}
    assert states == {None: MessageState.SENT, Problem.UNCONFIRMED: MessageState.WAITING}


@pytest.mark.parametrize(("tls", "head"), [("none", b"220-"), ("starttls", b"220-"), ("implicit", TLS_HEAD)])
def test_a_server_that_drips_its_greeting_is_left_in_time(
    one: Database, settings: Settings, *, tls: str, head: bytes
) -> None:
    add_test(one, person(one, "rita"))
    with dripping_server(head) as dripping:
        started = time.monotonic()
        assert send(one, to(settings, dripping, smtp_seconds=0.5, smtp_tls=tls)) == 1
        assert time.monotonic() - started < 3
    assert (messages(one)[0].problem, messages(one)[0].attempts) == (Problem.NO_ANSWER, 1)


@contextmanager
def dripping_server(head: bytes) -> Iterator[MailServer]:
    """A server that says the rest of its greeting a little at a time, for five seconds."""
    ended = threading.Event()

    def drip() -> None:
        sock, _ = listening.accept()
        with sock, suppress(OSError):
            sock.sendall(head)
            for _ in range(50):
                if ended.wait(0.1):
                    return
                sock.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield MailServer(listening.getsockname()[1])
        finally:
            ended.set()
            thread.join()


def test_what_may_have_arrived_is_sent_once_more_alone(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    hasty = local.model_copy(update={"smtp_seconds": 0.3})
    for heard in (1, 2):  # sent again by a person, it is tried anew
        server.hangs = True
        assert send(one, hasty) == 1
        server.hangs, server.recipients = False, ["451 Later"]
        make_due(one)
        assert send(one, local) == 1
        assert messages(one)[0].problem == Problem.UNCONFIRMED
        assert messages(one)[0].state is MessageState.WAITING
        server.hangs = True
        make_due(one)
        assert send(one, hasty) == 1
        assert (messages(one)[0].state, messages(one)[0].problem) == (MessageState.FAILED, Problem.UNCONFIRMED)
        make_due(one)
        assert send(one, local) == 0
        assert server.heard == 2 * heard
        with one.write() as session:
            outbox.send_again(session, session.get_one(Message, messages(one)[0].id))


@pytest.mark.parametrize("where", ["recipients", "contents"])
@pytest.mark.parametrize("answer", ["251 Forwarded", "252 Will see"])
def test_what_is_taken_in_other_words_is_sent(
    one: Database, local: Settings, server: MailServer, *, where: str, answer: str
) -> None:
    add_test(one, person(one, "rita"))
    setattr(server, where, [answer])
    assert send(one, local) == 1
    assert messages(one)[0].state is MessageState.SENT


def test_what_has_no_time_left_is_not_counted_as_tried(one: Database, local: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    no_time = local.model_copy(update={"smtp_seconds": outbox.LEASE.total_seconds()})
    assert send(one, no_time) == 1
    (message,) = messages(one)
    assert (message.attempts, message.lease_token, server.mails) == (0, None, [])
    assert send(one, local) == 1
    assert messages(one)[0].state is MessageState.SENT


def test_two_senders_never_send_the_same(database: Database, local: Settings, server: MailServer) -> None:
    for n in range(6):
        add_test(database, person(database, f"rita-{n}"))
    barrier = threading.Barrier(3)

    def work() -> int:
        barrier.wait()
        return sum(iter(lambda: send(database, local), 0))

    with ThreadPoolExecutor(3) as pool:
        sent = [future.result() for future in [pool.submit(work) for _ in range(3)]]
    assert sum(sent) == len(server.mails) == 6
    assert len({mail.parsed["Message-ID"] for mail in server.mails}) == 6


# ---------------------------------------------------------------- the way there


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path)


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def test_starttls_with_a_login(
    one: Database,
    settings: Settings,
    context: ssl.SSLContext,
    certificate: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_test(one, person(one, "rita"))
    with mail_server(context, wants_login=True) as server:
        secret = SecretStr(server.password.decode())
        way = {"smtp_host": "localhost", "smtp_tls": "starttls", "smtp_user": "pneumo", "smtp_password": secret}
        safe = to(settings, server, **way)
        assert send(one, safe) == 1
        assert messages(one)[0].problem == Problem.CERTIFICATE
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        make_due(one)
        assert send(one, safe.model_copy(update={"smtp_password": SecretStr("another password")})) == 1
        assert (messages(one)[0].problem, messages(one)[0].answer) == (Problem.LOGIN_REFUSED, 535)
        make_due(one)
        assert send(one, safe.model_copy(update={"smtp_password": SecretStr("Schlüssel")})) == 1
        assert (messages(one)[0].problem, messages(one)[0].answer) == (Problem.LOGIN_REFUSED, None)
        make_due(one)
        assert send(one, safe) == 1
        assert messages(one)[0].state is MessageState.SENT
        assert server.encrypted == [True]
        add_test(one, person(one, "rolf"))
        assert send(one, replace_host(safe, "127.0.0.1")) == 1  # the certificate is of localhost alone
        assert Problem.CERTIFICATE in {message.problem for message in messages(one)}
    assert "password" not in caplog.text
    assert "example.org" not in caplog.text


def replace_host(settings: Settings, host: str) -> Settings:
    return settings.model_copy(update={"smtp_host": host})


def test_tls_from_the_start(
    one: Database, settings: Settings, context: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    add_test(one, person(one, "rita"))
    with mail_server(implicit=context) as server:
        assert send(one, to(settings, server, smtp_host="localhost", smtp_tls="implicit")) == 1
        assert server.encrypted == [True]


def test_where_tls_is_refused_nothing_goes_unencrypted(one: Database, settings: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    for tls in ("starttls", "implicit"):
        make_due(one)
        assert send(one, to(settings, server, smtp_tls=tls)) == 1
        (message,) = messages(one)
        assert (message.state, message.problem) == (MessageState.WAITING, Problem.NO_TLS)
    assert server.mails == []


def test_an_unknown_name_is_told_apart(one: Database, settings: Settings, server: MailServer) -> None:
    add_test(one, person(one, "rita"))
    assert send(one, replace_host(to(settings, server), "nowhere.invalid")) == 1
    assert messages(one)[0].problem == Problem.NAME_UNKNOWN


def test_a_mail_server_whose_name_is_looked_up_slowly_is_not_waited_for(
    one: Database, settings: Settings, server: MailServer
) -> None:
    add_test(one, person(one, "rita"))
    with slow_lookups("slow.invalid") as answered:
        assert send(one, to(settings, server, smtp_host="slow.invalid", smtp_seconds=0.3)) == 1
        assert answered == []
    assert messages(one)[0].problem == Problem.NAME_UNKNOWN


# ---------------------------------------------------------------- the real program


def test_the_sweep_sends_emails_beside_webhooks(
    one: Database, local: Settings, spec: ModelSpec, server: MailServer, tmp_path: Path
) -> None:
    tina = person(one, "tina", Role.TECHNICIAN, finished=True)
    person(one, "rita", flagged=True)
    server.contents = ["451 Later"]
    screen(Site(local, one), spec, tina, 0.9, 0.1, priority="bulk")
    mail = {"smtp_host": "127.0.0.1", "smtp_port": str(server.port), "smtp_tls": "none"}
    with running_sweep(tmp_path, local, **mail, smtp_from="pneumo@example.org", public_url=PUBLIC) as log:
        wait_until(lambda: len(server.mails) == 1, 60, f"an e-mail; {log.read_text()}")
    assert sorted(message.state for message in messages(one)) == [MessageState.SENT, MessageState.WAITING]
    assert "was not sent: deferred" in log.read_text()
    assert "example.org" not in log.read_text()
