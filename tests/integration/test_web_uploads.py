"""What comes in through the API: whole jobs, batches, repeats, and everything hostile."""

import errno
import gzip
import io
import logging
import os
import uuid
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import event, select

from shared.db import Database
from shared.errors import StoreAway
from shared.models.spec import ModelSpec
from shared.refusals import Rejection
from shared.settings import MIB, Settings
from shared.states import State
from shared.store.incoming import Incoming
from shared.tables import Image, Job, Prediction, Priority, Role, Screening, Source, Upload
from tests.conftest import draw, encode
from tests.web_site import Site, form, make_zip, post_images, press, token_of
from web.uploads import receive


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


IMAGES = [(f"{n}.jpeg", encode(draw(n))) for n in range(6)]


# ---------------------------------------------------------------- whole jobs


def test_a_form_of_images_becomes_a_closed_job_and_sends_tickets(site: Site, client: FlaskClient) -> None:
    answer = post_images(client, *IMAGES, name="ward 3")
    body = answer.json
    assert answer.status_code == 202
    assert body is not None
    assert answer.location == body["status_url"]
    assert {k: body[k] for k in ("name", "state", "received", "queued", "rejected")} == {
        "name": "ward 3",
        "state": "SCREENING",
        "received": 6,
        "queued": 6,
        "rejected": [],
    }
    assert site.sent_tickets.images == [6]
    job = client.get(body["status_url"]).json
    assert job is not None
    assert (job["source"], job["priority"], job["total"], job["closed_at"] is None) == ("api", "bulk", 6, False)
    assert site.actions() == ["job_submitted"]


@pytest.mark.parametrize(
    ("texts", "count", "priority"),
    [
        ({}, 4, "interactive"),
        ({}, 5, "bulk"),
        ({"priority": "bulk"}, 1, "bulk"),
        ({"priority": "interactive"}, 5, "interactive"),
    ],
)
def test_a_small_job_goes_first_unless_its_sender_says_otherwise(
    client: FlaskClient, texts: dict[str, str], count: int, priority: str
) -> None:
    body = post_images(client, *IMAGES[:count], **texts).json
    assert body is not None
    assert client.get(body["status_url"]).json["priority"] == priority  # type: ignore[index]


@pytest.mark.parametrize(
    ("names", "job_name"),
    [(["IM-1.jpeg"], "IM-1.jpeg"), (["w/a.jpeg", "w/b/c.jpeg"], "w"), (["w/a.jpeg", "b.jpeg"], "2 files")],
)
def test_a_job_without_a_name_gets_one_from_its_images(client: FlaskClient, names: list[str], job_name: str) -> None:
    body = post_images(client, *[(name, IMAGES[n][1]) for n, name in enumerate(names)]).json
    assert body is not None
    assert body["name"] == job_name


@pytest.mark.parametrize("texts", [{"priority": "now"}, {"source": "samples"}, {"source": "fax"}])
def test_unknown_fields_are_refused_by_name(site: Site, client: FlaskClient, texts: dict[str, str]) -> None:
    answer = post_images(client, IMAGES[0], **texts)
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["errors"][0]["field"] in texts
    assert site.count(Job) == 0


def test_the_same_key_gives_the_same_job_and_adds_nothing(site: Site, client: FlaskClient) -> None:
    headers = {"Idempotency-Key": "one"}
    first = post_images(client, *IMAGES[:3], headers=headers).json
    again = post_images(client, *IMAGES[:3], headers=headers).json
    assert first is not None
    assert again is not None
    assert again["id"] == first["id"]
    assert (again["received"], again["queued"]) == (3, 0)
    assert (site.count(Job), site.count(Screening)) == (1, 3)
    other = site.token_client(site.add_user("tom"))
    assert post_images(other, *IMAGES[:3], headers=headers).json["id"] != first["id"]  # type: ignore[index]


def test_a_key_that_is_too_long_is_refused(client: FlaskClient) -> None:
    answer = post_images(client, IMAGES[0], headers={"Idempotency-Key": "x" * 129})
    assert answer.status_code == 422


def test_the_same_image_twice_is_stored_once_and_shown_in_each(site: Site, client: FlaskClient) -> None:
    post_images(client, ("a.jpeg", IMAGES[0][1]), ("b.jpeg", IMAGES[0][1]))
    post_images(client, ("c.jpeg", IMAGES[0][1]))
    assert (site.count(Image), site.count(Screening), len(site.stored())) == (1, 3, 1)


