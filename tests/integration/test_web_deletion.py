"""Deleting a job by page and by API: who may, what is asked first, what goes and what it leaves in the audit trail."""

import html
import uuid
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.queue.retention import purge
from shared.settings import Settings
from shared.tables import Image, Role, Screening, Tombstone, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, press


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, tmp_path: Path) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def tina(site: Site) -> User:
    return site.add_user("tina")


def send(client: FlaskClient, *seeds: int) -> str:
    answer = post_images(client, *[(f"ward {n}.jpeg", encode(draw(n))) for n in seeds])
    assert answer.status_code == 202, answer.text
    return answer.json["id"]


@pytest.fixture
def job_id(site: Site, tina: User, spec: ModelSpec) -> str:
    """A job of two images that has finished."""
    job_id = send(site.token_client(tina), 1, 2)
    site.work(spec, {})
    return job_id


def test_a_person_is_asked_and_then_the_job_is_gone(site: Site, tina: User, job_id: str) -> None:
    browser = site.browser(tina)
    assert f"/jobs/{job_id}/delete" in browser.get(f"/jobs/{job_id}").text
    asked = browser.get(f"/jobs/{job_id}/delete")
    assert asked.status_code == 200
    assert "Delete this job?" in asked.text
    assert site.count(Screening) == 2, "asking deletes nothing"
    answer = press(browser, f"/jobs/{job_id}/delete")
    assert (answer.status_code, answer.location) == (303, "/jobs")
    assert "The job is deleted, with 2 X-rays." in browser.get("/jobs").text
    assert browser.get(f"/jobs/{job_id}").status_code == 404
    assert "ward" not in browser.get("/history").text
    assert [site.count(table) for table in (Screening, Image, Tombstone)] == [0, 0, 2]


def test_a_program_deletes_a_job(site: Site, tina: User, job_id: str) -> None:
    client = site.token_client(tina)
    answer = client.delete(f"/api/v1/jobs/{job_id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 404
    assert client.get("/api/v1/predictions").json["predictions"] == []
    assert site.actions()[-1] == "job_deleted"
    assert site.actions().count("job_deleted") == 1


def test_an_image_that_another_job_shows_stays_there(site: Site, tina: User, job_id: str, spec: ModelSpec) -> None:
    site.install_model(spec)
    client = site.token_client(tina)
    other = send(client, 2)
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    (image,) = client.get(f"/api/v1/jobs/{other}/screenings").json["screenings"]
    assert image["label"] == "NORMAL"
    assert site.browser(tina).get(f"/screenings/{image['id']}/image").status_code == 200


def test_a_job_that_goes_on_is_not_deleted(site: Site, tina: User) -> None:
    client = site.token_client(tina)
    job_id = send(client, 1)
    answer = client.delete(f"/api/v1/jobs/{job_id}")
    assert answer.status_code == 409
    assert "Cancel it first" in answer.json["detail"]
    browser = site.browser(tina)
    assert f"/jobs/{job_id}/delete" not in browser.get(f"/jobs/{job_id}").text
    assert browser.get(f"/jobs/{job_id}/delete").status_code == 409
    client.post(f"/api/v1/jobs/{job_id}/cancel")
    assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204


@pytest.mark.parametrize(("role", "expected"), [(Role.TECHNICIAN, 404), (Role.READER, 403), (Role.ADMIN, 204)], ids=str)
def test_only_the_sender_and_admins_delete(site: Site, job_id: str, role: Role, expected: int) -> None:
    other = site.token_client(site.add_user("other", role))
    assert other.delete(f"/api/v1/jobs/{job_id}").status_code == expected
    assert site.count(Screening) == (0 if expected == 204 else 2)


def test_a_browser_needs_its_token_to_delete(site: Site, tina: User, job_id: str) -> None:
    browser = site.browser(tina)
    assert browser.post(f"/jobs/{job_id}/delete").status_code == 403
    assert browser.delete(f"/api/v1/jobs/{job_id}").status_code == 403
    assert site.count(Screening) == 2


OF_AN_XRAY = ("/screenings/{id}", "/screenings/{id}/image", "/screenings/{id}/report.pdf")
DELETED, NONE = "The X-ray {} was deleted with its job.", "There is no X-ray {}."
NO_PAGE = "The address is wrong, or you may not see what it shows."
OF_AN_XRAY_BY_API = tuple(f"/api/v1/screenings/{{id}}/{part}" for part in ("reviews", "score", "same-patient"))


def said(site: Site, user: User, opened: uuid.UUID) -> set[str]:
    """What each page and answer about an X-ray says to an account: that it was deleted, or that there is none."""
    browser, found = site.browser(user), set()
    for address in (*OF_AN_XRAY, *OF_AN_XRAY_BY_API):
        answer = browser.get(address.format(id=opened))
        assert answer.status_code == 404, address
        detail = html.unescape(answer.text)
        (text,) = [text for text in (DELETED, NONE, NO_PAGE) if text.format(opened) in detail]
        found.add(NONE if text == NO_PAGE else text)
    return found


def test_an_xray_that_was_deleted_is_told_to_those_who_could_see_it(site: Site, tina: User, job_id: str) -> None:
    opened, unopened = (row.id for row in site.screenings())
    other, rita = site.add_user("other"), site.add_user("rita", Role.READER)
    assert site.browser(tina).get(f"/screenings/{opened}").status_code == 200
    assert said(site, other, opened) == {NONE}, "it is there"
    assert site.token_client(tina).delete(f"/api/v1/jobs/{job_id}").status_code == 204
    assert said(site, tina, opened) == said(site, rita, opened) == {DELETED}
    assert said(site, other, opened) == said(site, tina, unopened) == said(site, rita, uuid.uuid4()) == {NONE}


def test_who_opened_an_xray_alone_is_told_unless_all_are_theirs_to_see(site: Site, tina: User, job_id: str) -> None:
    (opened, _) = (row.id for row in site.screenings())
    rita = site.add_user("rita", Role.READER)
    assert site.browser(rita).get(f"/screenings/{opened}").status_code == 200
    site.token_client(tina).delete(f"/api/v1/jobs/{job_id}")
    assert said(site, site.add_user("ada", Role.ADMIN), opened) == {DELETED}
    assert said(site, tina, opened) == {NONE}


def test_a_job_that_was_deleted_is_told_to_those_who_could_see_it(site: Site, tina: User, job_id: str) -> None:
    accounts = {"tina": tina, "other": site.add_user("other"), "rita": site.add_user("rita", Role.READER)}

    def told(job: object) -> list[str]:
        said = f"The job {job} was deleted on"
        pages = [name for name, user in accounts.items() if said in site.browser(user).get(f"/jobs/{job}").text]
        api = f"/api/v1/jobs/{job}"
        assert [name for name, user in accounts.items() if said in site.token_client(user).get(api).text] == pages
        return pages

    assert told(job_id) == []
    site.token_client(tina).delete(f"/api/v1/jobs/{job_id}")
    assert told(job_id) == ["tina", "rita"]
    assert told(uuid.uuid4()) == []
    purged = send(site.token_client(tina), 3)
    site.token_client(tina).post(f"/api/v1/jobs/{purged}/cancel")
    list(purge(site.database, site.store, now()))
    assert told(purged) == ["tina", "rita"]


def test_there_is_no_job_to_delete(site: Site, tina: User) -> None:
    assert site.token_client(tina).delete(f"/api/v1/jobs/{uuid.uuid4()}").status_code == 404
