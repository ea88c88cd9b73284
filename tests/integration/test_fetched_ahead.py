"""An image's page that a browser fetches before anybody opens it: no view, no claim, and it uses up no message."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import AuditEvent, ImageClaim, Role
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, press

AHEAD = {"Sec-Purpose": "prefetch;prerender"}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    """A site with two screened images."""
    site = Site(settings, sqlite_database)
    sender = site.token_client(site.add_user("tina"))
    assert post_images(sender, *[(f"{n}.png", encode(draw(n), "PNG")) for n in range(2)]).status_code == 202
    site.work(spec, {})
    return site


@pytest.fixture
def rita(site: Site) -> FlaskClient:
    return site.browser(site.add_user("rita", Role.READER))


def address(site: Site) -> str:
    return f"/screenings/{site.screenings()[0].id}"


def views(site: Site) -> list[Any]:
    """What the audit trail adds to each view of an image."""
    with site.database.read() as session:
        query = select(AuditEvent.detail).where(AuditEvent.action == "image_viewed").order_by(AuditEvent.sequence)
        return list(session.scalars(query))


@pytest.mark.parametrize("headers", [{"Sec-Purpose": "prefetch"}, AHEAD, {"X-Preload": "1"}])
def test_a_page_that_is_fetched_ahead_claims_nothing(site: Site, rita: FlaskClient, headers: dict[str, str]) -> None:
    ahead = rita.get(address(site), headers=headers)
    assert (ahead.status_code, "data-fetched-ahead" in ahead.text) == (200, True)
    assert (site.count(ImageClaim), views(site)) == (0, [{"purpose": "preload"}])
    opened = rita.get(address(site))
    assert "data-fetched-ahead" not in opened.text
    assert (site.count(ImageClaim), views(site)) == (1, [{"purpose": "preload"}, None])


def test_a_picture_that_is_fetched_ahead_is_no_view(site: Site, rita: FlaskClient) -> None:
    for path in ("image", "pixels"):
        assert rita.get(f"{address(site)}/{path}", headers=AHEAD).status_code == 200
    assert views(site) == [{"purpose": "preload"}] * 2


def test_another_purpose_is_a_view(site: Site, rita: FlaskClient) -> None:
    rita.get(address(site), headers={"Sec-Purpose": "prefetched"})
    assert (site.count(ImageClaim), views(site)) == (1, [None])


def test_a_message_waits_for_a_page_that_somebody_sees(site: Site, rita: FlaskClient) -> None:
    said = "You have no review of this X-ray"
    press(rita, f"{address(site)}/reviews/withdraw", address(site))
    assert said not in rita.get(address(site), headers=AHEAD).text
    assert said in rita.get(address(site)).text


def test_rules_prerender_only_what_the_script_has_marked(site: Site, rita: FlaskClient) -> None:
    page = rita.get(address(site))
    rules = rita.get(page.headers["Speculation-Rules"].strip('"'))
    assert rules.mimetype == "application/speculationrules+json"
    assert [rule["where"] for rule in json.loads(rules.text)["prerender"]] == [
        {"selector_matches": "#next.prerendered"}
    ]
    assert 'id="next"' in page.text
    assert "prerendered" not in page.text
    assert page.headers["No-Vary-Search"] == 'params=("reviewed")'
