"""Beyond a stated backlog or free disk new images are told to come back, and nothing changes for those accepted."""

import shutil
from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from shared.db import Database, now
from shared.errors import DiskLow, QueueFull
from shared.models.spec import ModelSpec
from shared.settings import MIB, Settings
from shared.states import State
from shared.submission.admission import Admission
from shared.submission.measurement import Measurement
from shared.tables import Job, Priority, Screening, Source
from tests.conftest import draw, encode
from tests.web_site import Site, form, post_images, token_of

IMAGES = [(f"{n}.jpeg", encode(draw(n, (80, 80)))) for n in range(12)]
PLENTY = 1 << 50


def make_site(settings: Settings, database: Database, **limits: int) -> Site:
    return Site(settings, database, **{"max_backlog": 5, "interactive_reserve": 0, "interactive_images": 4, **limits})


@pytest.fixture
def full(settings: Settings, sqlite_database: Database) -> Site:
    """A site whose queue is full."""
    site = make_site(settings, sqlite_database)
    assert post_images(site.token_client(site.add_user("bob")), *IMAGES[:5]).status_code == 202
    return site


@pytest.fixture
def tina(full: Site) -> FlaskClient:
    return full.token_client(full.add_user("tina"))


def test_a_full_queue_is_a_problem_that_says_when_to_come_back(full: Site, tina: FlaskClient) -> None:
    kept = full.stored()
    answer = post_images(tina, IMAGES[7])
    assert answer.status_code == 429
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Retry-After"] == "30", "nothing is being screened, so nobody knows"
    assert answer.json == {
        "type": "/status#queue-full",
        "code": "queue_full",
        "title": "Queue full",
        "status": 429,
        "detail": (
            "5 X-rays are waiting, and the limit is 5. None are being screened at the moment. Nothing of this request "
            "was kept; X-rays accepted before are safe. Try again in 30 s."
        ),
        "retry_after": 30,
    }
    assert (full.count(Job), full.count(Screening), full.stored()) == (1, 5, kept)


