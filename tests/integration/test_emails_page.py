"""Which e-mails an account wants, the page that ends them, and the page of what was sent."""

import re
import uuid
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.db import Database, now
from shared.messages.digests import APART
from shared.messages.emails import TESTS_AN_HOUR
from shared.messages.events import note_test
from shared.messages.problems import Problem
from shared.settings import Settings
from shared.tables import AuditEvent, Message, MessageEvent, MessageState, Role, User
from tests.web_site import Site, press
from web.messages.emails import mask
from web.messages.words import PROBLEMS

RELAY = {"smtp_host": "mail.example.org", "smtp_from": "pneumo@example.org", "public_url": "https://pneumo.example.org"}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database, **RELAY)


def add(site: Site, name: str, role: Role = Role.READER, email: str | None = "nora.n@klinik.example") -> User:
    user = site.add_user(name, role)
    with site.database.write() as session:
        session.execute(update(User).where(User.id == user.id).values(email=email))
    return user


def wants(site: Site, user: User) -> tuple[bool, bool]:
    with site.database.read() as session:
        kept = session.get_one(User, user.id)
        return kept.emails_job_finished, kept.emails_image_flagged


def details(site: Site) -> list[dict[str, str] | None]:
    with site.database.read() as session:
        changed = select(AuditEvent).where(AuditEvent.action == "email_changed").order_by(AuditEvent.sequence)
        return [event.detail for event in session.scalars(changed)]


def choose(client: FlaskClient, *names: str) -> int:
    return press(client, "/account/emails", "/account", **dict.fromkeys(names, "on")).status_code


def test_an_account_chooses_and_stops_on_record(site: Site) -> None:
    nora = add(site, "nora")
    client = site.browser(nora)
    assert "Send an e-mail to <bdi>nora.n@klinik.example</bdi>" in client.get("/account").text
    assert choose(client, "job_finished", "image_flagged") == 303
    assert wants(site, nora) == (True, True)
    ticked = re.findall(r'name="(\w+)" value="on" checked', client.get("/account").text)
    assert ticked[-2:] == ["job_finished", "image_flagged"]
    assert choose(client, "image_flagged") == 303
    assert wants(site, nora) == (False, True)
    assert "Stop all e-mails" in client.get("/account/emails/stop").text
    assert wants(site, nora) == (False, True)  # a look changes nothing
    assert press(client, "/account/emails/stop").status_code == 303
    assert wants(site, nora) == (False, False)
    assert "Stop all e-mails" not in client.get("/account/emails/stop").text
    assert details(site) == [
        {"change": "chosen", "job_finished": "on", "image_flagged": "on"},
        {"change": "chosen", "job_finished": "off", "image_flagged": "on"},
        {"change": "stopped", "job_finished": "off", "image_flagged": "off"},
    ]


def test_the_link_in_an_email_asks_strangers_to_sign_in_and_leads_back(site: Site) -> None:
    answer = site.browser().get("/account/emails/stop")
    assert answer.status_code == 303
    assert answer.location == "/sign-in?next=/account/emails/stop"


def test_a_technician_is_not_offered_what_is_flagged(site: Site) -> None:
    tina = add(site, "tina", Role.TECHNICIAN)
    client = site.browser(tina)
    assert "image_flagged" not in client.get("/account").text
    assert choose(client, "job_finished", "image_flagged") == 303
    assert wants(site, tina) == (True, False)


def test_who_reads_blind_is_not_offered_it_either(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, **RELAY, blind_second_reading=True)
    nora, ada = add(site, "nora"), add(site, "ada", Role.ADMIN)
    page = site.browser(nora).get("/account").text
    assert PROBLEMS[Problem.READS_BLIND] in page
    assert 'name="image_flagged"' not in page
    assert choose(site.browser(nora), "image_flagged") == choose(site.browser(ada), "image_flagged") == 303
    assert (wants(site, nora), wants(site, ada)) == ((False, False), (False, True))


@pytest.mark.parametrize(
    ("email", "relay", "said"),
    [
        (None, RELAY, "Your account has no e-mail address."),
        ("jürgen@klinik.example", RELAY, "No e-mail can be sent to <bdi>jürgen@klinik.example</bdi>."),
        ("nora@klinik.example", {}, "E-mails are not set up on this server."),
    ],
)
def test_the_page_says_why_not_and_what_to_do(
    settings: Settings, sqlite_database: Database, email: str | None, relay: dict[str, str], said: str
) -> None:
    site = Site(settings, sqlite_database, **relay)
    reader, admin = add(site, "nora", email=email), add(site, "ada", Role.ADMIN, email=email)
    page = site.browser(reader).get("/account").text
    assert said in page
    assert "Ask an administrator" in page
    assert "Send a test e-mail" not in page
    page = site.browser(admin).get("/account").text
    assert (f"/users/{admin.id}#person" if relay else "PNEUMOSCREEN_SMTP_HOST") in page
    assert press(site.browser(reader), "/account/emails/test", "/account").status_code == 409
    assert site.count(Message) == 0


