"""Pages as a browser gets them, on both databases, with images that were screened, refused or cancelled."""

import re
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import update

from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.queue import leases
from shared.queue.heartbeats import Heartbeats
from shared.settings import REPOSITORY, Settings
from shared.states import State
from shared.tables import Job, Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, press

IMAGES = [(f"{n}.jpeg", encode(draw(n, (80, 80)))) for n in range(5)]
P = [0.3, 0.9, 0.45, 0.9, 0.6]
BY_SUSPICION = ["3.jpeg", "1.jpeg", "4.jpeg", "2.jpeg", "0.jpeg"]


@pytest.fixture
def site(settings: Settings, database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, database)
    site.install_model(spec)
    return site


@pytest.fixture
def reader(site: Site) -> FlaskClient:
    return site.browser(site.add_user("rita", Role.READER))


@pytest.fixture
def screened(site: Site, spec: ModelSpec) -> list[str]:
    """Five answered images (threshold 0.4) and a file that is none; their ids by position."""
    tina = site.token_client(site.add_user("tina"))
    post_images(tina, *IMAGES, ("text.jpg", b"no X-ray"))
    by_position = {image.position: image for image in site.screenings()}
    with site.database.read() as session:
        digests = [session.merge(by_position[n]).image.sha256 for n in range(5)]
    site.work(spec, dict(zip(digests, P, strict=True)))
    return [str(by_position[n].id) for n in range(6)]


def heading(page: str) -> str:
    found = re.search(r"<h1[^>]*>(.*?)</h1>", page)
    assert found is not None
    return found[1]


def address_of(page: str, key: str) -> str | None:
    """Where Previous or Next leads."""
    found = re.search(f'id="{key}" href="([^"]+)"', page)
    return found[1].replace("&amp;", "&") if found else None


def walk(client: FlaskClient, address: str | None, key: str) -> list[str]:
    names = []
    while address is not None:
        page = client.get(address)
        assert page.status_code == 200
        names.append(heading(page.text))
        address = address_of(page.text, key)
    return names


def first_image(client: FlaskClient, history: str) -> str:
    found = re.search(r'class="name" href="(/screenings/[^"]+)"', client.get(history).text)
    assert found is not None
    return found[1].replace("&amp;", "&")


def test_next_follows_the_list_that_an_image_was_opened_from(reader: FlaskClient, screened: list[str]) -> None:
    address = first_image(reader, "/history?order=suspicious")
    assert walk(reader, address, "next") == BY_SUSPICION
    last = f"/screenings/{screened[0]}?order=suspicious"
    assert walk(reader, last, "previous") == BY_SUSPICION[::-1]
    page = reader.get(last).text
    assert "By suspicion" in page
    assert "X-ray 1 of" not in page


def test_next_keeps_the_filters(reader: FlaskClient, screened: list[str]) -> None:
    assert len(screened) == 6
    address = first_image(reader, "/history?order=suspicious&max_confidence=0.85&label=PNEUMONIA")
    assert walk(reader, address, "next") == ["4.jpeg", "2.jpeg"]
    newest = first_image(reader, "/history?state=REJECTED")
    assert walk(reader, newest, "next") == ["text.jpg"]
    assert reader.get(f"/screenings/{screened[0]}?order=oldest").status_code == 422


def test_next_goes_by_position_from_the_job_page(reader: FlaskClient, screened: list[str]) -> None:
    address = f"/screenings/{screened[0]}"
    assert walk(reader, address, "next") == [*(name for name, _ in IMAGES), "text.jpg"]
    assert "X-ray 1 of 6" in reader.get(address).text


def test_the_order_by_suspicion_counts_what_it_leaves_out(reader: FlaskClient, screened: list[str]) -> None:
    assert len(screened) == 6
    page = reader.get("/history?order=suspicious").text
    assert "1 X-ray without a result is not in this order." in page
    only = reader.get("/history?order=suspicious&state=REJECTED").text
    assert "No X-ray matches" not in only
    assert "1 X-ray without a result is not in this order." in only
    assert 'href="/history?state=REJECTED&amp;order=newest"' in only
    assert "without a result" not in reader.get("/history?order=suspicious&state=DONE").text
    assert "No X-ray matches" in reader.get("/history?order=suspicious&text=nowhere").text
    assert "without a result" not in reader.get("/history").text


