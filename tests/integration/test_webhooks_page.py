"""The pages of webhooks, for administrators: register, the secret once, messages, send again, pause, delete."""

import html
import re
import uuid
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.db import Database, now
from shared.messages import outbox, webhooks
from shared.messages.events import note_test
from shared.messages.problems import Problem
from shared.settings import Settings
from shared.tables import AuditEvent, Message, MessageEvent, MessageState, Role, Webhook
from tests.web_site import Site, press
from web.messages.listing import MESSAGES_A_PAGE
from web.messages.words import PROBLEMS

URL = "https://ris.example.org/hooks/9f2c-a-secret-path"


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def admin(site: Site) -> FlaskClient:
    return site.browser(site.add_user("ada", Role.ADMIN))


def register(admin: FlaskClient, site: Site, **fields: str) -> Webhook:
    answer = press(admin, "/webhooks", **{"url": URL, "events": MessageEvent.JOB_FINISHED.value, **fields})
    assert answer.status_code == 201
    with site.database.read() as session:
        return session.scalars(select(Webhook)).one()


def message(site: Site) -> Message:
    with site.database.read() as session:
        return session.scalars(select(Message)).one()


def act(admin: FlaskClient, webhook: Webhook, what: str, **fields: str) -> str:
    answer = press(admin, f"/webhooks/{webhook.id}/{what}", page=f"/webhooks/{webhook.id}", **fields)
    assert answer.status_code in {200, 303}
    return answer.text if answer.status_code == 200 else admin.get(f"/webhooks/{webhook.id}").text


def secret_of(page: str) -> str:
    found = re.search(r'value="(whsec_[^"]+)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def test_a_webhook_is_registered_tested_at_once_and_its_secret_shown_once(site: Site, admin: FlaskClient) -> None:
    answer = press(admin, "/webhooks", url=f" {URL} ", events="job.finished")
    assert answer.status_code == 201
    with site.database.read() as session:
        webhook = session.scalars(select(Webhook)).one()
    secret = secret_of(answer.text)
    assert secret == webhooks.secret_of("a key for tests only", webhook.id, webhook.salt)
    assert (webhook.url, webhook.events) == (URL, ["job.finished"])
    assert message(site).event is MessageEvent.TEST
    for address in ("/webhooks", f"/webhooks/{webhook.id}"):
        page = admin.get(address)
        assert page.status_code == 200
        assert URL in page.text
        assert secret not in page.text
    database = site.database.engine.url.database
    assert database is not None
    with open(database, "rb") as file:  # noqa: PTH123
        assert secret.removeprefix("whsec_").encode() not in file.read()
    with site.database.read() as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "webhook_changed")).one()
    assert event.detail == {"change": "added", "host": "ris.example.org"}
    assert event.subject == str(webhook.id)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": "https://10.0.0.1/"}, "10.0.0.1 is not a public address"),
        ({"url": "not an address"}, "no spaces"),
        ({"url": "http://8.8.8.8/"}, "Use https"),
        ({"events": "image.unknown"}, "Choose at least one event."),
    ],
)
def test_what_cannot_be_used_is_said_and_kept_in_the_form(
    site: Site, admin: FlaskClient, fields: dict[str, str], said: str
) -> None:
    answer = press(admin, "/webhooks", **{"url": URL, "events": "job.finished", **fields})
    assert answer.status_code == 422
    assert said in html.unescape(answer.text)
    assert html.escape(fields.get("url", URL)) in answer.text
    assert site.count(Webhook) == site.count(Message) == 0


def test_there_is_an_end_to_webhooks(site: Site, admin: FlaskClient) -> None:
    for _ in range(webhooks.MOST):
        assert press(admin, "/webhooks", url=URL, events="job.finished").status_code == 201
    answer = press(admin, "/webhooks", url=URL, events="job.finished")
    assert answer.status_code == 422
    assert "Delete one first" in answer.text