def test_test_emails_are_few(site: Site) -> None:
    nora, other = add(site, "nora"), add(site, "otto")
    client = site.browser(nora)
    for _ in range(TESTS_AN_HOUR):
        assert press(client, "/account/emails/test", "/account").status_code == 303
    answer = press(client, "/account/emails/test", "/account")
    assert answer.status_code == 429
    assert "At most 5 test e-mails an hour" in answer.text
    assert press(site.browser(other), "/account/emails/test", "/account").status_code == 303
    assert site.count(Message) == TESTS_AN_HOUR + 1
    assert details(site)[-1] == {"change": "tested"}
    assert "Test" in client.get("/emails").text


def note(site: Site, user: User, **values: object) -> uuid.UUID:
    with site.database.write() as session:
        note_test(session, session.get_one(User, user.id))
        newest = session.scalars(select(Message.id).where(Message.user_id == user.id)).one()
        for name, value in values.items():
            setattr(session.get_one(Message, newest), name, value)
        return newest


def test_everybody_sees_their_own_emails_and_administrators_all_with_masked_addresses(site: Site) -> None:
    nora, ada = add(site, "nora"), add(site, "ada", Role.ADMIN, email="ada@klinik.example")
    tina = add(site, "tina", Role.TECHNICIAN, email="tina@klinik.example")
    refused = {"state": MessageState.FAILED, "answer": 550, "problem": Problem.REFUSED, "attempts": 1}
    note(site, nora, **refused, email=nora.email or "nora.n@klinik.example")
    note(site, ada, state=MessageState.SENT, answer=250, email="ada@klinik.example")
    page = site.browser(nora).get("/emails").text
    for part in ("nora.n@klinik.example", "Given up", "550", PROBLEMS[Problem.REFUSED]):
        assert part in page
    assert "ada" not in page
    assert "/send" not in page
    assert "No e-mails yet" in site.browser(tina).get("/emails").text
    page = site.browser(ada).get("/emails").text
    for part in ("n***@klinik.example", "ada@klinik.example", f"/users/{nora.id}", "mail.example.org"):
        assert part in page
    assert "nora.n@" not in page
    assert page.count("/send") == 2


def test_an_administrator_sends_an_email_again_and_nobody_else(site: Site) -> None:
    nora, ada = add(site, "nora"), add(site, "ada", Role.ADMIN)
    email = note(site, nora, state=MessageState.FAILED, attempts=3)
    assert press(site.browser(nora), f"/emails/{email}/send", "/emails").status_code == 403
    assert press(site.browser(ada), f"/emails/{email}/send", "/emails").status_code == 303
    with site.database.read() as session:
        message = session.get_one(Message, email)
        assert (message.state, message.attempts) == (MessageState.WAITING, 0)
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "email_changed")).one()
    assert (event.subject, event.detail) == (str(nora.id), {"change": "sent again"})
    assert press(site.browser(ada), f"/emails/{uuid.uuid4()}/send", "/emails").status_code == 404


def test_emails_are_not_among_the_messages_of_a_webhook(site: Site) -> None:
    ada = add(site, "ada", Role.ADMIN)
    email, client = note(site, ada), site.browser(ada)
    assert press(client, "/webhooks", url="https://8.8.8.8/", events="job.finished").status_code == 201
    with site.database.read() as session:
        called = session.scalars(select(Message).where(Message.webhook_id.is_not(None))).one()
    assert called.event is MessageEvent.TEST
    assert str(email) not in client.get(f"/webhooks/{called.webhook_id}").text
    assert str(called.id) not in client.get("/emails").text
    again = f"/emails/{called.id}/send"
    assert press(client, again, "/emails").status_code == 404


@pytest.mark.parametrize(
    ("address", "shown"), [("nora.n@klinik.example", "n***@klinik.example"), ("ñ@x", "ñ***@x"), ("a@b@c", "a***@c")]
)
def test_an_address_is_masked(address: str, shown: str) -> None:
    assert mask(address) == shown


def test_an_email_of_several_jobs_is_one_row_and_what_waits_says_until_when(site: Site) -> None:
    nora = add(site, "nora")
    first, jobs = uuid.uuid4(), [uuid.uuid4() for _ in range(4)]
    times = {"due_at": now(), "give_up_at": now() + timedelta(days=1)}
    flagged = {"user_id": nora.id, "event": MessageEvent.IMAGE_FLAGGED, "body": {}, **times}
    with site.database.write() as session:
        session.get_one(User, nora.id).emailed_at = now()
        sent = Message(id=first, subject=jobs[0], state=MessageState.SENT, digest_id=first, **flagged)
        gathered = [
            Message(id=uuid.uuid4(), subject=job, state=MessageState.GATHERED, digest_id=first, **flagged)
            for job in jobs[:3]
        ]
        session.add_all([sent, *gathered])
    page = site.browser(nora).get("/emails").text
    assert page.count('<tr role="row">') == 2
    assert ">3 jobs</td>" in page
    assert "with the next e-mail" not in page
    with site.database.write() as session:
        session.add(Message(id=uuid.uuid4(), subject=jobs[3], state=MessageState.WAITING, **flagged))
    page = site.browser(nora).get("/emails").text
    assert page.count("with the next e-mail, from ") == 1
    with site.database.write() as session:
        session.get_one(User, nora.id).emailed_at = now() - APART
    assert "with the next e-mail" not in site.browser(nora).get("/emails").text


def test_the_account_page_says_how_often_e_mails_come(site: Site) -> None:
    assert "at most one e-mail in 15 min:" in site.browser(add(site, "nora")).get("/account").text
