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
from tests.web_site import File, Site, make_zip, post_images, token_of

IMAGES = [(f"image-{n}.jpeg", encode(draw(800 + n))) for n in range(6)]
KEY = {"Idempotency-Key": "k"}
ZIP = ("images.zip", make_zip({"a.jpeg": IMAGES[0][1], "notes.txt": b"no image"}))
NOTES = ("notes.txt", b"no image")

FIRST: tuple[File, ...] = (IMAGES[0], NOTES)
OTHERS: dict[str, tuple[File, ...]] = {
    "another image": (IMAGES[1], NOTES),
    "another image under the same name": ((IMAGES[0][0], IMAGES[1][1]), NOTES),
    "another name": (("else.jpeg", IMAGES[0][1]), NOTES),
    "more": (IMAGES[0], NOTES, IMAGES[1]),
    "fewer": (IMAGES[0],),
    "another order": (NOTES, IMAGES[0]),
    "another refused file": (IMAGES[0], ("notes.txt", b"none either")),
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


@pytest.fixture(params=["a whole job", "X-rays of an open job"])
def send(request: pytest.FixtureRequest, client: FlaskClient) -> Send:
    """Send images under one key, to each endpoint that takes one."""
    to = "/api/v1/jobs" if request.param == "a whole job" else open_job(client)["images_url"]
    return lambda *images, **options: post_images(client, *images, to=to, headers=KEY, **options)


def is_refused(answer: TestResponse) -> bool:
    assert answer.json is not None
    return answer.status_code == 422 and answer.json["errors"][0]["field"] == "Idempotency-Key"


def test_a_key_that_comes_with_other_files_is_refused_and_keeps_nothing(site: Site, send: Send) -> None:
    assert send(*FIRST).status_code == 202
    rows, stored = [row.file_name for row in site.screenings()], site.stored()
    refused = {name: is_refused(send(*images)) for name, images in OTHERS.items()}
    assert refused == dict.fromkeys(OTHERS, True)
    assert "nothing of this one was kept" in send(IMAGES[2]).text
    assert ([row.file_name for row in site.screenings()], site.stored()) == (rows, stored)
    assert send(*FIRST).status_code == 202, "the first request is still known"


def test_the_same_request_is_answered_as_before_and_sends_no_ticket(site: Site, send: Send) -> None:
    images = (*FIRST, ZIP)
    first, again = send(*images).json, send(*images).json
    assert first is not None
    assert again is not None
    assert {**first, "queued": 0} == again
    assert (again["received"], [item["error_code"] for item in again["rejected"]]) == (4, ["unknown_format"] * 2)
    assert site.count(Screening) == 4
    assert site.sent_tickets.images == [2]


def test_a_file_that_was_refused_before_its_end_counts_to_its_end(
    settings: Settings, sqlite_database: Database
) -> None:
    site = Site(settings, sqlite_database, max_image_bytes=1000)
    client = site.token_client(site.add_user("tina"))
    large = b"\xff\xd8\xff" + bytes(600_000)
    assert post_images(client, ("a.jpeg", large + b"1"), headers=KEY).status_code == 202
    assert is_refused(post_images(client, ("a.jpeg", large + b"2"), headers=KEY))
    assert post_images(client, ("a.jpeg", large + b"1"), headers=KEY).status_code == 202


@pytest.mark.parametrize("texts", [{"name": "ward 3"}, {"priority": "bulk"}, {"source": "cli"}])
def test_a_key_that_comes_with_another_submission_is_refused(client: FlaskClient, texts: dict[str, str]) -> None:
    assert post_images(client, IMAGES[0], headers=KEY).status_code == 202
    assert is_refused(post_images(client, IMAGES[0], headers=KEY, **texts))


def test_what_is_left_out_is_part_of_the_request(client: FlaskClient) -> None:
    to = open_job(client)["images_url"]
    codes = [
        post_images(client, IMAGES[0], to=to, headers=KEY, **texts).status_code
        for texts in ({"skip_received": "true"}, {}, {"skip_received": "false"}, {"skip_received": "true"})
    ]
    assert codes == [202, 422, 422, 202]


def test_not_to_leave_out_is_what_a_request_without_the_word_says(client: FlaskClient) -> None:
    to = open_job(client)["images_url"]
    for texts in ({}, {"skip_received": "false"}, {"skip_received": ""}):
        assert post_images(client, IMAGES[0], to=to, headers=KEY, **texts).status_code == 202


@pytest.mark.parametrize("fields", [{"name": "y"}, {"name": "x", "expected_images": 3}, {}])
def test_an_open_job_of_another_submission_is_refused(site: Site, client: FlaskClient, fields: dict[str, Any]) -> None:
    assert client.post("/api/v1/jobs", json={"name": "x"}, headers=KEY).status_code == 201
    assert is_refused(client.post("/api/v1/jobs", json=fields, headers=KEY))
    assert client.post("/api/v1/jobs", json={"name": "x"}, headers=KEY).status_code == 201
    assert (site.count(Job), site.actions().count("job_submitted")) == (1, 1)


def test_a_key_of_one_kind_of_request_does_not_do_for_another(site: Site, client: FlaskClient) -> None:
    job = open_job(client, **KEY)
    assert is_refused(post_images(client, IMAGES[0], headers=KEY))
    assert client.get(job["status_url"]).json["state"] == "RECEIVING"  # type: ignore[index]
    post_images(client, IMAGES[0], headers={"Idempotency-Key": "whole"})
    assert is_refused(client.post("/api/v1/jobs", json={}, headers={"Idempotency-Key": "whole"}))
    assert site.count(Screening) == 1


def test_the_form_of_a_page_is_held_to_its_key_too(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    token = token_of(browser.get("/help"))
    codes = [
        post_images(browser, image, to="/jobs", headers=KEY, csrf_token=token).status_code
        for image in (IMAGES[0], IMAGES[1], IMAGES[0])
    ]
    assert codes == [303, 422, 303]
    assert site.count(Job) == 1


def test_a_closed_job_still_tells_a_key_that_is_used_for_others(client: FlaskClient) -> None:
    job = open_job(client)
    post_images(client, IMAGES[0], to=job["images_url"], headers=KEY)
    client.post(f"{job['status_url']}/close")
    assert is_refused(post_images(client, IMAGES[1], to=job["images_url"], headers=KEY))
    assert post_images(client, IMAGES[0], to=job["images_url"], headers=KEY).status_code == 202


def test_a_key_of_before_there_were_digests_is_answered_as_it_was(site: Site, send: Send) -> None:
    assert send(*FIRST).status_code == 202
    with site.database.write() as session:
        session.execute(update(Job).values(request_digest=None))
        session.execute(update(Upload).values(request_digest=None, first_position=None, images=None))
    answer = send(*FIRST)
    assert (answer.status_code, answer.json["queued"]) == (202, 0)  # type: ignore[index]
    assert site.count(Screening) == 2


# ---------------------------------------------------------------- limits


def test_a_known_key_brings_nothing_past_a_full_queue_or_disk(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, max_backlog=2, interactive_reserve=0, max_images_per_upload=3)
    client = site.token_client(site.add_user("tina"))
    assert post_images(client, *IMAGES[:2], headers=KEY).status_code == 202
    stored = site.stored()
    assert post_images(client, IMAGES[2]).status_code == 429
    assert is_refused(post_images(client, *IMAGES[2:4], headers=KEY))
    assert post_images(client, *IMAGES[:4], headers=KEY).status_code == 413
    assert post_images(client, *IMAGES[:2], headers=KEY).status_code == 202
    assert (site.stored(), site.count(Screening)) == (stored, 2)


# ---------------------------------------------------------------- at the same moment


@pytest.fixture
def busy(settings: Settings, database: Database) -> Site:
    """A site on each database."""
    return Site(settings, database)


def at_once(site: Site, images: Sequence[Sequence[File]], to: str = "/api/v1/jobs") -> list[TestResponse]:
    with site.database.read() as session:
        user = session.get_one(Job, next(iter(session.query(Job.id)))[0]).created_by if to != "/api/v1/jobs" else None
    user = user or site.add_user("tom")
    clients = [site.token_client(user) for _ in images]
    with ThreadPoolExecutor(len(images)) as threads:
        sent = [
            threads.submit(post_images, client, *some, to=to, headers=KEY)
            for client, some in zip(clients, images, strict=True)
        ]
        return [one.result() for one in sent]


def test_the_same_request_many_times_at_once_is_one_job(busy: Site) -> None:
    answers = at_once(busy, [IMAGES[:3]] * 6)
    assert Counter(answer.status_code for answer in answers) == {202: 6}
    assert len({answer.json["id"] for answer in answers}) == 1  # type: ignore[index]
    assert (busy.count(Job), busy.count(Screening), busy.count(Upload)) == (1, 3, 1)


def test_of_different_requests_under_one_key_at_once_one_is_taken(busy: Site) -> None:
    answers = at_once(busy, [[image] for image in IMAGES])
    assert Counter(answer.status_code for answer in answers) == {202: 1, 422: 5}
    taken = next(number for number, answer in enumerate(answers) if answer.status_code == 202)
    assert [row.file_name for row in busy.screenings()] == [IMAGES[taken][0]]


def test_of_different_images_under_one_key_of_an_open_job_at_once_one_is_taken(busy: Site) -> None:
    answers = at_once(
        busy, [[image] for image in IMAGES], open_job(busy.token_client(busy.add_user("tina")))["images_url"]
    )
    assert Counter(answer.status_code for answer in answers) == {202: 1, 422: 5}
    assert busy.count(Screening) == 1