def test_an_image_that_was_answered_before_is_done_at_once(site: Site, client: FlaskClient, spec: ModelSpec) -> None:
    site.install_model(spec)
    post_images(client, *IMAGES[:3])
    site.work(spec, {})
    body = post_images(client, *IMAGES[:4]).json
    assert body is not None
    assert (body["received"], body["queued"], body["state"]) == (4, 1, "SCREENING")
    assert site.count(Prediction) == 3


def test_images_are_kept_and_wait_where_there_is_no_model(site: Site, client: FlaskClient) -> None:
    body = post_images(client, *IMAGES[:2]).json
    assert body is not None
    assert body["queued"] == 2
    assert {s.state for s in site.screenings()} == {State.QUEUED}
    assert site.count(Prediction) == 0


def test_a_job_is_accepted_while_redis_is_away(
    site: Site, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    site.sent_tickets.is_away = True
    with caplog.at_level(logging.WARNING):
        answer = post_images(client, *IMAGES[:2])
    assert answer.status_code == 202
    assert [s.state for s in site.screenings()] == [State.QUEUED, State.QUEUED]
    assert "Redis did not answer" in caplog.text


# ---------------------------------------------------------------- batches


def open_job(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/jobs", json=fields)
    assert answer.status_code == 201, answer.text
    assert answer.json is not None
    return answer.json


def test_a_job_is_opened_filled_in_batches_and_closed(site: Site, client: FlaskClient) -> None:
    job = open_job(client, name="folder", expected_images=6, source="cli")
    assert (job["state"], job["received"]) == ("RECEIVING", 0)
    for n in range(0, 6, 2):
        answer = post_images(client, *IMAGES[n : n + 2], to=job["images_url"], headers={"Idempotency-Key": f"b{n}"})
        assert (answer.status_code, answer.json["received"], answer.json["queued"]) == (202, 2, 2)  # type: ignore[index]
    again = post_images(client, *IMAGES[:2], to=job["images_url"], headers={"Idempotency-Key": "b0"})
    assert (again.status_code, again.json["received"], again.json["queued"]) == (202, 2, 0)  # type: ignore[index]
    assert client.get(job["status_url"]).json["state"] == "RECEIVING"  # type: ignore[index]
    closed = client.post(f"{job['status_url']}/close").json
    assert closed is not None
    assert (closed["state"], closed["total"], closed["expected_images"], closed["source"]) == ("SCREENING", 6, 6, "cli")
    assert (site.count(Screening), site.count(Upload), site.sent_tickets.images) == (6, 3, [2, 2, 2])
    assert client.post(f"{job['status_url']}/close").status_code == 200


def test_a_request_on_its_way_gives_signs_of_life(
    site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = client.post("/api/v1/jobs", json={"name": "slow"}).json
    assert opened is not None
    given: list[uuid.UUID] = []
    usual = receive.SignOfLife.give

    def give(sign: receive.SignOfLife) -> None:
        before = sign._due
        usual(sign)
        if sign._due != before:
            given.append(sign.job_id)

    monkeypatch.setattr(receive.SignOfLife, "give", give)
    post_images(client, *IMAGES[:3], to=opened["images_url"])
    assert given == [uuid.UUID(opened["id"])]  # once, for all that comes within its seconds
    monkeypatch.setattr(receive, "_SIGN_SECONDS", 0.0)
    post_images(client, *IMAGES[3:], to=opened["images_url"])
    assert len(given) > 4  # at the beginning and at every piece
    with site.database.read() as session:
        sent_at = session.scalars(select(Job.sent_at)).one()
    assert sent_at is not None
    client.post(f"/api/v1/jobs/{opened['id']}/close")
    assert post_images(client, *IMAGES[:1], to=opened["images_url"]).status_code == 409
    with site.database.read() as session:
        assert session.scalars(select(Job.sent_at)).one() == sent_at


def test_a_closed_job_takes_no_more_but_still_knows_what_it_took(site: Site, client: FlaskClient) -> None:
    job = open_job(client)
    post_images(client, IMAGES[0], to=job["images_url"], headers={"Idempotency-Key": "b0"})
    client.post(f"{job['status_url']}/close")
    answer = post_images(client, IMAGES[1], to=job["images_url"])
    assert answer.status_code == 409
    assert post_images(client, IMAGES[0], to=job["images_url"], headers={"Idempotency-Key": "b0"}).status_code == 202
    assert (site.count(Screening), len(site.stored())) == (1, 1)


def test_opening_with_the_same_key_gives_the_same_job(client: FlaskClient) -> None:
    headers = {"Idempotency-Key": "resume"}
    first = client.post("/api/v1/jobs", json={"name": "x"}, headers=headers).json
    again = client.post("/api/v1/jobs", json={"name": "x"}, headers=headers).json
    assert first is not None
    assert again is not None
    assert again["id"] == first["id"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"expected_images": -1}, 422),
        ({"expected_images": "many"}, 422),
        ({"expected_images": True}, 422),
        ({"name": 7}, 422),
        ({"priority": "now"}, 422),
        ([], 400),
    ],
)
def test_a_malformed_opening_is_refused(client: FlaskClient, body: object, status: int) -> None:
    assert client.post("/api/v1/jobs", json=body).status_code == status