def test_an_image_between_threshold_and_half_does_not_contradict_itself(
    reader: FlaskClient, screened: list[str]
) -> None:
    sentence = "Pneumonia is less likely than not, but the threshold is set low so that few cases are missed."
    low, high, normal = (reader.get(f"/screenings/{screened[n]}").text for n in (2, 1, 0))
    assert sentence in low
    assert "more likely bacterial" not in low
    assert sentence not in high
    assert "more likely bacterial" in high
    assert sentence not in normal
    rows = reader.get("/history?label=PNEUMONIA").text
    assert rows.count('class="badge pneumonia"') == 4
    assert rows.count('class="suspicion above"') + rows.count('class="suspicion near"') == 4
    assert "bacterial" not in rows


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("min_confidence=much", "Confidence from: Give a number from 0 to 1. Received: &#39;much&#39;."),
        ("since=2026-02-01&until=2026-01-31", "Sent from: Give a start that is not after the end of the range"),
        ("order=oldest", "Order: Give one of newest, suspicious, unread."),
    ],
)
def test_a_filter_that_cannot_be_used_is_named_as_its_field_is(reader: FlaskClient, query: str, said: str) -> None:
    page = reader.get(f"/history?{query}")
    assert page.status_code == 422
    assert said in page.text
    assert "No X-ray matches" not in page.text


def test_a_page_of_a_list_that_is_not_there_is_said_in_words(reader: FlaskClient) -> None:
    page = reader.get("/history?cursor=zzz")
    assert page.status_code == 422
    assert "Open the list again" in page.text
    assert "cursor:" not in page.text


def send(site: Site, name: str = "tina") -> tuple[FlaskClient, str]:
    """Send two images; return the sender's browser and the address of the job's page."""
    tina = site.add_user(name)
    job = post_images(site.token_client(tina), *IMAGES[:2]).json
    return site.browser(tina), f"/jobs/{job['id']}"


def test_cancelling_says_what_it_did(site: Site, spec: ModelSpec) -> None:
    browser, job = send(site)
    assert press(browser, f"{job}/cancel", job).status_code == 303
    page = browser.get(job).text
    assert "The job is cancelled: 2 X-rays will not be screened." in page
    assert "Cancelled, 0 of 2 screened" in page
    press(browser, f"{job}/retry", job)
    site.work(spec, {})
    press(browser, f"{job}/cancel", job)
    assert "The job had already finished." in browser.get(job).text
    opened = site.token_client(site.add_user("tom")).post("/api/v1/jobs", json={"name": "open", "expected_images": 3})
    admin = site.browser(site.add_user("ada", Role.ADMIN))
    job = f"/jobs/{opened.json['id']}"
    press(admin, f"{job}/cancel", job)
    page = admin.get(job).text
    assert "The upload has ended. No X-ray was waiting." in page
    assert "Incomplete, 3 of 3 X-rays were not received" in page


def test_results_stand_below_a_word_of_caution(site: Site, spec: ModelSpec) -> None:
    sentence = "The model gives a result for any picture, even where that result means nothing."
    browser, job = send(site)
    assert sentence not in browser.get(job).text
    site.work(spec, {})
    assert sentence in browser.get(job).text


@pytest.fixture
def live_site(settings: Settings, sqlite_database: Database, redis_url: str) -> Site:
    return make_live_site(settings, sqlite_database, redis_url, lease_seconds=20)


def make_live_site(settings: Settings, database: Database, redis_url: str, lease_seconds: float) -> Site:
    """A site with a Redis and the committed model."""
    live = {"redis_url": SecretStr(redis_url), "lease_seconds": lease_seconds, "model": "compact-cnn"}
    site = Site(settings, database, **live)
    shutil.copytree(REPOSITORY / "models" / "compact-cnn", site.settings.model_dir)
    return site


@pytest.fixture
def heartbeats(live_site: Site) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats(live_site.settings)
    yield heartbeats
    for worker in heartbeats.workers():
        heartbeats.leave(worker)
    heartbeats.close()


