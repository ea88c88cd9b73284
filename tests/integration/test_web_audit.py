"""The page and the API of the audit trail, on both databases: read, narrow, export, verify."""

import csv
import io
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from shared.audit.chain import Head
from shared.audit.record import Action, record
from shared.audit.verify import verify
from shared.db import Database
from shared.settings import Settings
from shared.tables import AuditEvent, Role, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, press
from web.audit import page as audit_page
from web.audit.listing import ACTIONS

SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
"""Where nothing that the two databases do differently is asked for."""

IMAGE = ("Mustermann.png", encode(draw(3, (80, 80)), "PNG"))


@pytest.fixture
def site(settings: Settings, database: Database) -> Site:
    return Site(settings, database)


@pytest.fixture
def admin(site: Site) -> User:
    return site.add_user("ada", Role.ADMIN)


@pytest.fixture
def browser(site: Site, admin: User) -> FlaskClient:
    return site.browser(admin)


def events(site: Site) -> list[AuditEvent]:
    with site.database.read() as session:
        return list(session.scalars(select(AuditEvent).order_by(AuditEvent.sequence)))


def rows(page: TestResponse) -> list[str]:
    """The rows of the table, as text."""
    body = re.search(r"<tbody>(.*?)</tbody>", page.text, flags=re.DOTALL)
    found = re.findall(r"<tr .*?</tr>", body[1], flags=re.DOTALL) if body else []
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in found]


def add_rows(site: Site, count: int) -> None:
    for n in range(count):
        with site.database.write() as session:
            record(session, Action.IMAGE_VIEWED, user_id=None, actor="os:root", subject=f"thing {n}")


def break_trail(site: Site, statement: str) -> None:
    with site.database.write() as session:
        on_postgres = site.database.engine.dialect.name == "postgresql"
        session.execute(
            text(f"DROP TRIGGER {'audit_events_change ON audit_events' if on_postgres else 'audit_events_update'}")
        )
        session.execute(text(statement))


def test_every_action_has_words() -> None:
    assert set(ACTIONS) == set(Action)


def test_the_page_says_who_did_what_to_what_and_from_where(site: Site, browser: FlaskClient, admin: User) -> None:
    post_images(browser, IMAGE, headers={"X-CSRFToken": _token(browser)})
    image = site.screenings()[0].id
    browser.get(f"/screenings/{image}/image")
    with site.database.write() as session:
        detail = {"change": "role", "role": "admin"}
        record(session, Action.USER_CHANGED, user_id=None, actor="os:root", subject=admin.id, detail=detail)
    shown = rows(browser.get("/audit"))
    assert re.search(r"root command line Changed an account role changed ?, role admin ada .*this server$", shown[0])
    assert re.search(rf"ada Viewed an X-ray X-ray {image.hex[-12:]} .*127\.0\.0\.1$", shown[1])
    assert re.search(r"ada Sent a job Mustermann\.png .*127\.0\.0\.1$", shown[2])
    assert re.search(r"ada Signed in link 127\.0\.0\.1$", shown[3])


def _token(browser: FlaskClient) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', browser.get("/audit").text)
    assert found is not None
    return found[1]


@SQLITE
@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.READER])
def test_only_admins_are_shown_the_way(site: Site, role: Role, browser: FlaskClient) -> None:
    other = site.browser(site.add_user("tom", role))
    assert 'href="/audit"' not in other.get("/help").text
    assert 'href="/audit"' in browser.get("/help").text
    refused = other.get("/audit")
    assert refused.status_code == 403
    assert "needs the role admin" in refused.text


def test_pages_turn_both_ways(site: Site, browser: FlaskClient) -> None:
    add_rows(site, 2 * audit_page.EVENTS_A_PAGE)
    address: str | None = "/audit?person=os:root"
    seen: list[str] = []
    while address:
        page = browser.get(address)
        seen += rows(page)
        last, address = address, _link(page, "next")
    assert len(seen) == len(set(seen)) == 2 * audit_page.EVENTS_A_PAGE
    assert rows(browser.get(_link(browser.get(last), "prev") or "")) == seen[: audit_page.EVENTS_A_PAGE]


