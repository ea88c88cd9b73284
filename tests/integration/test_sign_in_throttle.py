"""Sign-in slows down for whoever guesses, and for nobody else; Redis is away in all of these tests."""

from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from sqlalchemy import update

from shared.accounts import links
from shared.db import Database
from shared.settings import Settings
from shared.tables import SignInFailure
from tests.web_site import PASSWORD, Site, press
from web.accounts import sign_in
from web.accounts.throttle import FORGOTTEN_AFTER, FREE_ATTEMPTS, LONGEST_WAIT, Counter, LimitMalformed
from web.app import create_app

WRONG = "wrong password!"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database, sign_in_limit="1000 per minute")


def attempt(browser: FlaskClient, password: str, name: str = "tina", address: str = "192.0.2.1") -> int:
    browser.environ_base["REMOTE_ADDR"] = address
    return press(browser, "/sign-in", name=name, password=password).status_code


def attack(site: Site, name: str = "tina") -> list[int]:
    """Guess at one account from a new browser and a new address each time until a wait is told."""
    statuses = []
    while 429 not in statuses:
        statuses.append(attempt(site.browser(), WRONG, name, f"198.51.100.{len(statuses)}"))
    return statuses


def pass_time(site: Site, **time: float) -> None:
    """Set back what is counted, as if so much time had gone by."""
    with site.database.write() as session:
        for row in session.query(SignInFailure):
            row.since, row.latest_at = row.since - timedelta(**time), row.latest_at - timedelta(**time)


@pytest.mark.parametrize("name", ["tina", "nobody"])
def test_guessing_at_one_account_from_many_addresses_is_slowed_down(
    settings: Settings, database: Database, name: str
) -> None:
    site = Site(settings, database)
    site.add_user("tina", password=PASSWORD)
    assert attack(site, name) == [401] * FREE_ATTEMPTS + [429]


