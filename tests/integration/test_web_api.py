"""Lists, filters, pages, exports and changes through the API, on both databases."""

import csv
import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from shared.columns import RESULT_COLUMNS
from shared.db import Database, first_id
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.states import State
from shared.tables import AuditEvent, Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.api import schemas
from web.lists.listing import MOST_ROWS, Filters, Order, list_screenings

IMAGES = [(f"{n}.jpeg", encode(draw(n, (80, 80)))) for n in range(7)]


@pytest.fixture
def site(settings: Settings, database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, database)
    site.install_model(spec)
    return site


@pytest.fixture
def tina(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


@pytest.fixture
def rita(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("rita", Role.READER))


def get(client: FlaskClient, address: str, **query: Any) -> Any:
    answer = client.get(address, query_string=query) if query else client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.json


def walk(client: FlaskClient, address: str, key: str, **query: Any) -> Iterator[dict[str, Any]]:
    """Follow `next` to the end."""
    page = get(client, address, **query)
    while True:
        yield from page[key]
        if page["next"] is None:
            return
        page = get(client, page["next"])


def screened(site: Site, client: FlaskClient, spec: ModelSpec) -> dict[str, Any]:
    """A finished job of seven images, p(pneumonia) 0.1 to 0.7 in steps of their number."""
    job = post_images(client, *IMAGES, name="ward 3").json
    assert job is not None
    with site.database.read() as session:
        sha256s = {s.file_name: s.image.sha256 for s in session.query(Screening) if s.image}
    site.work(spec, {sha256s[name]: 0.1 * (n + 1) for n, (name, _) in enumerate(IMAGES)})
    return job


def test_a_finished_job_shows_its_images_as_the_document_says(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    job = screened(site, tina, spec)
    status = schemas.JobStatus.model_validate(get(tina, job["status_url"]))
    assert (status.state, status.total, status.seconds_left) == ("FINISHED", 7, None)
    assert status.counts == {state: 7 if state is State.DONE else 0 for state in State}
    assert status.per_second is not None
    assert status.per_second > 0
    rows = schemas.ScreeningList.model_validate(get(tina, job["screenings_url"])).screenings
    assert [row.position for row in rows] == list(range(7))
    assert [row.label for row in rows] == ["NORMAL"] * 3 + ["PNEUMONIA"] * 4
    assert rows[6].cause == "bacterial"
    assert rows[6].confidence == pytest.approx(0.7)
    assert rows[0].confidence == pytest.approx(0.9)
    assert rows[0].model == spec.version


def test_lists_turn_page_by_page_without_gap_or_repeat(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    job = screened(site, tina, spec)
    whole = [row["file_name"] for row in get(tina, job["screenings_url"])["screenings"]]
    assert [row["file_name"] for row in walk(tina, job["screenings_url"], "screenings", limit=3)] == whole
    newest = [row["file_name"] for row in walk(tina, "/api/v1/predictions", "predictions", limit=2)]
    assert newest == whole[::-1]
    for _ in range(4):
        post_images(tina, IMAGES[0])
    ids = [row["id"] for row in walk(tina, "/api/v1/jobs", "jobs", limit=2)]
    assert len(ids) == len(set(ids)) == 5
    assert ids[-1] == job["id"]


def test_the_most_suspicious_come_first_and_equal_ones_are_not_lost(
    site: Site, tina: FlaskClient, spec: ModelSpec
) -> None:
    screened(site, tina, spec)
    post_images(tina, IMAGES[3], ("again.jpeg", IMAGES[3][1]), ("bad.txt", b"no X-ray"))
    rows = list(walk(tina, "/api/v1/predictions", "predictions", order="suspicious", limit=2))
    assert [round(row["p_pneumonia"], 1) for row in rows] == [0.7, 0.6, 0.5, 0.4, 0.4, 0.4, 0.3, 0.2, 0.1]
    assert len({row["id"] for row in rows}) == 9


def test_pages_turn_back(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    screened(site, tina, spec)
    with site.database.read() as session:
        viewer = session.query(Screening).first().job.created_by  # type: ignore[union-attr]
        for order in Order:

            def turn(cursor: str | None, order: Order = order) -> Any:
                return list_screenings(session, viewer, Filters(), order, cursor, 2)

            first = turn(None)
            third = turn(turn(first.next_cursor).next_cursor)
            assert turn(third.previous_cursor).rows == turn(first.next_cursor).rows
            back = turn(turn(third.previous_cursor).previous_cursor)
            assert (back.rows, back.previous_cursor) == (first.rows, None)


@pytest.mark.parametrize(
    ("query", "files"),
    [
        ({"label": "PNEUMONIA"}, "6543"),
        ({"label": "NORMAL", "min_confidence": "0.75"}, "10"),
        ({"max_confidence": "0.65"}, "543"),
        ({"text": "3.JPEG"}, "3"),
        ({"text": "%"}, ""),
        ({"text": "_.jpeg"}, ""),
        ({"state": "DONE", "label": "NORMAL"}, "210"),
        ({"state": "FAILED"}, ""),
        ({"model": "test-model"}, "6543210"),
        ({"model": "test-model@0000"}, "6543210"),
        ({"model": "test-model@1"}, ""),
        ({"model": "other"}, ""),
        ({"since": "2026-01-02", "until": "2026-01-02"}, "3"),
        ({"since": "2026-01-02"}, "43"),
        ({"until": "2026-01-02"}, "32"),
        ({"job": str(uuid.UUID(int=7))}, ""),
    ],
)
def test_filters_narrow_the_list(
    site: Site, tina: FlaskClient, spec: ModelSpec, query: dict[str, str], files: str
) -> None:
    screened(site, tina, spec)
    if "since" in query or "until" in query:
        days = {2: datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC), 3: datetime(2026, 1, 2, 23, 59, 59, tzinfo=UTC)}
        with site.database.write() as session:
            if session.get_bind().dialect.name == "postgresql":  # the names that a search uses keep an id from changing
                session.execute(text("DELETE FROM screening_names"))
            for n in range(7):
                at = days.get(n, datetime(2026, 1, 3, tzinfo=UTC) if n == 4 else None)
                far = datetime(2020, 1, 1, tzinfo=UTC) if "since" in query else datetime(2027, 1, 1, tzinfo=UTC)
                sent = at or far  # an id begins with its time
                values = {"created_at": sent, "id": uuid.UUID(int=first_id(sent).int + n)}
                session.execute(update(Screening).where(Screening.position == n).values(values))
    rows = get(tina, "/api/v1/predictions", **query)["predictions"]
    assert "".join(row["file_name"][0] for row in rows) == files


@pytest.mark.parametrize(
    ("address", "query", "field"),
    [
        ("/api/v1/predictions", {"label": "ill"}, "label"),
        ("/api/v1/predictions", {"order": "oldest"}, "order"),
        ("/api/v1/predictions", {"format": "xml"}, "format"),
        ("/api/v1/predictions", {"limit": "0"}, "limit"),
        ("/api/v1/predictions", {"limit": str(MOST_ROWS + 1)}, "limit"),
        ("/api/v1/predictions", {"cursor": "!"}, "cursor"),
        ("/api/v1/predictions", {"cursor": "WzFd"}, "cursor"),
        ("/api/v1/predictions", {"cursor": "WyJhZnRlciIsICJ4Il0"}, "cursor"),
        ("/api/v1/jobs", {"cursor": "bnVsbA"}, "cursor"),
        ("/api/v1/jobs", {"limit": "many"}, "limit"),
    ],
)
def test_what_cannot_be_used_is_named(tina: FlaskClient, address: str, query: dict[str, str], field: str) -> None:
    answer = tina.get(address, query_string=query)
    assert answer.status_code == 422
    problem = schemas.Problem.model_validate(answer.json)
    assert problem.errors is not None
    assert problem.errors[0].field == field


def test_technicians_see_their_own_and_readers_see_all(
    site: Site, tina: FlaskClient, rita: FlaskClient, spec: ModelSpec
) -> None:
    job = screened(site, tina, spec)
    stranger = site.add_user("tom")
    tom, browser = site.token_client(stranger), site.browser(stranger)
    image = get(tina, job["screenings_url"])["screenings"][0]
    closed = [job["status_url"], job["screenings_url"], image["thumbnail_url"], image["page_url"]]
    closed += [image["thumbnail_url"].replace("thumbnail", "image"), job["status_url"].removeprefix("/api/v1")]
    assert [browser.get(address).status_code for address in closed] == [404] * 6
    assert get(tom, "/api/v1/jobs")["jobs"] == get(tom, "/api/v1/predictions")["predictions"] == []
    assert get(tom, "/api/v1/predictions", job=job["id"])["predictions"] == []
    assert len(get(rita, "/api/v1/predictions")["predictions"]) == 7
    row = schemas.PredictionRow.model_validate(get(rita, "/api/v1/predictions")["predictions"][0])
    assert (row.job_name, row.created_by) == ("ward 3", "tina")


def test_cancel_and_retry_change_what_can_be_changed(site: Site, tina: FlaskClient, rita: FlaskClient) -> None:
    job = post_images(tina, *IMAGES[:3], ("bad.txt", b"no X-ray")).json
    assert job is not None
    cancelled = schemas.Changed.model_validate(tina.post(f"{job['status_url']}/cancel").json)
    assert (cancelled.changed, cancelled.job.state, cancelled.job.counts[State.CANCELLED]) == (3, "FINISHED", 3)
    retried = schemas.Changed.model_validate(tina.post(f"{job['status_url']}/retry").json)
    assert (retried.changed, retried.job.state, retried.job.counts[State.REJECTED]) == (3, "SCREENING", 1)
    assert site.sent_tickets.images == [3, 3]
    assert site.actions() == ["job_submitted", "job_cancelled", "job_retried"]
    assert rita.post(f"{job['status_url']}/cancel").status_code == 403
    tom = site.token_client(site.add_user("tom"))
    assert tom.post(f"{job['status_url']}/cancel").status_code == 404
    ada = site.token_client(site.add_user("ada", Role.ADMIN))
    assert ada.post(f"{job['status_url']}/cancel").json["changed"] == 3  # type: ignore[index]


def test_what_an_administrator_does_to_an_open_job_of_another_leaves_a_trace(site: Site, tina: FlaskClient) -> None:
    job = tina.post("/api/v1/jobs", json={}).json
    assert job is not None
    chief = site.add_user("ada", Role.ADMIN)
    ada = site.token_client(chief)
    assert post_images(tina, IMAGES[0], to=job["images_url"]).status_code == 202
    for _ in range(2):  # the second is a repetition, which adds nothing
        added = post_images(ada, IMAGES[1], to=job["images_url"], headers={"Idempotency-Key": "a key"})
        assert added.status_code == 202
    for client in (ada, tina):
        assert client.post(f"{job['status_url']}/close").status_code == 200
    with site.database.read() as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.sequence))
        traces = [(row.action, row.actor, row.subject) for row in rows]
    assert traces == [
        ("job_submitted", "tina", job["id"]),
        ("images_added", "ada", job["id"]),
        ("job_closed", "ada", job["id"]),
    ]


def test_an_open_job_that_is_cancelled_takes_no_more(tina: FlaskClient) -> None:
    job = tina.post("/api/v1/jobs", json={}).json
    assert job is not None
    tina.post(f"{job['status_url']}/cancel")
    assert post_images(tina, IMAGES[0], to=job["images_url"]).status_code == 409


def test_the_csv_holds_all_that_is_filtered_and_runs_no_formula(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    screened(site, tina, spec)
    post_images(tina, ("=1+1,a.txt", b"no X-ray"), name="@ward")
    answer = tina.get("/api/v1/predictions?format=csv&limit=1")
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    head, *rows = list(csv.reader(io.StringIO(answer.text)))
    assert tuple(head) == RESULT_COLUMNS
    assert len(rows) == 8
    assert rows[0][:5] == ["'=1+1,a.txt", "REJECTED", "", "", ""]
    assert rows[0][7] == "'@ward"
    assert rows[1][:6] == ["6.jpeg", "DONE", "PNEUMONIA", "0.700000", "0.700000", spec.version]
    few = tina.get("/api/v1/predictions?format=csv&label=NORMAL").text
    assert len(few.splitlines()) == 4
    assert "history_exported" in site.actions()


def test_an_export_crosses_its_pages(site: Site, tina: FlaskClient) -> None:
    post_images(tina, *[(f"{n}.txt", b"no X-ray") for n in range(MOST_ROWS + 20)])
    lines = tina.get("/api/v1/predictions?format=csv").text.splitlines()
    assert len(lines) == MOST_ROWS + 21
    assert len(set(lines)) == len(lines)


def test_speed_and_time_left_are_measured_while_a_job_runs(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    job = post_images(tina, *IMAGES).json
    assert job is not None
    assert get(tina, job["status_url"])["per_second"] is None
    site.work(spec, {}, images=4)
    with site.database.write() as session:
        finished = Screening.state == State.DONE
        began = datetime.now(UTC) - timedelta(seconds=4)
        session.execute(update(Screening).where(finished).values(started_at=began))
    status = get(tina, job["status_url"])
    assert status["counts"]["DONE"] == 4
    assert status["per_second"] == pytest.approx(1.0, rel=0.2)
    assert status["seconds_left"] == pytest.approx(3.0, rel=0.2)


def test_addresses_stay_on_this_site(tina: FlaskClient) -> None:
    body = tina.post("/api/v1/jobs", json={}, headers={"Host": "evil.example"}).json
    assert body is not None
    assert not urlsplit(body["status_url"]).netloc


def test_me_names_the_account(rita: FlaskClient) -> None:
    assert get(rita, "/api/v1/me") == {"name": "rita", "display_name": None, "email": None, "role": "reader"}