def _link(page: TestResponse, way: str) -> str | None:
    found = re.search(f'href="([^"]+)" rel="{way}"', page.text)
    return found[1].replace("&amp;", "&") if found else None


COUNTS = {
    "person=os:root": 3,
    "person=ada": 1,
    "person=nobody": 0,
    "action=sign_in": 1,
    "subject=thing+1": 1,
    "since=2020-01-31&until=2020-02-01": 0,
    "until=9999-12-29": 4,
    "person=": 4,
}


def test_filters_narrow_the_page_and_the_api(site: Site, browser: FlaskClient) -> None:
    add_rows(site, 3)
    pages = {query: browser.get(f"/audit?{query}") for query in COUNTS}
    assert {query: len(rows(page)) for query, page in pages.items()} == COUNTS
    assert [query for query, page in pages.items() if "No row matches" in page.text] == [
        query for query, count in COUNTS.items() if count == 0
    ]
    assert {query: len(browser.get(f"/api/v1/audit?{query}").json["events"]) for query in COUNTS} == COUNTS


@SQLITE
@pytest.mark.parametrize(
    "query",
    ["action=king", "since=today", "until=9999-12-31", "since=2025-02-01&until=2025-01-31", "person=%00", "cursor=x"],
)
def test_a_filter_that_cannot_be_used_is_told(browser: FlaskClient, query: str) -> None:
    page = browser.get(f"/audit?{query}")
    assert page.status_code == 422
    assert 'role="alert"' in page.text
    assert browser.get(f"/api/v1/audit?{query}").status_code == 422
    if "cursor" not in query:
        assert browser.get(f"/audit/export?{query}").status_code == 422


@SQLITE
def test_what_a_row_holds_is_text_on_the_page(site: Site, browser: FlaskClient) -> None:
    with site.database.write() as session:
        detail = {"change": "<script>alert(1)</script>"}
        record(session, Action.USER_CHANGED, user_id=None, actor="<b>x</b>", subject="<i>y</i>", detail=detail)
    page = browser.get("/audit").text
    assert "<script>alert" not in page
    assert "<b>x" not in page
    assert "<i>y" not in page


def test_an_export_is_whole_and_on_record(site: Site, browser: FlaskClient) -> None:
    add_rows(site, 3)
    answer = browser.get("/audit/export?format=json&person=os:root")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="pneumoscreen-audit-')
    assert [event["subject"] for event in json.loads(answer.text)["events"]] == ["thing 0", "thing 1", "thing 2"]
    exported = events(site)[-1]
    assert (exported.action, exported.actor) == (Action.AUDIT_EXPORTED, "ada")
    assert exported.detail == {"format": "json", "person": "os:root"}
    table = list(csv.DictReader(io.StringIO(browser.get("/audit/export").text)))
    assert [row["sequence"] for row in table] == [str(n) for n in range(1, 7)]
    assert browser.get("/audit/export?format=xml").status_code == 422


@SQLITE
def test_an_export_of_images_is_on_record_without_a_part_of_a_name(site: Site, browser: FlaskClient) -> None:
    browser.get("/history/export?format=csv&text=Mustermann&label=PNEUMONIA&order=suspicious").get_data()
    assert events(site)[-1].detail == {"format": "csv", "order": "suspicious", "label": "PNEUMONIA", "text": "given"}


def test_a_program_reads_pages_and_csv(site: Site, admin: User) -> None:
    client = site.token_client(admin)
    add_rows(site, 5)
    first = client.get("/api/v1/audit?limit=3").json
    second = client.get(first["next"]).json
    assert [event["sequence"] for event in first["events"] + second["events"]] == [5, 4, 3, 2, 1]
    assert second["next"] is None
    assert len(client.get("/api/v1/audit?format=csv").text.splitlines()) == 1 + 6
    assert events(site)[-1].action == Action.AUDIT_EXPORTED
    assert client.get("/api/v1/audit?format=xml").status_code == 422


