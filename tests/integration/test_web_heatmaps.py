"""Heat maps over HTTP: who gets one, what it is, and what is said where there is none."""

import io

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select, update

from shared.db import Database
from shared.models.heatmap import EVEN, encode
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.store.store import THUMBNAIL
from shared.tables import Image as AcceptedImage
from shared.tables import Prediction, Role
from tests.conftest import draw
from tests.conftest import encode as write
from tests.web_site import Site, post_images
from web.images.heatmaps import SIDE

LOG_ODDS = np.array([[12.0, 0.0, 0.0], [0.0, 0.0, -12.0]], np.float32)
MAP = encode(LOG_ODDS)
QUIET = "No heat map was kept with this result."
SWITCH = 'id="heat-map"'


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    return site


@pytest.fixture
def tina(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


def screen(site: Site, client: FlaskClient, spec: ModelSpec, heat_map: bytes | None, image: bytes | None = None) -> str:
    """Send one image, screen it and return its id."""
    assert post_images(client, ("image.png", image or write(draw(1, (300, 200)), "PNG"))).status_code == 202
    site.work(spec, {}, heat_map=heat_map)
    return str(site.screenings()[-1].id)


def stored_key(site: Site) -> str:
    with site.database.read() as session:
        return session.scalars(select(AcceptedImage.sha256)).one()


def test_a_heat_map_is_a_small_picture_in_the_images_proportions(
    site: Site, tina: FlaskClient, spec: ModelSpec
) -> None:
    image = screen(site, tina, spec, MAP)
    answer = tina.get(f"/screenings/{image}/heat-map")
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "private, no-cache"
    assert answer.headers["Content-Disposition"] == "inline"
    assert len(answer.data) < 30_000
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert (picture.mode, picture.size) == ("P", (SIDE, round(SIDE * 2 / 3)))
        levels, shown = np.asarray(picture, int), np.asarray(picture.convert("RGBA"), int)
    assert (levels[0, 0], levels[-1, -1]) == (255, 1)
    middle = levels.shape[0] // 4, levels.shape[1] // 2
    assert levels[middle] == EVEN
    assert shown[middle][3] == 0
    red, _, blue, alpha = shown[0, 0]
    assert red > blue
    assert alpha > 100
    red, _, blue, alpha = shown[-1, -1]
    assert blue > red
    assert alpha > 100
    assert np.abs(np.diff(levels, axis=1)).max() < 5, "it is smooth"


def test_an_unchanged_heat_map_is_not_sent_again(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    address = f"/screenings/{screen(site, tina, spec, MAP)}/heat-map"
    tag = {"If-None-Match": tina.get(address).headers["ETag"]}
    again = tina.get(address, headers=tag)
    assert (again.status_code, again.data) == (304, b"")
    with site.database.write() as session:
        session.execute(update(Prediction).values(heat_map=encode(-LOG_ODDS)))
    assert tina.get(address, headers=tag).status_code == 200


def test_a_heat_map_is_seen_by_those_who_see_the_image(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    image = screen(site, tina, spec, MAP)
    people = [("tom", Role.TECHNICIAN), ("rita", Role.READER), ("ada", Role.ADMIN)]
    answers = [site.token_client(site.add_user(*person)).get(f"/screenings/{image}/heat-map") for person in people]
    assert [answer.status_code for answer in answers] == [404, 200, 200]


@pytest.mark.parametrize(("accept", "status"), [(None, 401), ("*/*", 401), ("image/*", 401), ("text/html, */*", 303)])
def test_who_is_not_signed_in_is_led_to_the_door_only_where_a_page_is_wanted(
    site: Site, tina: FlaskClient, spec: ModelSpec, accept: str | None, status: int
) -> None:
    address = f"/screenings/{screen(site, tina, spec, MAP)}/heat-map"
    headers = {} if accept is None else {"Accept": accept}
    assert site.app.test_client().get(address, headers=headers).status_code == status


def test_an_image_without_a_heat_map_says_so_quietly(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    image = screen(site, tina, spec, None)
    answer = tina.get(f"/screenings/{image}/heat-map", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    assert answer.json["detail"] == "There is no heat map of this X-ray."  # type: ignore[index]
    page = site.browser(site.add_user("rita", Role.READER)).get(f"/screenings/{image}").text
    assert QUIET in page
    assert SWITCH not in page


def test_the_page_offers_a_map_and_says_what_it_is_not(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    image = screen(site, tina, spec, MAP)
    page = site.browser(site.add_user("rita", Role.READER)).get(f"/screenings/{image}").text
    assert SWITCH in page
    assert f'src="/screenings/{image}/heat-map"' in page
    assert "what moved the model, not where disease is" in page
    assert "The map is coarse" in page
    assert QUIET not in page
    assert "style=" not in page


def test_an_image_that_waits_says_nothing_of_a_map(site: Site, tina: FlaskClient) -> None:
    post_images(tina, ("image", write(draw(1))))
    page = site.browser(site.add_user("rita", Role.READER)).get(f"/screenings/{site.screenings()[0].id}").text
    assert QUIET not in page
    assert SWITCH not in page


def test_the_api_gives_the_address_of_a_map_where_there_is_one(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    mapped = screen(site, tina, spec, MAP)
    bare = screen(site, tina, spec, None, write(draw(2)))
    post_images(tina, ("waits", write(draw(3))), ("refused", b"no X-ray"))
    rows = {row["id"]: row for row in tina.get("/api/v1/predictions").json["predictions"]}  # type: ignore[index]
    assert {id_: row["heat_map_url"] for id_, row in rows.items() if row["heat_map_url"]} == {
        mapped: f"/screenings/{mapped}/heat-map"
    }
    assert bare in rows
    assert len(rows) == 4
    assert tina.get(rows[mapped]["heat_map_url"]).status_code == 200
    listed = tina.get(f"/api/v1/jobs/{rows[mapped]['job']}/screenings").json["screenings"]  # type: ignore[index]
    assert [row["heat_map_url"] for row in listed] == [f"/screenings/{mapped}/heat-map"]


def test_the_same_image_sent_again_has_the_same_map(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    image = write(draw(1))
    first = screen(site, tina, spec, MAP, image)
    tom = site.token_client(site.add_user("tom"))
    post_images(tom, ("again", image))
    second = str(next(row.id for row in site.screenings() if str(row.id) != first))
    assert tom.get(f"/screenings/{second}/heat-map").data == tina.get(f"/screenings/{first}/heat-map").data
    assert tom.get(f"/screenings/{first}/heat-map").status_code == 404


def test_a_turned_image_has_its_map_upright(site: Site, tina: FlaskClient, spec: ModelSpec) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side; shown upright
    image = screen(site, tina, spec, MAP, write(draw(3, (300, 200)), exif=exif))
    site.store.put_derived(stored_key(site), THUMBNAIL, write(draw(3, (107, 160))))
    with Image.open(io.BytesIO(tina.get(f"/screenings/{image}/heat-map").data)) as picture:
        assert picture.size == (round(SIDE * 2 / 3), SIDE)