def test_the_time_to_wait_follows_from_the_speed_of_screening(full: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    full.install_model(spec)
    full.work(spec, {}, images=4)
    assert post_images(tina, *IMAGES[5:9]).status_code == 202
    answer = post_images(tina, IMAGES[9])
    assert answer.status_code == 429
    # Room for a micro-batch of 32, at four images in the second or in the few seconds that have passed.
    assert 8 <= int(answer.headers["Retry-After"]) <= 300
    assert "X-rays are screened per second" in answer.json["detail"]  # type: ignore[index]


def test_room_lets_the_same_request_in(full: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    full.install_model(spec)
    assert post_images(tina, IMAGES[7], headers={"Idempotency-Key": "k"}).status_code == 429
    full.work(spec, {}, images=1)
    assert post_images(tina, IMAGES[7], headers={"Idempotency-Key": "k"}).status_code == 202


def test_an_open_job_waits_and_what_it_sent_before_stays_accepted(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = make_site(settings, sqlite_database)
    site.install_model(spec)
    tina = site.token_client(site.add_user("tina"))
    job = tina.post("/api/v1/jobs", json={"expected_images": 10}, headers={"Idempotency-Key": "job"}).json
    assert job is not None

    def send(key: str, *images: tuple[str, bytes]) -> int:
        return post_images(tina, *images, to=job["images_url"], headers={"Idempotency-Key": key}).status_code

    assert send("a", *IMAGES[:5]) == 202
    assert send("b", *IMAGES[5:10]) == 429
    assert send("a", *IMAGES[:5]) == 202, "its answer may have been lost; it adds nothing"
    assert tina.post("/api/v1/jobs", json={}).status_code == 429
    again = tina.post("/api/v1/jobs", json={"expected_images": 10}, headers={"Idempotency-Key": "job"})
    assert (again.status_code, again.json["id"]) == (201, job["id"])  # type: ignore[index]
    site.work(spec, {})
    assert send("b", *IMAGES[5:10]) == 202
    assert tina.post(f"{job['status_url']}/close").status_code == 200
    site.work(spec, {})
    assert [image.state for image in site.screenings()] == [State.DONE] * 10


# ---------------------------------------------------------------- the reserve of interactive images


@pytest.fixture
def reserved(settings: Settings, sqlite_database: Database) -> Site:
    """A full queue with a reserve of three images."""
    site = make_site(settings, sqlite_database, interactive_reserve=3)
    assert post_images(site.token_client(site.add_user("bob")), *IMAGES[:5]).status_code == 202
    return site


def test_single_images_go_in_beyond_the_backlog_until_their_reserve_is_full(reserved: Site) -> None:
    tina = reserved.token_client(reserved.add_user("tina"))
    assert [post_images(tina, image).status_code for image in IMAGES[5:9]] == [202, 202, 202, 429]


@pytest.mark.parametrize(
    ("images", "fields", "status"),
    [
        (3, {}, 202),
        (4, {}, 429),
        (5, {}, 429),
        (1, {"priority": "bulk"}, 429),
        (3, {"priority": "interactive"}, 202),
        (5, {"priority": "interactive"}, 429),
    ],
)
def test_the_reserve_is_for_few_images(reserved: Site, images: int, fields: dict[str, str], status: int) -> None:
    tina = reserved.token_client(reserved.add_user("tina"))
    assert post_images(tina, *IMAGES[5 : 5 + images], **fields).status_code == status
    assert reserved.count(Screening) == 5 + images * (status == 202)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"expected_images": 2}, 201), ({"expected_images": 50}, 429), ({"priority": "interactive"}, 201)],
)
def test_a_small_job_is_opened_while_the_queue_is_full(reserved: Site, fields: dict[str, object], status: int) -> None:
    tina = reserved.token_client(reserved.add_user("tina"))
    answer = tina.post("/api/v1/jobs", json=fields)
    assert answer.status_code == status
    if status == 201:
        assert post_images(tina, IMAGES[6], to=answer.json["images_url"]).status_code == 202  # type: ignore[index]


# ---------------------------------------------------------------- while a large upload streams


def test_a_request_that_was_let_in_is_broken_off_only_at_twice_the_limit(
    settings: Settings, sqlite_database: Database
) -> None:
    site = make_site(settings, sqlite_database)
    bob = site.token_client(site.add_user("bob"))
    admission = Admission(site.settings, site.capacity)
    admission.check(Priority.BULK, 1)
    post_images(bob, *IMAGES[:9])
    admission.check(Priority.BULK, 2)
    with pytest.raises(QueueFull):
        Admission(site.settings, site.capacity).check(Priority.BULK)
    with sqlite_database.write() as session:
        for image in session.query(Screening):
            image.state = State.DONE
    post_images(bob, *IMAGES[:12])
    with pytest.raises(QueueFull):
        admission.check(Priority.BULK, 3)


def test_a_request_larger_than_the_limit_goes_into_an_empty_queue(
    settings: Settings, sqlite_database: Database
) -> None:
    site = make_site(settings, sqlite_database)
    assert post_images(site.token_client(site.add_user("tina")), *IMAGES).status_code == 202


def test_a_disk_that_fills_while_images_come_stops_the_upload(settings: Settings, sqlite_database: Database) -> None:
    site = make_site(settings, sqlite_database, max_backlog=100, min_free_bytes=50 * MIB)
    room = iter([51 * MIB, 50 * MIB + 7, 50 * MIB, 50 * MIB - 1])
    site.capacity.free_bytes = Measurement(lambda: next(room))
    site.capacity.free_bytes.seconds = 0.0
    answer = post_images(site.token_client(site.add_user("tina")), *IMAGES)
    assert (answer.status_code, answer.headers["Retry-After"]) == (507, "5")
    assert (site.count(Job), site.count(Screening), site.sent_tickets.images) == (0, 0, [])


# ---------------------------------------------------------------- the disk


