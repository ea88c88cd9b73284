"""With pseudonyms on, no name is kept or told in clear, by whatever way it came in and whatever became of it."""

import logging
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from pydantic import SecretStr
from werkzeug.test import TestResponse

from shared.db import Database
from shared.intake import archive
from shared.intake.pseudonyms import may_stand_for
from shared.refusals import Rejection
from shared.settings import Settings
from shared.store.store import FolderStore
from shared.tables import Role
from tests.conftest import draw, encode
from tests.unit.shared.intake.test_archive import chunks, encrypted, link, zipped
from tests.web_site import Site

IMAGE = encode(draw(1))
EDGE = b"edge"


def overlapping(name: str) -> bytes:
    """Two entries of one place: the first is refused, though its bytes are there."""
    data = bytearray(zipped({f"{name}.jpeg": IMAGE, "good.jpeg": encode(draw(2))}, zipfile.ZIP_STORED))
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    return bytes(data)


def damaged(name: str) -> bytes:
    data = bytearray(zipped({name: IMAGE, "good.jpeg": IMAGE}, zipfile.ZIP_STORED))
    data[200] ^= 0xFF
    return bytes(data)


def by_other_method(data: bytes) -> bytes:
    """Say of a ZIP's only entry that it is packed by PPMd (APPNOTE.TXT, 4.4.5), in both of its headers."""
    packed = bytearray(data)
    for place in (data.index(b"PK\x03\x04") + 8, data.index(b"PK\x01\x02") + 10):
        packed[place : place + 2] = (98).to_bytes(2, "little")
    return bytes(packed)


ZIPS: dict[str, Callable[[str], bytes]] = {
    "good": lambda name: zipped({f"{name}/{name}.jpeg": IMAGE}),
    "no image": lambda name: zipped({name: b"text", f"{name}.txt": b""}),
    "out of the ZIP": lambda name: zipped({f"../{name}": IMAGE, f"/{name}": IMAGE, f"C:\\{name}": IMAGE}),
    "a link": link,
    "nested": lambda name: zipped({f"{name}.zip": zipped({name: IMAGE})}),
    "a password": lambda name: encrypted(zipped({name: IMAGE})),
    "a bomb": lambda name: zipped({name: b"BM" + bytes(1_200_000)}),
    "damaged": damaged,
    "overlapping": overlapping,
    "cut short": lambda name: zipped({name: IMAGE})[:-30],
    "a method that is not read": lambda name: by_other_method(zipped({name: IMAGE}, zipfile.ZIP_STORED)),
    "only folders": lambda name: zipped({f"{name}/": b""}),
    "too many entries": lambda name: zipped({f"{name}{n}": b"" for n in range(9)}),
    "too large": lambda name: zipped({name: bytes(5_000_000)}),
    "an image too large": lambda name: zipped({name: b"BM" + bytes(1_600_000)}, zipfile.ZIP_STORED),
}
SMALL = {"max_zip_entries": 8, "max_zip_bytes": 4_000_000, "max_image_bytes": 1_500_000}


@st.composite
def names(draw: st.DrawFn) -> tuple[str, str]:
    """A name with a part that nothing else holds, and that part."""
    core = "Mustermann" + draw(st.text("abcdefghij", min_size=6, max_size=6))
    around = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"/\\%'), max_size=6)
    return f"{draw(around)}{core}{draw(around)}", core


def concealed(settings: Settings) -> Settings:
    return settings.model_copy(update={"pseudonymise_names": True, "secret_key": SecretStr("one"), **SMALL})


@limits(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names())
def test_every_result_of_a_file_bears_a_pseudonym(
    store: FolderStore, settings: Settings, name: tuple[str, str]
) -> None:
    given_name, core = name
    on = concealed(settings)
    off = on.model_copy(update={"pseudonymise_names": False})
    sent = [(f"{given_name}.zip", make(given_name)) for make in ZIPS.values()]
    for file_name, data in [*sent, (given_name, IMAGE), (given_name, b"")]:
        results, plain = (list(archive.receive(file_name, chunks(data), store, asked)) for asked in (on, off))
        assert len(results) >= 1
        for result, clear in zip(results, plain, strict=True):
            assert core not in repr(result)
            assert core in clear.file_name
            assert may_stand_for(result.file_name, clear.file_name)
            assert result.image == clear.image
            assert repr(result.rejection) == repr(clear.rejection)


def test_the_zips_above_are_refused_for_every_reason_there_is(store: FolderStore, settings: Settings) -> None:
    found = {
        result.rejection.code
        for make in ZIPS.values()
        for result in archive.receive("a.zip", chunks(make("a")), store, concealed(settings))
        if result.rejection
    }
    assert {code for code in Rejection if code.startswith("zip_")} <= found


# ---------------------------------------------------------------- over HTTP


@dataclass
class Way:
    """One request that carries a name."""

    path: str = "/api/v1/jobs"
    body: bytes | None = None
    json: object = None
    content_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def part(head: str, data: bytes) -> bytes:
    return b"--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % (EDGE, head.encode(), data)


