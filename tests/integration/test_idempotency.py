"""An idempotency key stands for one request: the same again is answered again, another is refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from shared.db import Database
from shared.settings import Settings
from shared.tables import Job, Screening, Upload
from tests.conftest import draw, encode
from tests.web_site import File, Site, make_zip, post_films, token_of

FILMS = [(f"film-{n}.jpeg", encode(draw(800 + n))) for n in range(6)]
KEY = {"Idempotency-Key": "k"}
ZIP = ("films.zip", make_zip({"a.jpeg": FILMS[0][1], "notes.txt": b"no image"}))
NOTES = ("notes.txt", b"no image")

FIRST: tuple[File, ...] = (FILMS[0], NOTES)
OTHERS: dict[str, tuple[File, ...]] = {
    "another image": (FILMS[1], NOTES),
    "another image under the same name": ((FILMS[0][0], FILMS[1][1]), NOTES),
    "another name": (("else.jpeg", FILMS[0][1]), NOTES),
    "more": (FILMS[0], NOTES, FILMS[1]),
    "fewer": (FILMS[0],),
    "another order": (NOTES, FILMS[0]),
    "another refused file": (FILMS[0], ("notes.txt", b"none either")),
    "a ZIP of the same": (ZIP,),
}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def open_job(client: FlaskClient, **headers: str) -> dict[str, Any]:
    job = client.post("/api/v1/jobs", json={}, headers=headers).json
    assert job is not None
    return job


Send = Callable[..., TestResponse]


@pytest.fixture(params=["a whole job", "films of an open job"])
def send(request: pytest.FixtureRequest, client: FlaskClient) -> Send:
    """Send films under one key, to each endpoint that takes one."""
    to = "/api/v1/jobs" if request.param == "a whole job" else open_job(client)["films_url"]
    return lambda *films, **options: post_films(client, *films, to=to, headers=KEY, **options)


def is_refused(answer: TestResponse) -> bool:
    assert answer.json is not None
    return answer.status_code == 422 and answer.json["errors"][0]["field"] == "Idempotency-Key"


def test_a_key_that_comes_with_other_files_is_refused_and_keeps_nothing(site: Site, send: Send) -> None:
    assert send(*FIRST).status_code == 202
    rows, stored = [row.file_name for row in site.screenings()], site.stored()
    refused = {name: is_refused(send(*films)) for name, films in OTHERS.items()}
    assert refused == dict.fromkeys(OTHERS, True)
    assert "nothing of this one was kept" in send(FILMS[2]).text
    assert ([row.file_name for row in site.screenings()], site.stored()) == (rows, stored)
    assert send(*FIRST).status_code == 202, "the first request is still known"


def test_the_same_request_is_answered_as_before_and_rings_for_nothing(site: Site, send: Send) -> None:
    films = (*FIRST, ZIP)
    first, again = send(*films).json, send(*films).json
    assert first is not None
    assert again is not None
    assert {**first, "queued": 0} == again
    assert (again["received"], [item["code"] for item in again["rejected"]]) == (4, ["unknown_format"] * 2)
    assert site.count(Screening) == 4
    assert site.bell.rung == [2]


def test_a_file_that_was_refused_before_its_end_counts_to_its_end(
    settings: Settings, sqlite_database: Database
) -> None:
    site = Site(settings, sqlite_database, max_film_bytes=1000)
    client = site.token_client(site.add_user("tina"))
    large = b"\xff\xd8\xff" + bytes(600_000)
    assert post_films(client, ("a.jpeg", large + b"1"), headers=KEY).status_code == 202
    assert is_refused(post_films(client, ("a.jpeg", large + b"2"), headers=KEY))
    assert post_films(client, ("a.jpeg", large + b"1"), headers=KEY).status_code == 202


@pytest.mark.parametrize("texts", [{"name": "ward 3"}, {"priority": "bulk"}, {"source": "cli"}])
def test_a_key_that_comes_with_other_wishes_is_refused(client: FlaskClient, texts: dict[str, str]) -> None:
    assert post_films(client, FILMS[0], headers=KEY).status_code == 202
    assert is_refused(post_films(client, FILMS[0], headers=KEY, **texts))


@pytest.mark.parametrize("wishes", [{"name": "y"}, {"name": "x", "expected_films": 3}, {}])
def test_an_open_job_of_other_wishes_is_refused(site: Site, client: FlaskClient, wishes: dict[str, Any]) -> None:
    assert client.post("/api/v1/jobs", json={"name": "x"}, headers=KEY).status_code == 201
    assert is_refused(client.post("/api/v1/jobs", json=wishes, headers=KEY))
    assert client.post("/api/v1/jobs", json={"name": "x"}, headers=KEY).status_code == 201
    assert (site.count(Job), site.actions().count("job_submitted")) == (1, 1)


def test_a_key_of_one_kind_of_request_does_not_do_for_another(site: Site, client: FlaskClient) -> None:
    job = open_job(client, **KEY)
    assert is_refused(post_films(client, FILMS[0], headers=KEY))
    assert client.get(job["status_url"]).json["state"] == "RECEIVING"  # type: ignore[index]
    post_films(client, FILMS[0], headers={"Idempotency-Key": "whole"})
    assert is_refused(client.post("/api/v1/jobs", json={}, headers={"Idempotency-Key": "whole"}))
    assert site.count(Screening) == 1


def test_the_form_of_a_page_is_held_to_its_key_too(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    token = token_of(browser.get("/help"))
    codes = [
        post_films(browser, film, to="/jobs", headers=KEY, csrf_token=token).status_code
        for film in (FILMS[0], FILMS[1], FILMS[0])
    ]
    assert codes == [303, 422, 303]
    assert site.count(Job) == 1


def test_a_closed_job_still_tells_a_key_that_is_used_for_others(client: FlaskClient) -> None:
    job = open_job(client)
    post_films(client, FILMS[0], to=job["films_url"], headers=KEY)
    client.post(f"{job['status_url']}/close")
    assert is_refused(post_films(client, FILMS[1], to=job["films_url"], headers=KEY))
    assert post_films(client, FILMS[0], to=job["films_url"], headers=KEY).status_code == 202


def test_a_key_of_before_there_were_digests_is_answered_as_it_was(site: Site, send: Send) -> None:
    assert send(*FIRST).status_code == 202
    with site.database.write() as session:
        session.execute(update(Job).values(request_digest=None))
        session.execute(update(Upload).values(request_digest=None, first_position=None, films=None))
    answer = send(*FIRST)
    assert (answer.status_code, answer.json["queued"]) == (202, 0)  # type: ignore[index]
    assert site.count(Screening) == 2


# ---------------------------------------------------------------- limits


def test_a_known_key_brings_nothing_past_a_full_queue_or_disk(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, max_backlog=2, interactive_reserve=0, max_films_per_upload=3)
    client = site.token_client(site.add_user("tina"))
    assert post_films(client, *FILMS[:2], headers=KEY).status_code == 202
    stored = site.stored()
    assert post_films(client, FILMS[2]).status_code == 429
    assert is_refused(post_films(client, *FILMS[2:4], headers=KEY))
    assert post_films(client, *FILMS[:4], headers=KEY).status_code == 413
    assert post_films(client, *FILMS[:2], headers=KEY).status_code == 202
    assert (site.stored(), site.count(Screening)) == (stored, 2)


# ---------------------------------------------------------------- at the same moment


@pytest.fixture
def busy(settings: Settings, database: Database) -> Site:
    """A site on each database."""
    return Site(settings, database)


def at_once(site: Site, films: Sequence[Sequence[File]], to: str = "/api/v1/jobs") -> list[TestResponse]:
    with site.database.read() as session:
        user = session.get_one(Job, next(iter(session.query(Job.id)))[0]).created_by if to != "/api/v1/jobs" else None
    user = user or site.add_user("tom")
    clients = [site.token_client(user) for _ in films]
    with ThreadPoolExecutor(len(films)) as threads:
        sent = [
            threads.submit(post_films, client, *some, to=to, headers=KEY)
            for client, some in zip(clients, films, strict=True)
        ]
        return [one.result() for one in sent]


def test_the_same_request_many_times_at_once_is_one_job(busy: Site) -> None:
    answers = at_once(busy, [FILMS[:3]] * 6)
    assert Counter(answer.status_code for answer in answers) == {202: 6}
    assert len({answer.json["id"] for answer in answers}) == 1  # type: ignore[index]
    assert (busy.count(Job), busy.count(Screening), busy.count(Upload)) == (1, 3, 1)


def test_of_different_requests_under_one_key_at_once_one_is_taken(busy: Site) -> None:
    answers = at_once(busy, [[film] for film in FILMS])
    assert Counter(answer.status_code for answer in answers) == {202: 1, 422: 5}
    taken = next(number for number, answer in enumerate(answers) if answer.status_code == 202)
    assert [row.file_name for row in busy.screenings()] == [FILMS[taken][0]]


def test_of_different_films_under_one_key_of_an_open_job_at_once_one_is_taken(busy: Site) -> None:
    answers = at_once(busy, [[film] for film in FILMS], open_job(busy.token_client(busy.add_user("tina")))["films_url"])
    assert Counter(answer.status_code for answer in answers) == {202: 1, 422: 5}
    assert busy.count(Screening) == 1