@pytest.fixture
def low(settings: Settings, sqlite_database: Database) -> Site:
    """A site whose disk has less room than is kept."""
    return make_site(settings, sqlite_database, min_free_bytes=PLENTY)


def test_a_low_disk_takes_no_image_and_says_so_everywhere(low: Site, image: bytes) -> None:
    tina = low.token_client(low.add_user("tina"))
    for answer in (post_images(tina, ("a.jpeg", image)), tina.post("/api/v1/jobs", json={"expected_images": 1})):
        assert (answer.status_code, answer.headers["Retry-After"]) == (507, "5")
        problem = answer.json
        assert problem is not None
        assert (problem["type"], problem["title"], problem["retry_after"]) == ("/status#disk-low", "Disk low", 5)
    assert low.count(Job) == 0
    ready = tina.get("/readyz")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")  # type: ignore[index]
    assert ready.json["checks"]["disk"] == "disk low"  # type: ignore[index]


def test_a_request_that_would_not_leave_enough_room_is_refused_before_it_is_read(
    settings: Settings, sqlite_database: Database
) -> None:
    site = make_site(settings, sqlite_database)
    site.capacity.free_bytes = Measurement(lambda: 2 * site.settings.min_free_bytes)
    admission = Admission(site.settings, site.capacity)
    admission.check(Priority.BULK, coming_bytes=site.settings.min_free_bytes)
    with pytest.raises(DiskLow):
        admission.check(Priority.BULK, coming_bytes=site.settings.min_free_bytes + 1)


def test_samples_wait_too(low: Site, image: bytes) -> None:
    folder = low.settings.data_dir / "samples"
    folder.mkdir()
    (folder / "a.jpeg").write_bytes(image)
    site = Site(low.settings, low.database, samples_dir=folder)
    browser = site.browser(site.add_user("tina"))
    answer = browser.post("/samples", data={"csrf_token": token_of(browser.get("/"))})
    assert (answer.status_code, "Disk low" in answer.text) == (507, True)


def test_what_was_accepted_goes_on_while_the_disk_is_low(low: Site, spec: ModelSpec, image: bytes) -> None:
    calm = Site(low.settings, low.database, min_free_bytes=0)
    calm.install_model(spec)
    post_images(calm.token_client(calm.add_user("bob")), ("a.jpeg", image))
    low.work(spec, {})
    (screening,) = low.screenings()
    assert (screening.state, shutil.disk_usage(low.settings.store).free < PLENTY) == (State.DONE, True)


# ---------------------------------------------------------------- people without scripts


def test_a_plain_form_gets_a_page_that_says_what_to_do(full: Site) -> None:
    browser = full.browser(full.add_user("tina"))
    token = token_of(browser.get("/"))
    answer = browser.post("/jobs", **form(IMAGES[5:10], csrf_token=token))
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert "<h1>Queue full</h1>" in answer.text
    assert "5 X-rays are waiting, and the limit is 5." in answer.text
    assert "What to do:" in answer.text
    assert 'href="/status"' in answer.text


def test_the_start_page_says_what_holds_images_up(full: Site, low: Site) -> None:
    browser = full.browser(full.add_user("tina"))
    assert "<strong>Queue full.</strong>" in browser.get("/").text
    browser = low.browser(low.add_user("tom"))
    assert "<strong>Disk low.</strong>" in browser.get("/").text


def test_an_upload_that_waits_is_not_called_stopped(full: Site, spec: ModelSpec) -> None:
    tom = full.add_user("tom")
    with full.database.write() as session:
        job = Job(name="open", created_by_id=tom.id, source=Source.WEB, model_name="m", priority=Priority.BULK)
        job.created_at = now() - timedelta(minutes=5)
        session.add(job)
    browser = full.browser(tom)
    assert "The upload is waiting." in browser.get(f"/jobs/{job.id}").text
    full.install_model(spec)
    full.work(spec, {})
    assert "The upload has stopped." in browser.get(f"/jobs/{job.id}").text
