"""The end of a job is said once, on the next page of whoever sent it by hand."""

import uuid

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Uuid, bindparam, select, text, update
from sqlalchemy.exc import OperationalError

from shared.db import Database
from shared.messages import endings
from shared.messages.endings import note_ends
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.tables import Job, Role, Source, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images

SAID = "has ended."
NAME = "Ward <3>"
CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8"
ESCAPED = "Ward &lt;3&gt;"


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def tina(site: Site) -> User:
    return site.add_user("tina")


def send(site: Site, user: User, spec: ModelSpec, seed: int = 1, source: Source = Source.WEB) -> uuid.UUID:
    """Send a job as from the page."""
    answer = post_images(site.token_client(user), ("a.png", encode(draw(seed), "PNG")), name=NAME)
    job = uuid.UUID(answer.json["id"])
    with site.database.write() as session:
        session.execute(update(Job).where(Job.id == job).values(source=source))
    return job


def notices(client: FlaskClient, address: str) -> int:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text.count(SAID)


def test_it_is_said_once_with_a_link(site: Site, tina: User, spec: ModelSpec) -> None:
    job, browser, other = send(site, tina, spec), site.browser(tina), site.browser(site.add_user("rita", Role.READER))
    assert note_ends(site.database, []) == 0
    assert notices(browser, "/help") == 0
    site.work(spec, {})
    assert note_ends(site.database, []) == 1
    assert notices(other, "/help") == 0
    browser.get("/account", headers={"Accept": "*/*"})  # what a script asks for shows nobody anything
    page = browser.get("/help", headers={"Accept": CHROMIUM}).text
    assert f'<a class="name" href="/jobs/{job}"><bdi>{ESCAPED}</bdi></a> {SAID}' in page
    assert notices(browser, "/help") == notices(browser, "/jobs") == 0


def spoil(database: Database, job: uuid.UUID, source: str = "carrier pigeon") -> None:
    """Write a source that this version does not know, as a later one might have; reading the row is a LookupError."""
    with database.write() as session:
        session.execute(
            text("UPDATE jobs SET source = :source WHERE id = :id").bindparams(
                bindparam("id", job, Uuid()), source=source
            )
        )


def test_a_job_whose_end_cannot_be_noted_holds_no_other_up(
    site: Site, tina: User, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bad, *good = [send(site, tina, spec, seed) for seed in range(4)]
    site.work(spec, {})
    spoil(site.database, bad)
    monkeypatch.setattr(endings, "_AT_ONCE", 2)
    failed: list[uuid.UUID] = []
    assert [note_ends(site.database, failed) for _ in range(3)] == [1, 2, 0]
    assert failed == [bad]
    said = [record for record in caplog.records if record.name == "shared.messages.endings"]
    assert [(record.levelname, str(bad) in record.getMessage()) for record in said] == [("ERROR", True)] * 3
    assert NAME not in caplog.text
    spoil(site.database, bad, Source.WEB.value)
    assert note_ends(site.database, failed) == 1
    assert failed == []
    with site.database.read() as session:
        assert set(session.scalars(select(Job.id).where(Job.ended_at.is_not(None)))) == {bad, *good}


def test_the_database_going_away_ends_the_look_and_the_others_come_first_then(
    site: Site, tina: User, spec: ModelSpec
) -> None:
    stuck, free = [send(site, tina, spec, seed) for seed in range(2)]
    site.work(spec, {})
    which = f"BEFORE UPDATE OF ended_at ON jobs WHEN NEW.id = '{stuck.hex}'"
    trigger = f"CREATE TRIGGER stuck {which} BEGIN SELECT json('none'); END"
    with site.database.write() as session:  # "malformed JSON" is an OperationalError
        session.execute(text(trigger))
    failed: list[uuid.UUID] = []
    with pytest.raises(OperationalError):
        note_ends(site.database, failed)
    assert failed == [stuck]
    with pytest.raises(OperationalError):
        note_ends(site.database, failed)
    with site.database.write() as session:
        assert session.get_one(Job, free).ended_at is not None
        session.execute(text("DROP TRIGGER stuck"))
    assert note_ends(site.database, failed) == 1


def test_a_page_that_is_fetched_ahead_tells_nobody(site: Site, tina: User, spec: ModelSpec) -> None:
    send(site, tina, spec)
    site.work(spec, {})
    note_ends(site.database, [])
    ahead = site.browser(tina).get("/help", headers={"Accept": CHROMIUM, "Sec-Purpose": "prefetch;prerender"})
    assert SAID not in ahead.text
    assert notices(site.browser(tina), "/help") == 1


def test_who_saw_the_end_on_the_page_of_the_job_is_not_told_again(site: Site, tina: User, spec: ModelSpec) -> None:
    browser = site.browser(tina)
    for seed, address in enumerate(["", "/fragment"]):
        job = send(site, tina, spec, seed)
        site.work(spec, {})
        if seed:
            note_ends(site.database, [])  # before or after the look, it is all the same
        assert notices(browser, f"/jobs/{job}{address}") == 0
        note_ends(site.database, [])
        assert notices(browser, "/help") == 0


def test_an_error_in_place_of_the_page_of_the_job_shows_no_end(site: Site, tina: User, spec: ModelSpec) -> None:
    browser, job = site.browser(tina), send(site, tina, spec)
    site.work(spec, {})
    note_ends(site.database, [])
    refused = browser.get(f"/jobs/{job}?cursor=none")
    assert (refused.status_code, SAID in refused.text) == (422, False)
    assert notices(browser, "/help") == 1


def test_the_look_of_another_person_does_not_count(site: Site, tina: User, spec: ModelSpec) -> None:
    job = send(site, tina, spec)
    site.work(spec, {})
    note_ends(site.database, [])
    assert notices(site.browser(site.add_user("rita", Role.READER)), f"/jobs/{job}") == 0
    assert notices(site.browser(tina), "/help") == 1


def test_programs_are_not_told_on_pages(site: Site, tina: User, spec: ModelSpec) -> None:
    send(site, tina, spec, source=Source.API)
    site.work(spec, {})
    assert note_ends(site.database, []) == 1
    assert notices(site.browser(tina), "/help") == 0
