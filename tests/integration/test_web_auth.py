"""Sign-in: who gets in, as whom, for how long, and what is refused."""

import re

import pytest
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from shared.accounts import links
from shared.db import Database
from shared.settings import Settings
from shared.tables import User
from tests.web_site import PASSWORD, Site, press, token_of


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


def sign_in(browser: FlaskClient, name: str = "tina", password: str = PASSWORD, query: str = "") -> TestResponse:
    return press(browser, f"/sign-in{query}", name=name, password=password)


def is_in(browser: FlaskClient) -> bool:
    return browser.get("/api/v1/me").status_code == 200


def test_name_and_password_open_a_session(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    browser = site.browser()
    answer = sign_in(browser)
    assert (answer.status_code, answer.location) == (303, "/")
    assert browser.get("/api/v1/me").json == {"name": "tina", "display_name": None, "email": None, "role": "technician"}
    assert site.actions() == ["sign_in"]


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, secure_cookies=True)
    site.add_user("tina", password=PASSWORD)
    browser = site.browser()
    browser.environ_base["wsgi.url_scheme"] = "https"
    browser.environ_base["HTTP_REFERER"] = "https://localhost/sign-in"
    page = browser.get("/sign-in", base_url="https://localhost")
    answer = browser.post(
        "/sign-in",
        data={"csrf_token": token_of(page), "name": "tina", "password": PASSWORD},
        base_url="https://localhost",
    )
    cookie = answer.headers["Set-Cookie"]
    assert answer.status_code == 303
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Lax", "Secure", "Expires="))
    assert "max-age=" in answer.headers["Strict-Transport-Security"]


@pytest.mark.parametrize(
    ("name", "password"), [("tina", "wrong password!"), ("nobody", PASSWORD), ("rita", PASSWORD), ("gone", PASSWORD)]
)
def test_wrong_names_passwords_and_closed_accounts_stay_out(site: Site, name: str, password: str) -> None:
    site.add_user("tina", password=PASSWORD)
    site.add_user("rita")  # has no password
    gone = site.add_user("gone", password=PASSWORD)
    with site.database.write() as session:
        session.execute(update(User).where(User.id == gone.id).values(is_active=False))
    browser = site.browser()
    answer = sign_in(browser, name, password)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert not is_in(browser)
    assert site.actions() == ["sign_in_refused"]


@pytest.mark.parametrize("name", ["", "n\u00e4me", "a\0b", "x" * 65])
def test_malformed_names_are_refused_on_the_form(site: Site, name: str) -> None:
    answer = sign_in(site.browser(), name, PASSWORD)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/history?label=PNEUMONIA", "/history?label=PNEUMONIA"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/%0a/evil.example", "/"),
        ("history", "/"),
    ],
)
def test_after_signing_in_only_pages_of_this_site_follow(site: Site, wanted: str, reached: str) -> None:
    site.add_user("tina", password=PASSWORD)
    browser = site.browser()
    page = browser.get("/sign-in", query_string={"next": wanted} if "%" not in wanted else f"next={wanted}")
    answer = browser.post(
        "/sign-in",
        query_string={"next": wanted} if "%" not in wanted else f"next={wanted}",
        data={"csrf_token": token_of(page), "name": "tina", "password": PASSWORD},
    )
    assert answer.location == reached


def test_a_person_is_sent_to_sign_in_and_a_program_is_told(site: Site) -> None:
    page = site.browser().get("/history?order=suspicious")
    assert (page.status_code, page.location) == (303, "/sign-in?next=/history?order%3Dsuspicious")
    answer = site.app.test_client().get("/api/v1/jobs")
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    piece = site.browser().get("/history", headers={"Sec-Fetch-Mode": "cors"})
    assert piece.status_code == 401


def test_signing_in_begins_a_fresh_session(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    browser = site.browser()
    browser.get("/sign-in")
    with browser.session_transaction() as session:
        session["planted"] = "before"
        planted = session["csrf_token"]
    sign_in(browser)
    with browser.session_transaction() as session:
        assert "planted" not in session
        assert session.get("csrf_token") != planted


def test_opening_a_one_time_link_does_not_spend_it_and_pressing_does_once(site: Site) -> None:
    user = site.add_user("tina")
    with site.database.write() as session:
        address = f"/sign-in/link/{links.make_link(session, user)}"
    scanner = site.browser()
    assert [scanner.get(address).status_code, scanner.head(address).status_code] == [200, 200]
    assert not is_in(scanner)
    browser = site.browser()
    answer = press(browser, address)
    assert (answer.status_code, answer.location) == (303, "/account/password")
    assert is_in(browser)
    second = press(site.browser(), address)
    assert second.status_code == 410
    assert site.actions() == ["sign_in", "sign_in_refused"]


def test_a_password_is_set_changed_and_ends_other_sessions(site: Site) -> None:
    user = site.add_user("tina")
    here, there = site.browser(user), site.browser(user)
    new = {"new_password": PASSWORD, "repeat": PASSWORD}
    assert press(here, "/account/password", **new).status_code == 303
    assert (is_in(here), is_in(there)) == (True, False)
    assert sign_in(there).status_code == 303
    other = {"new_password": "another long secret", "repeat": "another long secret"}
    assert press(here, "/account/password", password="not the present one", **other).status_code == 422
    assert press(here, "/account/password", **other).status_code == 422
    assert press(here, "/account/password", password=PASSWORD, **other).status_code == 303
    assert is_in(here)
    assert site.actions().count("password_changed") == 2


@pytest.mark.parametrize(
    "fields", [{"new_password": "short", "repeat": "short"}, {"new_password": PASSWORD, "repeat": "x"}]
)
def test_short_and_mistyped_passwords_are_refused(site: Site, fields: dict[str, str]) -> None:
    browser = site.browser(site.add_user("tina"))
    assert press(browser, "/account/password", **fields).status_code == 422


@pytest.mark.parametrize("length", [11, 1025])
def test_a_password_of_a_length_that_is_not_taken_is_told(site: Site, length: int) -> None:
    browser = site.browser(site.add_user("tina"))
    answer = press(browser, "/account/password", new_password="x" * length, repeat="x" * length)
    assert answer.status_code == 422
    assert re.search(r"A password has (at most 1,024|12 to 1,024) characters", answer.text)


def test_a_hash_of_other_costs_is_renewed_at_sign_in(site: Site) -> None:
    user = site.add_user("tina", password=PASSWORD)
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)
    with site.database.write() as session:
        session.execute(update(User).where(User.id == user.id).values(password_hash=cheap))
    assert sign_in(site.browser()).status_code == 303
    with site.database.read() as session:
        renewed = session.get_one(User, user.id).password_hash
    assert renewed is not None
    assert "m=19456,t=2,p=1" in renewed
    assert sign_in(site.browser()).status_code == 303


def test_errors_are_pages_to_people_and_problems_to_programs(site: Site) -> None:
    page = site.browser().get("/nowhere")
    assert (page.status_code, page.mimetype) == (404, "text/html")
    problem = site.app.test_client().get("/api/v1/nowhere")
    assert (problem.status_code, problem.content_type) == (404, "application/problem+json")
    assert problem.json is not None
    assert problem.json["status"] == 404