def test_messages_show_what_became_of_them_and_are_sent_again_under_their_id(site: Site, admin: FlaskClient) -> None:
    webhook = register(admin, site)
    values = {"state": MessageState.FAILED, "answer": 500, "problem": Problem.ANSWER, "attempts": 29}
    with site.database.write() as session:
        session.execute(update(Message).values(**values))
    sent = message(site)
    page = admin.get(f"/webhooks/{webhook.id}").text
    for part in ("Given up", "500", PROBLEMS[Problem.ANSWER], "29", str(sent.id)):
        assert part in page
    assert "under the same id" in act(admin, webhook, f"messages/{sent.id}/send")
    again = message(site)
    assert (again.id, again.state, again.attempts) == (sent.id, MessageState.WAITING, 0)
    assert again.due_at <= now() < again.give_up_at
    assert "Send again</button>" not in admin.get(f"/webhooks/{webhook.id}").text
    other = f"/webhooks/{webhook.id}/messages/{uuid.uuid4()}/send"
    assert press(admin, other, page=f"/webhooks/{webhook.id}").status_code == 404


def test_a_message_that_is_on_its_way_is_not_sent_a_second_time(site: Site, admin: FlaskClient) -> None:
    webhook = register(admin, site)
    with site.database.write() as session:
        (claimed,) = outbox.claim(session)
    act(admin, webhook, f"messages/{claimed.message_id}/send")
    assert message(site).lease_token == claimed.token
    with site.database.read() as session:
        assert not outbox.is_due(session)


def test_pause_start_test_secret_and_delete_leave_their_rows(site: Site, admin: FlaskClient) -> None:
    webhook = register(admin, site)
    assert "An administrator paused it." in act(admin, webhook, "stop")
    assert "Nothing has been sent there" not in act(admin, webhook, "start")
    act(admin, webhook, "test")
    assert site.count(Message) == 2
    renewed = secret_of(act(admin, webhook, "secret", shown=webhooks.mark_of(webhook)))
    assert renewed != webhooks.secret_of("a key for tests only", webhook.id, webhook.salt)
    assert press(admin, f"/webhooks/{webhook.id}/delete", page=f"/webhooks/{webhook.id}").status_code == 303
    assert site.count(Webhook) == site.count(Message) == 0
    assert admin.get(f"/webhooks/{webhook.id}").status_code == 404
    with site.database.read() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.action == "webhook_changed")).all()
    changes = [row.detail["change"] for row in rows if row.detail]
    assert sorted(changes) == sorted(["added", "paused", "started", "tested", "secret", "deleted"])


def test_a_page_with_a_secret_that_is_loaded_again_changes_nothing(site: Site, admin: FlaskClient) -> None:
    given = re.search(r'name="id" value="([^"]+)"', admin.get("/webhooks").text)
    assert given is not None
    webhook = register(admin, site, id=given[1])
    again = press(admin, "/webhooks", url=URL, events="job.finished", id=given[1])
    assert (again.status_code, again.location) == (303, f"/webhooks/{webhook.id}")
    assert "was added already" in admin.get(again.location).text
    assert site.count(Webhook) == site.count(Message) == 1
    shown = re.search(r'name="shown" value="([^"]+)"', admin.get(f"/webhooks/{webhook.id}").text)
    assert shown is not None
    secret_of(act(admin, webhook, "secret", shown=shown[1]))
    assert "Nothing was changed" in act(admin, webhook, "secret", shown=shown[1])
    with site.database.read() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.action == "webhook_changed")).all()
    assert [row.detail["change"] for row in rows if row.detail] == ["added", "secret"]


def test_many_messages_are_turned_page_by_page(site: Site, admin: FlaskClient) -> None:
    webhook = register(admin, site)
    with site.database.write() as session:
        held = session.get_one(Webhook, webhook.id)
        for _ in range(MESSAGES_A_PAGE + 4):
            note_test(session, held)
        session.execute(update(Message).values(created_at=now() - timedelta(minutes=1)))  # all of one moment
    first = admin.get(f"/webhooks/{webhook.id}").text
    older = re.search(r'href="([^"]+)" rel="next"', first)
    assert older is not None
    second = admin.get(html.unescape(older[1])).text
    ids = [set(re.findall(r'mono">([0-9a-f-]{36})<', page)) for page in (first, second)]
    assert [len(some) for some in ids] == [MESSAGES_A_PAGE, 5]
    assert not ids[0] & ids[1]
    assert 'rel="prev"' in second
    assert admin.get(f"/webhooks/{webhook.id}?cursor=nonsense").status_code == 422
