"""The pictures of images, and what machines ask."""

import io
import re
import shutil
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import imagecodecs
import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import update

from shared.db import Database, now
from shared.images import decoder
from shared.models.spec import ModelSpec
from shared.queue import jobs
from shared.settings import Settings
from shared.states import State
from shared.store.store import THUMBNAIL
from shared.tables import Image as StoredImage
from shared.tables import Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.base.services import EXTENSION
from web.watch import queue_state


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def send(site: Site, client: FlaskClient, data: bytes) -> Screening:
    assert post_images(client, ("image", data)).status_code == 202
    return site.screenings()[-1]


def test_an_image_is_shown_as_a_jpeg_of_bounded_size_and_leaves_a_trace(site: Site, client: FlaskClient) -> None:
    image = send(site, client, encode(draw(1, (3000, 2000)), "PNG"))
    answer = client.get(f"/screenings/{image.id}/image")
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert (picture.format, picture.size, picture.mode) == ("JPEG", (1600, 1067), "L")
        difference = np.abs(np.asarray(picture, float) - np.asarray(draw(1, (3000, 2000)).resize(picture.size), float))
    assert difference.mean() < 2
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Disposition"] == "inline"
    assert "private" in answer.headers["Cache-Control"]
    assert site.actions()[-1] == "image_viewed"


def test_deep_and_turned_images_are_shown_upright(site: Site, client: FlaskClient) -> None:
    deep = Image.fromarray(np.asarray(draw(2), np.uint16) * 16)
    image = send(site, client, encode(deep, "TIFF"))
    with Image.open(io.BytesIO(client.get(f"/screenings/{image.id}/image").data)) as picture:
        assert picture.size == (256, 224)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = send(site, client, encode(draw(3), exif=exif))
    with Image.open(io.BytesIO(client.get(f"/screenings/{image.id}/image").data)) as picture:
        assert picture.size == (224, 256)


@pytest.mark.parametrize(
    ("refusal", "said", "is_shown"),
    [
        (("rotated", "upside_down"), "The image is upside down.", True),
        (("unreadable_image", "pixels"), "cannot be decoded", False),
    ],
)
def test_an_image_that_only_the_gate_stopped_is_shown_with_its_reason(
    site: Site, client: FlaskClient, refusal: tuple[str, str], said: str, is_shown: bool
) -> None:
    image = send(site, client, encode(draw(1)))
    stopped = {
        "state": State.REJECTED,
        "error_code": refusal[0],
        "error_details": {"case": refusal[1]},
        "finished_at": now(),
    }
    with site.database.write() as session:
        session.execute(update(Screening).where(Screening.id == image.id).values(stopped))
    assert (client.get(f"/screenings/{image.id}/thumbnail").status_code == 200) == is_shown
    reader = site.browser(site.add_user("rita", Role.READER))
    page = reader.get(f"/screenings/{image.id}").text
    assert (f"/screenings/{image.id}/image" in page) == is_shown
    assert said in page
    assert f"{image.id}/heat-map" not in page
    history = reader.get("/history?state=REJECTED").text
    assert (f"/screenings/{image.id}/thumbnail" in history) == is_shown
    assert f"screening-{image.id}" not in reader.get("/history?order=suspicious").text