def test_whoever_is_too_early_is_told_when_to_come_back_and_nothing_is_checked(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    attack(site)
    known = site.actions()
    answer = press(site.browser(), "/sign-in", name="tina", password=PASSWORD)
    assert answer.status_code == 429
    assert f"Try again in {answer.headers['Retry-After']} s" in answer.text
    assert "one-time link" in answer.text
    assert site.actions() == known, "a flood of attempts must not fill the audit trail"
    pass_time(site, seconds=1)
    assert attempt(site.browser(), PASSWORD) == 303


def test_a_browser_that_the_account_has_used_is_not_slowed_down_by_strangers(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    known = site.browser()
    assert attempt(known, PASSWORD) == 303
    press(known, "/sign-out", page="/help")
    attack(site)
    assert attempt(site.browser(), PASSWORD) == 429
    assert attempt(known, WRONG) == 401
    assert attempt(known, PASSWORD) == 303


def test_a_browser_that_the_account_has_used_is_slowed_down_by_its_own_guesses(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    known = site.browser()
    assert attempt(known, PASSWORD) == 303
    press(known, "/sign-out", page="/help")
    assert [attempt(known, WRONG) for _ in range(FREE_ATTEMPTS + 1)] == [401] * FREE_ATTEMPTS + [429]
    assert attempt(site.browser(), PASSWORD) == 303


def test_a_forged_mark_of_a_known_browser_counts_as_none(site: Site) -> None:
    user = site.add_user("tina", password=PASSWORD)
    attack(site)
    browser = site.browser()
    browser.set_cookie("pneumoscreen_device", f'["x",["{user.id.hex}"]].forged.signature')
    assert attempt(browser, PASSWORD) == 429


def test_a_one_time_link_works_at_once(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, sign_in_limit="1 per minute")
    user = site.add_user("tina", password=PASSWORD)
    assert [attempt(site.browser(), WRONG) for _ in range(2)] == [401, 429]
    statuses = [press(site.browser(), "/sign-in/link/wrong").status_code for _ in range(2)]
    assert statuses == [410, 429]
    with site.database.write() as session:
        secret = links.make_link(session, user)
    assert press(site.browser(), f"/sign-in/link/{secret}").status_code == 303


def test_an_address_is_limited_whatever_the_account_and_counts_only_refusals(
    settings: Settings, sqlite_database: Database
) -> None:
    site = Site(settings, sqlite_database, sign_in_limit="3 per minute")
    site.add_user("tina", password=PASSWORD)
    assert [attempt(site.browser(), PASSWORD) for _ in range(4)] == [303] * 4, "a shift signs in behind one address"
    assert [attempt(site.browser(), WRONG, f"name{n}") for n in range(4)] == [401, 401, 401, 429]
    assert attempt(site.browser(), PASSWORD, address="192.0.2.2") == 303
    pass_time(site, seconds=60)
    assert attempt(site.browser(), WRONG) == 401


def test_a_network_of_ipv6_is_limited_as_one_address_is(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database, sign_in_limit="3 per minute")
    own = [attempt(site.browser(), WRONG, f"name{n}", f"2001:db8:1:2::{n + 1}") for n in range(4)]
    assert own == [401, 401, 401, 429], "whoever has one has 2 ** 64 addresses"
    assert attempt(site.browser(), WRONG, address="2001:db8:1:3::1") == 401


def test_the_present_password_cannot_be_guessed_in_a_session_either(site: Site) -> None:
    browser = site.browser(site.add_user("tina", password=PASSWORD))
    guess = {"password": WRONG, "new_password": "another long secret", "repeat": "another long secret"}
    statuses = [press(browser, "/account/password", **guess).status_code for _ in range(FREE_ATTEMPTS + 1)]
    assert statuses == [422] * FREE_ATTEMPTS + [429]
    assert attempt(site.browser(), PASSWORD) == 303, "and it slows down nothing else"


def test_few_threads_wait_for_passwords(site: Site) -> None:
    page = site.browser()
    page.get("/sign-in")
    for _ in range(sign_in._WAITING):
        sign_in._waiting.acquire()
    try:
        answer = press(page, "/sign-in", name="tina", password=PASSWORD)
    finally:
        sign_in._waiting.release(sign_in._WAITING)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_what_is_too_old_to_matter_is_forgotten(site: Site) -> None:
    attack(site)
    with site.database.write() as session:
        session.execute(update(SignInFailure).values(latest_at=START))
    assert attempt(site.browser(), WRONG) == 401
    assert site.count(SignInFailure) == 2  # of the account and of the address


def test_a_limit_that_cannot_be_read_stops_the_start(settings: Settings) -> None:
    with pytest.raises(LimitMalformed, match=r"SIGN_IN_LIMIT.*'often'"):
        create_app(settings.model_copy(update={"sign_in_limit": "often"}))


@given(pauses=st.lists(st.timedeltas(timedelta(), timedelta(days=2)), max_size=60))
def test_the_wait_for_an_account_never_exceeds_the_longest_and_is_over_after_a_day(pauses: list[timedelta]) -> None:
    counter, row = Counter("k"), SignInFailure(key="k", failures=0, since=START, latest_at=START)
    at = START
    for pause in pauses:
        at += pause
        assert counter.wait(row, at) <= LONGEST_WAIT
        counter.count(row, at)
    assert counter.wait(row, at + FORGOTTEN_AFTER) <= timedelta()


@given(pauses=st.lists(st.timedeltas(timedelta(), timedelta(seconds=30)), min_size=1, max_size=60))
def test_within_a_window_an_address_gets_no_more_refusals_than_its_limit(pauses: list[timedelta]) -> None:
    counter, row = Counter("k", parse("3 per minute")), SignInFailure(key="k", failures=0, since=START, latest_at=START)
    at, taken = START, []
    for pause in pauses:
        at += pause
        if counter.wait(row, at) <= timedelta():
            counter.count(row, at)
            taken.append(at)
    # A fixed window lets at most two windows' worth meet at its edge.
    most = max((sum(first <= at < first + timedelta(seconds=60) for at in taken) for first in taken), default=0)
    assert most <= 6
