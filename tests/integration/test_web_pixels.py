"""The samples of an image at full depth, as the viewer asks for them."""

import gzip
import json
from typing import Any

import imagecodecs
import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import select

from shared.db import Database
from shared.settings import Settings
from shared.store.encryption import new_key
from shared.tables import AuditEvent
from tests.conftest import draw, encode
from tests.drawn_files import picture, radiograph
from tests.web_site import Site, post_images
from web.images import pixels


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def client(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def send(site: Site, client: FlaskClient, data: bytes) -> str:
    assert post_images(client, ("image", data)).status_code == 202
    return f"/screenings/{site.screenings()[-1].id}/pixels"


def read(client: FlaskClient, address: str) -> tuple[dict[str, Any], np.ndarray]:
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype) == (200, "application/octet-stream"), answer.text
    said = json.loads(answer.headers["X-Image"])
    samples = np.frombuffer(answer.data, f"<u{said['bytes']}").reshape(said["height"], said["width"])
    return said, samples


STORED = (picture() * 4095).astype(np.uint16)


@pytest.mark.parametrize("is_inverse", [False, True])
def test_a_radiograph_comes_with_its_own_samples_and_window(site: Site, client: FlaskClient, is_inverse: bool) -> None:
    window = {"WindowCenter": "2000.5", "WindowWidth": "1001", "BitsStored": 12, "HighBit": 11}
    kind = "MONOCHROME1" if is_inverse else "MONOCHROME2"
    said, samples = read(client, send(site, client, radiograph(STORED, PhotometricInterpretation=kind, **window)))
    assert np.array_equal(samples, STORED)
    assert said["photometric"] == kind
    assert (said["bits"], said["black"], said["white"]) == (12, 1500.0, 2500.0)
    assert (said["slope"], said["intercept"], said["nothing"], said["spacing"]) == (1.0, 0.0, None, None)


def test_values_are_those_behind_the_modality_transform(site: Site, client: FlaskClient) -> None:
    data = radiograph((STORED - 1000.0).astype(np.int16), RescaleSlope="2", RescaleIntercept="-1024")
    said, samples = read(client, send(site, client, data))
    values = samples * said["slope"] + said["intercept"]
    assert np.array_equal(values, (STORED - 1000.0) * 2 - 1024)


def test_padding_keeps_a_number_of_its_own(site: Site, client: FlaskClient) -> None:
    padded = STORED.copy()
    padded[:4] = 0
    said, samples = read(client, send(site, client, radiograph(padded, PixelPaddingValue=0)))
    assert np.array_equal(samples == said["nothing"], padded == 0)
    assert np.array_equal(samples[4:], STORED[4:])


@pytest.mark.parametrize(
    ("tags", "right"),
    [
        ({"ImagerPixelSpacing": ["0.2", "0.2"]}, ("ImagerPixelSpacing", False, 0.2, 0.2)),
        ({"PixelSpacing": ["0.2", "0.2"]}, ("PixelSpacing", False, 0.2, 0.2)),
        (
            {"PixelSpacing": ["0.18", "0.18"], "PixelSpacingCalibrationType": "GEOMETRY"},
            ("PixelSpacing", True, 0.18, 0.18),
        ),
        (
            {"PixelSpacing": ["0.18", "0.18"], "ImagerPixelSpacing": ["0.2", "0.2"]},
            ("PixelSpacing", True, 0.18, 0.18),
        ),
        (
            {"PixelSpacing": ["0.2", "0.2"], "ImagerPixelSpacing": ["0.2", "0.2"]},
            ("ImagerPixelSpacing", False, 0.2, 0.2),
        ),
        # Rows twice as far apart as columns are shown as twice as many.
        ({"ImagerPixelSpacing": ["0.4", "0.2"]}, ("ImagerPixelSpacing", False, 0.2, 0.2)),
        ({"ImagerPixelSpacing": ["400", "400"]}, None),
    ],
)  # fmt: skip
def test_spacing_names_the_element_that_says_so(
    site: Site, client: FlaskClient, tags: dict[str, Any], right: tuple[str, bool, float, float] | None
) -> None:
    said, _ = read(client, send(site, client, radiograph(STORED, **tags)))
    spacing = said["spacing"]
    found = spacing and (spacing["source"], spacing["corrected"], spacing["down"], spacing["across"])
    assert found == (right and pytest.approx(right))