def test_a_worker_that_stops_answering_is_said(live_site: Site, spec: ModelSpec, heartbeats: Heartbeats) -> None:
    browser, job = send(live_site)
    heartbeats.announce("w2", "compact-cnn@0", 3600)
    with live_site.database.write() as session:
        model_id = leases.register_model(session, spec)
    with live_site.database.write() as session:
        claim = leases.claim(
            session, model_id=model_id, model_name="compact-cnn", limit=9, worker="w1", lease_seconds=20
        )
    assert claim is not None
    heartbeats.announce("w1", "compact-cnn@0", 3600)
    let_rest(live_site)
    assert "stopped answering" not in browser.get(job).text
    heartbeats.leave("w1")
    page = browser.get(job).text
    assert "The worker has stopped answering." in page
    assert "Its X-rays are picked up again within 20 s." in page
    heartbeats.leave("w2")
    assert "No worker is running." in browser.get(job).text


def let_rest(site: Site) -> None:
    """Let nothing have moved for five minutes, by the clock of a worker that is an hour behind."""
    past = now() - timedelta(minutes=65)
    with site.database.write() as session:
        values = {"created_at": past, "started_at": past, "lease_until": past + timedelta(seconds=20)}
        session.execute(update(Screening).values(values))
        session.execute(update(Job).values(created_at=past))


def test_no_time_is_promised_while_nothing_moves(live_site: Site, heartbeats: Heartbeats) -> None:
    browser, job = send(live_site)
    heartbeats.announce("w1", "compact-cnn@0", 3600)
    with live_site.database.write() as session:
        past = now() - timedelta(seconds=20)
        session.execute(update(Screening).values(created_at=past))
        answered = {"state": State.DONE, "started_at": past, "finished_at": past + timedelta(seconds=5)}
        session.execute(update(Screening).where(Screening.position == 0).values(answered))
    assert re.search(r"about \d+ s left", browser.get(job).text) is None
    with live_site.database.write() as session:  # something was answered just now
        session.execute(update(Screening).where(Screening.position == 0).values(finished_at=now()))
    assert re.search(r"about \d+ s left", browser.get(job).text)


def test_a_job_that_is_retried_after_days_has_not_stalled(
    live_site: Site, spec: ModelSpec, heartbeats: Heartbeats
) -> None:
    browser, job = send(live_site)
    days_ago = now() - timedelta(days=3)
    with live_site.database.write() as session:
        values = {"state": State.FAILED, "error_code": "worker_lost", "created_at": days_ago, "finished_at": days_ago}
        session.execute(update(Screening).values(values))
        session.execute(update(Job).values(created_at=days_ago, closed_at=days_ago))
    heartbeats.announce("w1", "compact-cnn@0", 3600)
    assert press(browser, f"{job}/retry", job).status_code == 303
    assert "note-warn" not in browser.get(job).text
    waits = re.search(r"^pneumoscreen_oldest_waiting_seconds (\S+)", browser.get("/metrics").text, re.MULTILINE)
    assert waits is not None
    assert float(waits[1]) < 3600
    live_site.work(spec, {})
    page = browser.get(job).text
    assert "finished" in page
    assert "3 d" not in page, "neither how long it took nor its speed"
    assert "X-rays/s" not in page


def test_images_that_wait_say_whether_a_worker_runs(live_site: Site, heartbeats: Heartbeats) -> None:
    browser, job = send(live_site)

    def sent_at(moment: datetime) -> None:
        with live_site.database.write() as session:
            session.execute(update(Screening).values(created_at=moment))

    sent_at(now() + timedelta(minutes=1))  # however slow the machine is, it has not waited long
    assert "note-warn" not in browser.get(job).text
    sent_at(now() - timedelta(minutes=5))
    assert "No worker is running." in browser.get(job).text
    heartbeats.announce("w1", "compact-cnn@0", 10)
    assert "Waiting for a worker." in browser.get(job).text
    heartbeats.announce("w1", "compact-cnn@0", 90)
    assert "There is no progress." in browser.get(job).text
    heartbeats.leave("w1")
    heartbeats.announce("w2", "another@0", 90)
    assert "No worker serves this model." in browser.get(job).text