FILES = part('name="files"; filename="a"', IMAGE)


def form(*parts: bytes, **headers: str) -> Way:
    body = b"".join([*parts, b"--%s--\r\n" % EDGE])
    return Way(body=body, content_type="multipart/form-data; boundary=edge", headers=tuple(headers.items()))


def percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


WAYS: dict[str, Callable[[str], Way]] = {
    "file name": lambda name: form(part(f'name="files"; filename="{name}"', IMAGE)),
    "folder name": lambda name: form(part(f'name="files"; filename="{name}/{name}.png"', IMAGE)),
    "folder of Windows": lambda name: form(part(f'name="files"; filename="a\\{name}\\b.png"', IMAGE)),
    "filename*": lambda name: form(part(f"name=\"files\"; filename*=UTF-8''{percent(name)}", IMAGE)),
    "refused file": lambda name: form(part(f'name="files"; filename="{name}.dcm"', b"no image")),
    "empty file": lambda name: form(part(f'name="files"; filename="{name}"', b"")),
    "job name in a form": lambda name: form(part('name="name"', name.encode()), FILES),
    "priority": lambda name: form(part('name="priority"', name.encode()), FILES),
    "source": lambda name: form(part('name="source"', name.encode()), FILES),
    "expected images": lambda name: Way(json={"expected_images": name}),
    "part of another name": lambda name: form(part(f'name="{name}"; filename="{name}"', IMAGE)),
    "text that is not asked for": lambda name: form(
        part(f'name="{name}"', name.encode()), FILES
    ),
    "form that ends too soon": lambda name: Way(
        body=part(f'name="files"; filename="{name}"', IMAGE)[:-50], content_type="multipart/form-data; boundary=edge"
    ),
    "job name": lambda name: Way(json={"name": name}),
    "job name that is none": lambda name: Way(json={"name": [name]}),
    "key of the request": lambda name: form(
        FILES, **{"Idempotency-Key": name.encode("ascii", "replace").decode()}
    ),
    **{
        f"ZIP: {kind}": lambda name, make=make: form(part(f'name="files"; filename="{name}.zip"', make(name)))  # type: ignore[misc]
        for kind, make in ZIPS.items()
    },
}  # fmt: skip


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database, pseudonymise_names=True, **SMALL)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def send(client: FlaskClient, way: Way) -> TestResponse:
    headers = list(way.headers)
    return client.post(way.path, data=way.body, json=way.json, content_type=way.content_type, headers=headers)


def kept(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        yield str(path).encode()
        if path.is_file():
            yield path.read_bytes()


def told(site: Site, client: FlaskClient, admin: FlaskClient) -> Iterator[str]:
    """Whatever the server says of images afterwards."""
    job = next(iter(client.get("/api/v1/jobs").json["jobs"]), None)
    addresses = [
        "/history",
        "/jobs",
        "/api/v1/jobs",
        "/api/v1/predictions",
        "/api/v1/predictions?format=csv",
        "/metrics",
    ]
    addresses += [f"/jobs/{job['id']}", f"/api/v1/jobs/{job['id']}/screenings"] if job else []
    for address in addresses:
        yield client.get(address).text
    for address in ("/api/v1/audit?format=json", "/audit/export?format=csv", "/audit"):
        yield admin.get(address).text


@limits(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names())
def test_no_name_is_kept_or_told_by_whatever_way_it_came(
    site: Site, client: FlaskClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: tuple[str, str]
) -> None:
    given_name, core = name
    caplog.set_level(logging.DEBUG)
    for way, make in WAYS.items():
        answer = send(client, make(given_name))
        assert answer.status_code in {201, 202, 400, 422}, (way, answer.text)
        assert core not in answer.text, way
        assert core not in caplog.text, way
        assert not any(core.encode() in data for data in kept(tmp_path)), way


def test_no_page_no_export_and_no_audit_row_tells_a_name(
    site: Site, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for make in WAYS.values():
        send(client, make("Mustermann"))
    assert len(site.screenings()) > len(ZIPS)
    admin = site.browser(site.add_user("ada", Role.ADMIN))
    assert [text for text in told(site, client, admin) if "Mustermann" in text] == []
    assert "Mustermann" not in caplog.text


def test_the_same_key_stays_the_same_request(site: Site, client: FlaskClient) -> None:
    first, again = [send(client, WAYS["key of the request"]("Mustermann")) for _ in "ab"]
    assert first.json["id"] == again.json["id"]
    assert len(site.screenings()) == 1


def test_the_name_of_a_refused_entry_is_whole_where_nothing_is_concealed(
    store: FolderStore, settings: Settings
) -> None:
    found = [item.file_name for item in archive.receive("a.zip", chunks(overlapping("clear")), store, settings)]
    assert found == ["a.zip/clear.jpeg", "a.zip/good.jpeg"]