def test_an_unchanged_picture_is_not_sent_again(site: Site, client: FlaskClient) -> None:
    image = send(site, client, encode(draw(1)))
    first = client.get(f"/screenings/{image.id}/image")
    again = client.get(f"/screenings/{image.id}/image", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_browser_keeps_pictures_for_a_moment_and_another_session_finds_none_of_them(
    site: Site, client: FlaskClient
) -> None:
    image = send(site, client, encode(draw(1, (80, 80))))
    rita = site.add_user("rita", Role.READER)
    pages = [
        (browser, browser.get(f"/screenings/{image.id}").text) for browser in (site.browser(rita), site.browser(rita))
    ]
    keys = {found for _, page in pages for found in re.findall(r"image\?kept=(\w+)", page)}
    assert len(keys) == 2, "one for each session"
    for browser, page in pages:
        (own,) = set(re.findall(r"image\?kept=(\w+)", page))
        (other,) = keys - {own}
        for place in ("image", "pixels"):
            address = f"/screenings/{image.id}/{place}"
            kept = {key: browser.get(f"{address}?kept={key}").headers["Cache-Control"] for key in (own, other, "")}
            assert kept == {
                own: "private, max-age=120, immutable", other: "private, no-cache", "": "private, no-cache",
            }  # fmt: skip
    assert client.get(f"/screenings/{image.id}/image?kept=").headers["Cache-Control"] == "private, no-cache"


def test_a_thumbnail_is_there_once_a_worker_has_made_it(site: Site, client: FlaskClient) -> None:
    image = send(site, client, encode(draw(1)))
    assert client.get(f"/screenings/{image.id}/thumbnail").status_code == 404
    with site.database.read() as session:
        sha256 = session.get_one(Screening, image.id).image.sha256  # type: ignore[union-attr]
    site.store.put_derived(sha256, THUMBNAIL, b"a small picture")
    answer = client.get(f"/screenings/{image.id}/thumbnail")
    assert (answer.data, answer.mimetype) == (b"a small picture", "image/jpeg")


def test_a_thumbnail_that_the_worker_left_is_drawn_at_the_first_look_and_kept(site: Site, client: FlaskClient) -> None:
    image = send(site, client, encode(draw(1)))
    with site.database.write() as session:
        row = session.get_one(Screening, image.id)
        row.state = State.DONE
        sha256 = row.image.sha256  # type: ignore[union-attr]
    answer = client.get(f"/screenings/{image.id}/thumbnail")
    assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert picture.size == (64, 56)
    assert site.store.get_derived(sha256, THUMBNAIL) == answer.data


def test_an_image_that_cannot_be_decoded_is_no_error_of_ours(site: Site, client: FlaskClient) -> None:
    image = send(site, client, encode(draw(1))[:1500])
    answer = client.get(f"/screenings/{image.id}/image", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert "ends before its image" in answer.json["detail"]  # type: ignore[index]


def test_a_refused_file_and_an_unknown_image_have_no_picture(site: Site, client: FlaskClient) -> None:
    image = send(site, client, b"no X-ray")
    assert client.get(f"/screenings/{image.id}/image").status_code == 404
    assert client.get("/images/00000000-0000-0000-0000-000000000000/thumbnail").status_code == 404
    assert client.get("/screenings/../image").status_code == 404


# ---------------------------------------------------------------- health


def test_a_program_is_told_of_a_missing_picture_in_a_problem_document_and_a_person_on_a_page(
    site: Site, client: FlaskClient
) -> None:
    address = f"/screenings/{uuid.uuid4()}/image"
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    seen = site.browser(site.add_user("rita", Role.READER)).get(address)
    assert (seen.status_code, seen.mimetype) == (404, "text/html")


def test_healthz_answers_without_a_database(settings: Settings) -> None:
    site = Site(settings, Database("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    client = site.app.test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 503
    checks = answer.json["checks"]  # type: ignore[index]
    assert (checks["database"], checks["queue"], checks["screening"]) == ("database away", "unknown", "unknown")
    metrics = client.get("/metrics").text
    assert 'pneumoscreen_check_condition{check="database",condition="database away"} 1.0' in metrics
    assert "pneumoscreen_screenings" not in metrics


def test_readyz_says_what_is_away_but_takes_images_without_redis_and_model(
    settings: Settings, sqlite_database: Database
) -> None:
    site = Site(settings, sqlite_database)
    answer = site.app.test_client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "degraded",
        "checks": {
            "database": "ok",
            "store": "ok",
            "disk": "ok",
            "queue": "ok",
            "broker": "broker away",
            "model": "no model",
            "workers": "unknown",
            "screening": "idle",
        },
        "unserved_models": [],
    }


def test_readyz_sees_a_real_redis(settings: Settings, sqlite_database: Database, redis_url: str) -> None:
    site = Site(settings, sqlite_database, redis_url=SecretStr(redis_url))
    checks = site.app.test_client().get("/readyz").json["checks"]  # type: ignore[index]
    assert (checks["broker"], checks["workers"]) == ("ok", "no worker")


def test_readyz_is_shut_where_no_image_can_be_stored(site: Site) -> None:
    post_images(site.token_client(site.add_user("tina")), ("image", encode(draw(1))))
    shutil.rmtree(site.settings.store)
    answer = site.app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["store"] == "store away"  # type: ignore[index]


def test_readyz_says_that_nothing_moves(site: Site, client: FlaskClient, spec: ModelSpec) -> None:
    def check() -> str:
        return client.get("/readyz").json["checks"]["screening"]  # type: ignore[index, no-any-return]

    post_images(client, ("a", encode(draw(1))), ("b", encode(draw(2))))
    assert check() == "ok"
    with site.database.write() as session:
        session.execute(update(Screening).values(created_at=now() - timedelta(minutes=5)))
    assert check() == "no progress"
    site.work(spec, {}, images=1)
    assert check() == "ok"


def test_what_is_retried_waits_since_then(settings: Settings, database: Database) -> None:
    site = Site(settings, database)
    client = site.token_client(site.add_user("tina"))

    def seconds() -> float:
        with site.database.read() as session:
            oldest = queue_state.oldest_waiting(session)
        return (now() - oldest).total_seconds() if oldest else 0.0

    job = post_images(client, ("a", encode(draw(1)))).json["id"]  # type: ignore[index]
    with site.database.write() as session:
        days_ago = now() - timedelta(days=3)
        session.execute(update(Screening).values(created_at=days_ago, state=State.CANCELLED))
    assert seconds() == 0.0
    with site.database.write() as session:
        assert jobs.retry(session, uuid.UUID(job)) == 1
        assert not queue_state.has_stalled(session, None, timedelta(minutes=1))
    assert 0.0 < seconds() < 3600
    post_images(client, ("b", encode(draw(2))))
    with site.database.write() as session:
        hours_ago = now() - timedelta(hours=2)
        session.execute(update(Screening).where(Screening.file_name == "b").values(created_at=hours_ago))
    assert 7200 <= seconds() < 10_000


def test_metrics_count_images_and_requests(site: Site, client: FlaskClient) -> None:
    post_images(client, ("a", encode(draw(1))), ("b", b"no X-ray"))
    text = client.get("/metrics").text
    assert 'pneumoscreen_screenings{state="QUEUED"} 1.0' in text
    assert 'pneumoscreen_screenings{state="REJECTED"} 1.0' in text
    assert 'pneumoscreen_screenings{state="FAILED"} 0.0' in text
    assert 'pneumoscreen_backlog_images{priority="interactive"} 1.0' in text
    assert "pneumoscreen_backlog_limit_images 100000.0" in text
    assert 'pneumoscreen_check_ok{check="queue"} 1.0' in text
    assert "pneumoscreen_images_per_second 0.0" in text
    assert "pneumoscreen_disk_free_bytes" in text
    assert "pneumoscreen_oldest_waiting_seconds" in text
    assert 'pneumoscreen_http_requests_total{endpoint="api.submit_job",method="POST",status="202"} 1.0' in text


def test_a_compressed_radiograph_is_shown_by_the_decoder_and_503_where_that_is_away(
    site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.asarray(draw(5)).astype(np.uint16) * 16
    image = send(site, client, imagecodecs.jpegls_encode(grey))
    with Image.open(io.BytesIO(client.get(f"/screenings/{image.id}/image").data)) as picture:
        assert picture.size == (256, 224)
        assert np.abs(np.asarray(picture, float) - np.asarray(draw(5), float)).mean() < 12
    other = send(site, client, imagecodecs.jpegls_encode(grey // 2))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    decoder.close()
    answer = client.get(f"/screenings/{other.id}/image")
    assert answer.status_code == 503


def test_invented_methods_and_addresses_make_no_row_each(client: FlaskClient) -> None:
    for number in range(20):
        client.open("/healthz", method=f"INVENTED{number}")
        client.open(f"/no/{number}", method=f"INVENTED{number}", headers={"Host": f"h{number}.example"})
    text = client.get("/metrics").text
    assert "INVENTED" not in text
    rows = [line for line in text.splitlines() if line.startswith("pneumoscreen_http_requests_total")]
    assert len(rows) <= 3, rows
    assert any('method="other",status="404"} 20.0' in row for row in rows), rows


def test_a_slow_store_keeps_no_other_image_waiting(
    site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, other = (send(site, client, encode(draw(seed))) for seed in (1, 2))
    with site.database.read() as session:
        sha256 = session.get_one(StoredImage, slow.image_id).sha256
    store, answers = site.app.extensions[EXTENSION].store, threading.Event()
    read = store.get

    def slowly(asked: str) -> bytes:
        if asked == sha256:
            assert answers.wait(30)
        return read(asked)

    monkeypatch.setattr(store, "get", slowly)
    ada = site.token_client(site.add_user("ada", Role.ADMIN))
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.get, f"/screenings/{slow.id}/image")
        try:
            assert ada.get(f"/screenings/{other.id}/image").status_code == 200
            assert not asked.done()
        finally:
            answers.set()
        assert asked.result(30).status_code == 200