def test_a_photograph_of_an_image_lies_upright_at_eight_bits(site: Site, client: FlaskClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    said, samples = read(client, send(site, client, encode(draw(3), exif=exif)))
    assert samples.shape == (256, 224)
    assert samples.dtype == np.uint8
    assert (said["black"], said["white"], said["bits"]) == (0.0, 255.0, 8)
    turned = np.asarray(draw(3).transpose(Image.Transpose.ROTATE_270), float)
    assert np.abs(samples - turned).mean() < 2


def test_a_png_of_sixteen_bits_keeps_them(site: Site, client: FlaskClient) -> None:
    deep = (picture() * 65535).astype(np.uint16)
    said, samples = read(client, send(site, client, encode(Image.fromarray(deep), "PNG")))
    assert np.array_equal(samples, deep)
    assert said["bits"] == 16
    assert (said["black"], said["white"]) == (deep.min(), deep.max())


def test_what_is_larger_than_asked_for_is_averaged(site: Site, client: FlaskClient) -> None:
    large = (picture((2200, 900)) * 4000).astype(np.uint16)
    address = send(site, client, radiograph(large, ImagerPixelSpacing=["0.1", "0.1"]))
    said, samples = read(client, f"{address}?side=2048")
    assert samples.shape == (2048, 837)
    assert (said["full_width"], said["full_height"]) == (900, 2200)
    assert said["spacing"]["down"] == pytest.approx(0.1 * 2200 / 2048)
    assert abs(samples.mean() - large.mean()) < 2
    assert read(client, address)[1].shape == large.shape
    assert client.get(f"{address}?side=9999").status_code == 422


def test_an_answer_is_bounded_in_pixels(site: Site, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MOST_PIXELS", 5000)
    said, samples = read(client, send(site, client, radiograph(STORED)))
    assert said["width"] * said["height"] == samples.size <= 5000
    assert (said["full_width"], said["full_height"]) == (112, 96)


@pytest.mark.parametrize(
    ("accepted", "coding", "unpack"),
    [
        ("gzip, deflate, br, zstd", "zstd", imagecodecs.zstd_decode),
        ("gzip", "gzip", gzip.decompress),
        ("", None, bytes),
    ],
)
def test_it_is_compressed_as_the_browser_likes(
    site: Site, client: FlaskClient, accepted: str, coding: str | None, unpack: Any
) -> None:
    address = send(site, client, radiograph(STORED))
    answer = client.get(address, headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == coding
    assert unpack(answer.data) == STORED.tobytes()
    assert "Accept-Encoding" in answer.headers["Vary"]
    again = client.get(address, headers={"Accept-Encoding": accepted, "If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_each_look_leaves_a_trace_and_one_ahead_says_so(site: Site, client: FlaskClient) -> None:
    address = send(site, client, radiograph(STORED))
    tag = client.get(address).headers["ETag"]
    client.get(address, headers={"If-None-Match": tag})
    client.get(address, headers={"X-Preload": "1"})
    with site.database.read() as session:
        query = select(AuditEvent.detail).where(AuditEvent.action == "image_viewed").order_by(AuditEvent.sequence)
        assert session.scalars(query).all() == [None, None, {"purpose": "preload"}]


def test_a_damaged_file_is_no_error_of_ours(site: Site, client: FlaskClient) -> None:
    answer = client.get(send(site, client, encode(draw(1))[:1500]), headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert "ends before its image" in answer.json["detail"]  # type: ignore[index]


def test_an_image_that_is_gone_is_not_found(site: Site, client: FlaskClient) -> None:
    address = send(site, client, radiograph(STORED))
    for file in site.stored():
        file.unlink()
    assert client.get(address).status_code == 404


def test_an_encrypted_store_is_read_too(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, store_key=SecretStr(new_key()))
    client = site.token_client(site.add_user("tina"))
    address = send(site, client, radiograph(STORED))
    (file,) = site.stored()
    assert STORED.tobytes()[:64] not in file.read_bytes()
    assert np.array_equal(read(client, address)[1], STORED)
