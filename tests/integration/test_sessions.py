"""Sessions of browsers: how long they last, what ends them, and the page that lists them."""

from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select, update

from shared.accounts import administration, sessions
from shared.accounts.digests import digest
from shared.db import Database, now
from shared.settings import Settings
from shared.tables import BrowserSession, Role, User
from tests.web_site import PASSWORD, Site, post_images, press, token_of
from web.accounts.account import describe_browser


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


def is_in(browser: FlaskClient) -> bool:
    return browser.get("/api/v1/me").status_code == 200


def rows(site: Site) -> list[BrowserSession]:
    with site.database.read() as session:
        return list(session.scalars(select(BrowserSession).order_by(BrowserSession.id)))


def age(site: Site, **columns: timedelta) -> None:
    """Set times of every session back."""
    with site.database.write() as session:
        for row in session.scalars(select(BrowserSession)):
            for name, by in columns.items():
                setattr(row, name, getattr(row, name) - by)


def test_a_session_ends_with_its_hours_however_much_it_is_used(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    age(site, expires_at=timedelta(hours=11, minutes=59))
    assert is_in(browser)
    age(site, expires_at=timedelta(minutes=1))
    assert not is_in(browser)


def test_a_session_that_is_not_used_ends(settings: Settings, database: Database) -> None:
    site = Site(settings, database)
    browser = site.browser(site.add_user("tina"))
    age(site, last_seen_at=timedelta(minutes=59))
    assert is_in(browser)
    age(site, last_seen_at=timedelta(minutes=59))
    assert is_in(browser), "using it made it last"
    age(site, last_seen_at=timedelta(minutes=61))
    assert not is_in(browser)


def test_an_open_page_that_asks_by_itself_does_not_make_a_session_last(site: Site) -> None:
    user = site.add_user("tina")
    sent = post_images(site.token_client(user), ("image", b"none"))
    assert sent.json is not None
    browser = site.browser(user)
    age(site, last_seen_at=timedelta(minutes=59))
    assert browser.get(f"/jobs/{sent.json['id']}/fragment").status_code == 200
    age(site, last_seen_at=timedelta(minutes=2))
    assert not is_in(browser)


def test_a_person_is_told_that_the_session_has_ended(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    age(site, last_seen_at=timedelta(hours=2))
    answer = browser.get("/history", follow_redirects=True)
    assert "Your session has ended. Sign in again." in answer.text
    assert "Your session has ended" not in browser.get("/history", follow_redirects=True).text


def test_use_is_noted_at_most_once_a_minute(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    began = rows(site)[0].last_seen_at
    is_in(browser)
    assert rows(site)[0].last_seen_at == began
    age(site, last_seen_at=timedelta(minutes=1))
    is_in(browser)
    assert now() - rows(site)[0].last_seen_at < timedelta(seconds=30)


def test_who_reads_goes_on_reading_where_nothing_can_be_written(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    age(site, last_seen_at=timedelta(minutes=2))

    @event.listens_for(site.database.engine, "begin")
    def only_read(connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")

    assert is_in(browser)
    assert now() - rows(site)[0].last_seen_at > timedelta(minutes=1)


def test_only_the_hash_of_a_session_is_kept(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    with browser.session_transaction() as cookie:
        secret = cookie["secret"]
    assert rows(site)[0].token_hash == digest(secret)
    assert secret not in str(vars(rows(site)[0]))


def test_signing_out_ends_the_session_in_copies_of_its_cookie_too(site: Site) -> None:
    browser, thief = site.browser(site.add_user("tina")), site.browser()
    cookie = browser.get_cookie("pneumoscreen")
    assert cookie is not None
    thief.set_cookie("pneumoscreen", cookie.value)
    assert is_in(thief)
    assert press(browser, "/sign-out", page="/help").location == "/sign-in"
    assert (is_in(browser), is_in(thief)) == (False, False)
    assert site.actions()[-1] == "sign_out"


def test_signing_in_again_ends_the_session_before(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    browser = site.browser()
    for _ in range(2):
        assert press(browser, "/sign-in", name="tina", password=PASSWORD).status_code == 303
    assert len(rows(site)) == 1


def test_sessions_that_ran_out_leave_no_rows(site: Site) -> None:
    user = site.add_user("tina")
    site.browser(user)
    age(site, expires_at=timedelta(days=1))
    site.browser(user)
    assert len(rows(site)) == 1


@pytest.mark.parametrize("how", ["end_sessions", "disable", "disabled in the table"])
def test_an_administrator_ends_the_sessions_of_an_account(site: Site, how: str) -> None:
    site.add_user("root", Role.ADMIN)
    user, other = site.add_user("tina"), site.add_user("tom")
    browsers, bystander = [site.browser(user), site.browser(user)], site.browser(other)
    with site.database.write() as session:
        account = session.get_one(User, user.id)
        if how == "end_sessions":
            assert sessions.end_all(session, account) == 2
        elif how == "disable":
            administration.disable(session, account)
        else:
            session.execute(update(User).where(User.id == user.id).values(is_active=False))
    assert [is_in(browser) for browser in browsers] == [False, False]
    assert is_in(bystander)


def test_the_account_page_lists_sessions_and_ends_one_or_all_others(site: Site) -> None:
    user = site.add_user("tina")
    here, there, elsewhere = (site.browser(user) for _ in range(3))
    page = here.get("/account")
    assert page.text.count('aria-label="End the session in') == 2
    assert "(this browser)" in page.text
    second = rows(site)[1].id
    assert press(here, f"/account/sessions/{second}/end", page="/account").location == "/account"
    assert [is_in(browser) for browser in (here, there, elsewhere)] == [True, False, True]
    assert press(here, f"/account/sessions/{second}/end", page="/account").status_code == 404
    press(here, "/account/sessions/end", page="/account")
    assert "1 other session has ended." in here.get("/account").text
    assert [is_in(browser) for browser in (here, elsewhere)] == [True, False]
    assert site.actions()[-2:] == ["session_ended", "session_ended"]
    assert "You are not signed in anywhere else." in here.get("/account").text


def test_nobody_ends_a_session_of_somebody_else(site: Site) -> None:
    victim = site.browser(site.add_user("tina"))
    admin = site.browser(site.add_user("root", Role.ADMIN))
    token = token_of(admin.get("/account"))
    answer = admin.post(f"/account/sessions/{rows(site)[0].id}/end", data={"csrf_token": token})
    assert answer.status_code == 404
    assert is_in(victim)


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Windows"),
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Linux"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Android"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
        ("<script>" * 20, "<script>" * 4),
    ],
)
def test_a_browser_is_named_as_people_know_it(user_agent: str, said: str) -> None:
    assert describe_browser(user_agent) == said