def test_damaged_json_and_other_types_are_refused(client: FlaskClient) -> None:
    assert client.post("/api/v1/jobs", data="{", content_type="application/json").status_code == 400
    assert client.post("/api/v1/jobs", data="x", content_type="text/plain").status_code == 415


def test_another_technicians_job_takes_nothing_and_is_not_revealed(site: Site, client: FlaskClient) -> None:
    job = open_job(client)
    other = site.token_client(site.add_user("tom"))
    assert post_images(other, IMAGES[0], to=job["images_url"]).status_code == 404
    assert other.post(f"{job['status_url']}/close").status_code == 404
    assert site.stored() == []


# ---------------------------------------------------------------- a browser


def test_a_plain_form_carries_its_csrf_token_before_its_images(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    refused = post_images(browser, IMAGES[0], to="/jobs", csrf_token="wrong")
    assert (refused.status_code, site.count(Job), site.stored()) == (403, 0, [])
    token = token_of(browser.get("/"))
    answer = post_images(browser, *IMAGES[:2], to="/jobs", csrf_token=token)
    assert answer.status_code == 303
    assert answer.location.startswith("/jobs/")
    with site.database.read() as session:
        job = session.query(Job).one()
    assert (job.source, job.priority) == (Source.WEB, Priority.INTERACTIVE)


def test_a_script_of_the_page_sends_the_token_in_a_header(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    token = token_of(browser.get("/"))
    for given, opened, filled in (("", 403, 403), ("wrong", 403, 403), (token, 201, 202)):
        headers = {"X-CSRFToken": given}
        answer = browser.post("/api/v1/jobs", json={"name": "x"}, headers=headers)
        assert answer.status_code == opened
        assert opened != 403 or answer.json["code"] == "csrf"  # type: ignore[index]
        assert post_images(browser, IMAGES[0], headers=headers).status_code == filled
    with site.database.read() as session:
        assert {job.source for job in session.query(Job)} == {Source.WEB}


def test_an_empty_file_field_is_no_image(site: Site, client: FlaskClient) -> None:
    answer = client.post("/api/v1/jobs", **form([("", b"")]))
    assert answer.status_code == 422
    assert site.count(Job) == 0


def test_images_in_a_part_of_another_name_are_refused(client: FlaskClient) -> None:
    data = {"image": (io.BytesIO(IMAGES[0][1]), "a.jpeg")}
    answer = client.post("/api/v1/jobs", data=data, content_type="multipart/form-data")
    assert answer.status_code == 422
    assert "'files'" in answer.json["detail"]  # type: ignore[index]


# ---------------------------------------------------------------- hostile files


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds no pixels."""
    data = bytearray(encode(draw(0, (64, 64)), "PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    return bytes(data)


def encrypted_zip() -> bytes:
    data = bytearray(make_zip({"a.jpeg": IMAGES[0][1]}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def link_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("link.jpeg")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


HOSTILE = [
    pytest.param(b"", Rejection.EMPTY_FILE, id="empty"),
    pytest.param(b"dear colleague", Rejection.UNKNOWN_FORMAT, id="text"),
    pytest.param(b"GIF89a" + bytes(100), Rejection.UNKNOWN_FORMAT, id="gif"),
    pytest.param(bytes(128) + b"DICM" + bytes(100), Rejection.UNREADABLE_IMAGE, id="dicom"),
    pytest.param(IMAGES[0][1][:20], Rejection.UNREADABLE_IMAGE, id="truncated header"),
    pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), Rejection.UNREADABLE_IMAGE, id="damaged header"),
    pytest.param(png_header(30_000, 30_000), Rejection.TOO_MANY_PIXELS, id="too many pixels"),
    pytest.param(png_header(2**31 - 1, 2**31 - 1), Rejection.TOO_MANY_PIXELS, id="decompression bomb"),
    pytest.param(encode(draw(0, (63, 300))), Rejection.TOO_SMALL, id="too small"),
    pytest.param(IMAGES[0][1] + bytes(5 * MIB), Rejection.TOO_LARGE, id="too large"),
    pytest.param(make_zip({"a.jpeg": IMAGES[0][1]})[:-30], Rejection.ZIP_UNREADABLE, id="cut zip"),
    pytest.param(make_zip({}), Rejection.ZIP_EMPTY, id="empty zip"),
    pytest.param(make_zip({"__MACOSX/._a": b"x", ".DS_Store": b"x"}), Rejection.ZIP_EMPTY, id="zip of droppings"),
    pytest.param(make_zip({f"{n}.jpeg": b"" for n in range(30)}), Rejection.ZIP_TOO_MANY_ENTRIES, id="zip of many"),
    pytest.param(make_zip({f"{n}": bytes(4 * MIB) for n in range(6)}), Rejection.ZIP_TOO_LARGE, id="large zip"),
    pytest.param(make_zip({"a.jpeg": bytes(3 * MIB)}), Rejection.ZIP_ENTRY_BOMB, id="zip bomb"),
    pytest.param(make_zip({"a.zip": make_zip({"b": b"x"})}), Rejection.ZIP_ENTRY_NESTED, id="nested zip"),
    pytest.param(encrypted_zip(), Rejection.ZIP_ENTRY_ENCRYPTED, id="encrypted zip"),
    pytest.param(make_zip({"../../evil.jpeg": IMAGES[0][1]}), Rejection.ZIP_ENTRY_UNSAFE_NAME, id="parent"),
    pytest.param(make_zip({"/etc/evil.jpeg": IMAGES[0][1]}), Rejection.ZIP_ENTRY_UNSAFE_NAME, id="absolute"),
    pytest.param(make_zip({"C:\\evil.jpeg": IMAGES[0][1]}), Rejection.ZIP_ENTRY_UNSAFE_NAME, id="drive"),
    pytest.param(link_zip(), Rejection.ZIP_ENTRY_UNSAFE_NAME, id="link"),
]


def test_the_receipt_says_what_was_left_out_of_a_disc(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database)
    client = site.token_client(site.add_user("tina"))
    disc = {"DICOMDIR": b"x", "VIEWER/viewer.exe": b"MZ", "AUTORUN.INF": b"x", "Thumbs.db": b"x", "A/1": IMAGES[1][1]}
    body = post_images(client, IMAGES[0], ("disc.zip", make_zip(disc))).json
    assert body is not None
    assert (body["received"], body["queued"], body["rejected"]) == (2, 2, [])
    assert [(item["files"], item["reason"]) for item in body["left_out"]] == [
        (3, "of a disc's viewer"),
        (1, "of an operating system's file manager"),
    ]


LIMITS = {"max_image_bytes": 5 * MIB, "max_zip_entries": 20, "max_zip_bytes": 20 * MIB}


@pytest.mark.parametrize(("data", "code"), HOSTILE)
def test_a_hostile_file_is_rejected_and_the_rest_of_its_job_goes_on(
    settings: Settings, sqlite_database: Database, data: bytes, code: Rejection
) -> None:
    site = Site(settings, sqlite_database, **LIMITS)
    client = site.token_client(site.add_user("tina"))
    body = post_images(client, IMAGES[1], ("image.jpeg", data), IMAGES[2]).json
    assert body is not None
    assert (body["received"], body["queued"]) == (3, 2)
    (rejected,) = body["rejected"]
    assert rejected["error_code"] == code
    assert rejected["message"].endswith((".", "s."))
    assert [s.state for s in site.screenings()] == [State.QUEUED, State.REJECTED, State.QUEUED]
    assert len(site.stored()) == 2
    rows = client.get(body["screenings_url"]).json
    assert rows is not None
    assert rows["screenings"][1]["error_code"] == code


def test_a_zip_gives_its_good_images_and_names_its_bad_ones(site: Site, client: FlaskClient) -> None:
    entries = {
        "w/a.jpeg": IMAGES[0][1],
        "../b.jpeg": IMAGES[1][1],
        "w/c.txt": b"hello",
        "w/d.jpeg": IMAGES[2][1],
        "w/": b"",
    }
    body = post_images(client, ("ward.zip", make_zip(entries))).json
    assert body is not None
    assert (body["received"], body["queued"]) == (4, 2)
    assert [(r["file_name"], r["error_code"]) for r in body["rejected"]] == [
        ("ward.zip/../b.jpeg", "zip_entry_unsafe_name"),
        ("ward.zip/w/c.txt", "unknown_format"),
    ]
    assert list(site.settings.data_dir.parent.rglob("b.jpeg")) == []


@pytest.mark.parametrize("name", ["../../evil.jpeg", "a\tb\x7f.jpeg", "x" * 2000 + ".jpeg", "\u202egpej.exe"])
def test_a_file_name_is_shown_and_never_a_path(site: Site, client: FlaskClient, name: str) -> None:
    assert post_images(client, (name, IMAGES[0][1])).status_code == 202
    (screening,) = site.screenings()
    assert screening.file_name.isprintable()
    assert len(screening.file_name) <= 512
    assert [path.parent.parent.name for path in site.stored()] == ["images"]


# ---------------------------------------------------------------- limits and full disks


def test_a_request_over_the_size_limit_is_refused_with_the_limit(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, max_upload_bytes=10_000)
    client = site.token_client(site.add_user("tina"))
    answer = post_images(client, ("a.jpeg", IMAGES[0][1] + bytes(20_000)))
    assert answer.status_code == 413
    assert "10,000 bytes" in answer.json["detail"]  # type: ignore[index]
    assert (site.count(Job), site.stored()) == (0, [])


def test_too_many_files_are_refused_with_the_limit(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, max_images_per_upload=3)
    client = site.token_client(site.add_user("tina"))
    answer = post_images(client, *IMAGES[:4])
    assert answer.status_code == 413
    assert "at most 3 files" in answer.json["detail"]  # type: ignore[index]
    assert site.count(Job) == 0


def test_too_many_images_inside_zips_are_refused_with_the_limit(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, max_images_per_upload=2, max_zip_entries=3)
    client = site.token_client(site.add_user("tina"))
    archive = make_zip(dict(IMAGES[:3]))
    answer = post_images(client, ("a.zip", archive), ("b.zip", archive))
    assert answer.status_code == 413
    assert "at most 5 X-rays" in answer.json["detail"]  # type: ignore[index]
    assert site.count(Job) == 0


def test_a_large_form_elsewhere_is_refused(client: FlaskClient) -> None:
    answer = client.post("/api/v1/jobs", data=b"x" * 2 * MIB, content_type="application/json")
    assert answer.status_code == 413
    assert "1,048,576 bytes" in answer.json["detail"]  # type: ignore[index]


def test_a_damaged_form_is_refused_and_leaves_no_job(site: Site, client: FlaskClient) -> None:
    whole = client.post("/api/v1/jobs", **form(IMAGES[:2]))
    assert whole.status_code == 202
    data = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + IMAGES[3][1]
    answer = client.post("/api/v1/jobs", data=data, content_type="multipart/form-data; boundary=edge")
    assert answer.status_code == 400
    assert (site.count(Job), len(site.stored())) == (1, 2)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the disk room for 8,000 bytes of one file, as a full file system does."""

    class Cramped:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self._file, name)

        def write(self, data: bytes) -> int:
            if self._file.tell() + len(data) > 8000:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self._file.write(data)

    begin = Incoming.__init__
    monkeypatch.setattr(Incoming, "__init__", lambda self, file, *rest: begin(self, Cramped(file), *rest))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_said_and_leaves_nothing_half(site: Site, client: FlaskClient) -> None:
    answer = post_images(client, IMAGES[0], ("big.jpeg", IMAGES[1][1] + bytes(9000)))
    assert answer.status_code == 507
    assert "no room" in answer.json["detail"]  # type: ignore[index]
    assert (site.count(Job), site.count(Screening), site.sent_tickets.images) == (0, 0, [])
    assert all(path.parent.name != "incoming" for path in site.stored())


def test_a_full_database_is_said_too(site: Site, client: FlaskClient) -> None:
    with site.database.read() as session:
        pages = session.connection().exec_driver_sql("PRAGMA page_count").scalar_one()

    @event.listens_for(site.database.engine, "connect")
    def fill(connection: Any, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    site.database.engine.dispose()
    answer = post_images(client, *[(f"{'x' * 400}{n}.txt", b"x") for n in range(500)])
    assert answer.status_code == 507
    assert (site.count(Job), site.count(Screening)) == (0, 0)


def test_upload_requests_are_limited(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, upload_limit="2 per minute")
    client = site.token_client(site.add_user("tina"))
    statuses = [post_images(client, IMAGES[n]).status_code for n in range(3)]
    assert statuses == [202, 202, 429]
    assert client.get("/api/v1/jobs").status_code == 200


def test_upload_requests_are_counted_for_all_web_processes_together(
    settings: Settings, sqlite_database: Database, redis_url: str
) -> None:
    shared = settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    sites = [Site(shared, sqlite_database, upload_limit="2 per hour") for _ in range(2)]
    user = sites[0].add_user("thea")
    clients = [site.token_client(user) for site in sites]
    for client in clients:
        client.environ_base["REMOTE_ADDR"] = "198.51.100.7"  # of its own: the Redis serves other tests as well
    assert [post_images(clients[n % 2], IMAGES[n]).status_code for n in range(3)] == [202, 202, 429]


def test_file_names_stay_out_of_the_logs(site: Site, client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    secret = "Mustermann-1950"
    with caplog.at_level(logging.DEBUG):
        post_images(client, (f"{secret}.jpeg", IMAGES[0][1]), (f"{secret}.txt", b"x"), (f"{secret}.zip", b"PK\x03\x04"))
        with site.database.write() as session:
            session.connection().exec_driver_sql("DROP TABLE screenings")
        answer = post_images(client, (f"{secret}.jpeg", IMAGES[1][1]))
    assert answer.status_code in {500, 503}
    assert "screenings" in caplog.text
    assert secret not in caplog.text
    assert secret not in answer.text


# ---------------------------------------------------------------- samples


def test_samples_are_submitted_with_one_press(settings: Settings, sqlite_database: Database) -> None:
    folder = settings.data_dir.parent / "samples"
    folder.mkdir()
    for name, data in IMAGES[:3]:
        (folder / name).write_bytes(data)
    (folder / "README.md").write_text("synthetic")
    site = Site(settings, sqlite_database, samples_dir=folder)
    answer = press(site.browser(site.add_user("tina")), "/samples", page="/")
    assert answer.status_code == 303
    with site.database.read() as session:
        job = session.query(Job).one()
    assert (job.source, job.name) == (Source.SAMPLES, "Synthetic samples")
    assert [s.file_name for s in site.screenings()] == ["0.jpeg", "1.jpeg", "2.jpeg"]


def test_without_samples_there_is_nothing_to_press(site: Site) -> None:
    browser = site.browser(site.add_user("tom"))
    assert press(browser, "/samples", page="/").status_code == 404


# ---------------------------------------------------------------- a loss of power


@pytest.mark.parametrize("door", ["a job at once", "an open job"])
def test_images_are_forced_to_disk_before_a_row_names_them(
    site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    address = open_job(client)["images_url"] if door == "an open job" else "/api/v1/jobs"
    forced: list[str] = []

    def force(keys: Sequence[str]) -> None:
        assert site.screenings() == []
        forced.extend(keys)

    monkeypatch.setattr(site.store, "force", force)
    data = {"files": [(io.BytesIO(content), name) for name, content in IMAGES[:3]]}
    assert client.post(address, data=data, content_type="multipart/form-data").status_code == 202
    with site.database.read() as session:
        assert sorted(forced) == sorted(session.scalars(select(Image.sha256)))


def test_images_that_cannot_be_forced_are_not_accepted(
    site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Sequence[str]) -> None:
        raise StoreAway("The image store cannot be used: Input/output error.")

    monkeypatch.setattr(site.store, "force", fail)
    assert post_images(client, IMAGES[0]).status_code == 503
    assert site.screenings() == []
    assert site.sent_tickets.images == []


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/jobs", "/account/password"])
@pytest.mark.parametrize("encoding", ["gzip", "br, gzip", "x-invented"])
def test_a_compressed_body_is_refused_for_what_it_is(site: Site, client: FlaskClient, path: str, encoding: str) -> None:
    sender = client if path.startswith("/api/") else site.browser(site.add_user("ada", Role.ADMIN))
    sent = form([("a.png", b"x")])
    body = {**sent, "data": gzip.compress(sent["data"])}
    answer = sender.post(path, headers={"Content-Encoding": encoding}, **body)
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (415, "identity")
    assert "without a Content-Encoding" in answer.text
    assert site.count(Job) == 0


def test_a_body_that_says_it_is_not_compressed_is_taken(client: FlaskClient) -> None:
    sent = form([("a.png", encode(draw(1)))])
    assert client.post("/api/v1/jobs", headers={"Content-Encoding": "Identity"}, **sent).status_code == 202