def test_the_page_shows_the_last_verification(site: Site, browser: FlaskClient) -> None:
    assert "Never." in browser.get("/audit").text
    answer = press(browser, "/audit/verify", "/audit")
    assert answer.status_code == 303
    assert answer.location == "/audit"
    verified = events(site)[-1]
    assert verified.action == Action.AUDIT_VERIFIED
    assert verified.detail is not None
    head = Head.parse(verified.detail["head"])
    assert verified.detail["result"] == "whole"
    assert verify(site.database, kept=head).broken is None
    assert re.search(r"Intact</strong> up to row 1\.", browser.get("/audit").text)


def test_a_broken_trail_is_told_on_the_page(site: Site, browser: FlaskClient) -> None:
    add_rows(site, 3)
    break_trail(site, "UPDATE audit_events SET actor = 'nobody' WHERE sequence = 3")
    press(browser, "/audit/verify", "/audit")
    detail = events(site)[-1].detail
    assert detail is not None
    assert (detail["result"], detail["row"], detail["fault"]) == ("broken", "3", "edited")
    page = browser.get("/audit").text
    assert "Row 3 was edited" in page
    assert "tell the person responsible for data protection" in page


@SQLITE
def test_a_long_trail_is_verified_in_steps(site: Site, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_page, "STEP_SECONDS", 0.0)
    add_rows(site, 4)
    answer = press(browser, "/audit/verify", "/audit")
    steps = []
    while answer.location != "/audit":
        page = browser.get(answer.location)
        if page.status_code == 303:
            break
        steps.append(re.search(r"([\d,]+) of 5 rows verified", page.text)[1])
        refresh = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.text)[1]
        answer.location = refresh.replace("&amp;", "&")
    assert steps == ["2", "3", "4"]
    assert page.location == "/audit"
    assert events(site)[-1].action == Action.AUDIT_VERIFIED


@SQLITE
@pytest.mark.parametrize("state", ["", "x", "WzEsMl0.x.y"])
def test_a_step_that_nobody_began_verifies_nothing(site: Site, browser: FlaskClient, state: str) -> None:
    before = len(events(site))
    answer = browser.get("/audit/verify", query_string={"state": state})
    assert (answer.status_code, answer.location) == (303, "/audit")
    assert "Start it again" in browser.get("/audit").text
    assert len(events(site)) == before


@SQLITE
def test_a_step_whose_state_was_changed_verifies_nothing(
    site: Site, browser: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_page, "STEP_SECONDS", 0.0)
    add_rows(site, 2)
    state = parse_qs(urlsplit(press(browser, "/audit/verify", "/audit").location).query)["state"][0]
    changed = ("A" if state[0] != "A" else "B") + state[1:]
    assert browser.get("/audit/verify", query_string={"state": changed}).location == "/audit"
    assert browser.get("/audit/verify", query_string={"state": state}).status_code == 200


@SQLITE
@pytest.mark.parametrize(
    "edit",
    [
        "detail = '{', created_at = 'yesterday'",
        """detail = '{"role": 5}'""",
        """detail = '{"role": {"a": "b"}}'""",
        """detail = '{"role": null}'""",
        "sequence = 'zz'",
        "sequence = 2.5",
        """action = 'audit_verified', detail = '{"result": 5}'""",
        "hash = x'ff'",
    ],
)
def test_page_and_api_show_what_is_sound_beside_a_row_that_cannot_be_read(
    site: Site, browser: FlaskClient, edit: str
) -> None:
    add_rows(site, 3)
    with site.database.write() as session:
        for trigger in ("audit_events_update", "audit_heads_update"):
            session.execute(text(f"DROP TRIGGER {trigger}"))
        connection = session.connection()
        connection.exec_driver_sql(f"UPDATE audit_events SET {edit} WHERE sequence = 2")  # noqa: S608  # as above
        session.execute(text("UPDATE audit_heads SET hash = ''"))
    page = browser.get("/audit")
    assert page.status_code == 200
    assert any("unreadable" in row for row in rows(page))
    assert "the head was removed or edited" in page.text
    listed = site.token_client(site.add_user("program", Role.ADMIN)).get("/api/v1/audit")
    assert listed.status_code == 200
    assert "unreadable" in [event["action"] for event in listed.json["events"]]
