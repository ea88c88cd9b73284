"""Filters of lists by who reviewed an image and by its job: what they let through, and what their form offers."""

import re
import uuid

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.spec import ModelSpec
from shared.reviews.reviews import NewReview, add_review, withdraw
from shared.settings import Settings
from shared.tables import ReviewOutcome, Role, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.lists.filters import JOBS_OFFERED, Filters, Order
from web.lists.listing import list_screenings


@pytest.fixture(params=["sqlite"])
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


def listed(database: Database, viewer: User, filters: Filters, order: Order) -> list[uuid.UUID]:
    with database.read() as session:
        return [row.screening_id for row in list_screenings(session, viewer, filters, order, None, 50).rows]


@pytest.mark.parametrize("order", Order)
def test_reviewed_by_lists_what_a_reader_said_last(
    settings: Settings, database: Database, spec: ModelSpec, order: Order
) -> None:
    site = Site(settings, database)
    site.install_model(spec)
    client = site.token_client(site.add_user("tina"))
    post_images(client, *[(f"{n}.png", encode(draw(n), "PNG")) for n in range(3)])
    site.work(spec, {})
    rita, ruth = (site.add_user(name, Role.READER) for name in ("rita", "ruth"))
    first, second, third = site.screenings()
    with database.write() as session:
        add_review(session, rita, first, NewReview(ReviewOutcome.AGREE))
        add_review(session, rita, second, NewReview(ReviewOutcome.AGREE))
        add_review(session, ruth, third, NewReview(ReviewOutcome.AGREE))
    with database.write() as session:
        withdraw(session, rita, second)
    assert listed(database, rita, Filters(reviewed_by="rita"), order) == [first.id]
    assert listed(database, rita, Filters(reviewed_by="ruth"), order) == [third.id]
    assert listed(database, rita, Filters(reviewed_by="nobody"), order) == []
    page = site.browser(rita).get("/history?reviewed_by=rita").text
    assert "Reviewed by: <bdi>rita</bdi>" in page
    assert "0.png</a>" in page
    assert "1.png</a>" not in page
    answer = client.get("/api/v1/predictions?reviewed_by=ruth").json
    assert [row["file_name"] for row in answer["predictions"]] == ["2.png"]  # type: ignore[index]
    assert "<td>Reviewed by</td><td><code>reviewed_by</code></td>" in site.browser(rita).get("/help").text


def offered_jobs(browser: FlaskClient, address: str) -> list[str]:
    """Return the words of the jobs that a form offers, without the times."""
    field = browser.get(address).text.split('<select id="f-job"')[1].split("</select>")[0]
    return [said.partition(" · ")[0] for said in re.findall(r"<option[^>]*>([^<]*)<", field)]


def test_a_form_offers_the_newest_jobs_that_its_reader_may_see(site: Site) -> None:
    tina, tom = site.add_user("tina"), site.add_user("tom")
    sender = site.token_client(tina)
    made = [sender.post("/api/v1/jobs", json={"name": f"ward {n}"}).json["id"] for n in range(JOBS_OFFERED + 1)]
    newest_first = [f"ward {n}" for n in reversed(range(len(made)))]
    tinas, toms = site.browser(tina), site.browser(tom)
    assert offered_jobs(tinas, "/history") == ["Any", *newest_first[:-1]]
    assert offered_jobs(tinas, f"/history?job={made[0]}") == ["Any", "ward 0", *newest_first[:-1]]
    assert offered_jobs(toms, "/history") == ["Any"]
    assert offered_jobs(toms, f"/history?job={made[0]}") == ["Any", made[0]], "whose name is not told"
