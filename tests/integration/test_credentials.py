"""What ends when a password, a role, an account or a link changes: every cell of the table in docs/threat-model.md."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from shared.accounts import administration, credentials, identities, sessions, tokens, users
from shared.accounts.links import make_link
from shared.accounts.refusal import AccountRefused
from shared.db import Database
from shared.settings import Settings
from shared.tables import BrowserSession, Role, User
from tests.conftest import ROOT
from tests.web_site import PASSWORD, Site, press, token_of
from web.accounts import oidc
from web.accounts.claims import RoleTaken, admit

NEW_PASSWORD = "another horse, another battery"
ISSUER = "https://id.example"

KINDS = ("password", "the acting session", "other sessions", "sign-in links", "API tokens", "single sign-on")
ROW = re.compile(r"^\| ([^|]+) " + r"\| (ends|stays|renewed|-) " * len(KINDS) + r"\| [^|]*\|$", flags=re.MULTILINE)
TABLE = {
    row[0]: dict(zip(KINDS, row[1:], strict=True)) for row in ROW.findall((ROOT / "docs/threat-model.md").read_text())
}


@dataclass
class Person:
    """An account with one of each kind of credential, and an administrator's browser beside it."""

    site: Site
    user: User
    here: FlaskClient
    there: FlaskClient
    link: str
    token: FlaskClient
    admin: FlaskClient
    cookie: str = ""

    def act(self, browser: FlaskClient, address: str, page: str, **fields: str) -> None:
        answer = press(browser, address, page=page, **fields)
        assert answer.status_code in {200, 303}, answer.text

    def by_admin(self, act: str, **fields: str) -> None:
        self.act(self.admin, f"/users/{self.user.id}/{act}", f"/users/{self.user.id}", **fields)

    def new_link(self) -> str:
        with self.site.database.write() as session:
            return make_link(session, self.user)

    def found(self, kind: str) -> str:
        """What has become of one kind."""
        alive = {
            "password": self._opens,
            "the acting session": lambda: is_in(self.here),
            "other sessions": lambda: is_in(self.there),
            "sign-in links": lambda: press(self.site.browser(), f"/sign-in/link/{self.link}").status_code == 303,
            "API tokens": lambda: is_in(self.token),
            "single sign-on": self._is_known,
        }[kind]()
        if kind == "the acting session" and alive:
            return "stays" if cookie_of(self.here) == self.cookie else "renewed"
        return "stays" if alive else "ends"

    def _opens(self) -> bool:
        with self.site.database.read() as session:
            return credentials.check_password(session, "tina", PASSWORD) is not None

    def _is_known(self) -> bool:
        with self.site.database.read() as session:
            known = identities.find_identity(session, ISSUER, "tina-at-id")
            return known is not None and known.user.is_active


def is_in(client: FlaskClient) -> bool:
    return client.get("/api/v1/me").status_code == 200


def cookie_of(browser: FlaskClient) -> str:
    with browser.session_transaction() as cookie:
        return cookie["secret"]


def change_password(person: Person, **ticked: str) -> None:
    fields = {"password": PASSWORD, "new_password": NEW_PASSWORD, "repeat": NEW_PASSWORD, **ticked}
    person.act(person.here, "/account/password", "/account/password", **fields)


def set_password(person: Person) -> None:
    with person.site.database.write() as session:
        credentials.set_password(session, session.get_one(User, person.user.id), NEW_PASSWORD)


def disable_and_enable(person: Person) -> None:
    person.by_admin("disable")
    person.by_admin("enable")


def sign_in_by_provider(person: Person) -> None:
    claims = {"iss": ISSUER, "sub": "tina-at-id", "groups": ["readers"]}
    with person.site.database.write() as session:
        admit(session, person.site.settings, claims, None)


def lose_every_role(person: Person) -> None:
    claims = {"iss": ISSUER, "sub": "tina-at-id", "groups": []}
    with person.site.app.test_request_context(), pytest.raises(RoleTaken):
        oidc._sign_in(claims, {})


EVENTS: dict[str, Callable[[Person], object]] = {
    "the person changes the password": change_password,
    "the person changes the password and ticks the tokens": lambda p: change_password(p, revoke_tokens="y"),
    "an administrator sets a password": set_password,
    "a sign-in link is used": lambda p: press(p.site.browser(), f"/sign-in/link/{p.new_link()}"),
    "a sign-in link is made": lambda p: p.by_admin("link"),
    "the account is disabled": lambda p: p.by_admin("disable"),
    "the account is disabled and enabled again": disable_and_enable,
    "a role that takes something away": lambda p: p.by_admin("role", role="reader"),
    "the role admin is given": lambda p: p.by_admin("role", role="admin"),
    "the identity provider gives a lesser role": sign_in_by_provider,
    "the identity provider gives no role any more": lose_every_role,
    "an administrator unlinks single sign-on": lambda p: p.by_admin("identity/unlink"),
    "the person unlinks single sign-on": lambda p: p.act(p.here, "/account/single/unlink", "/account"),
    "the person ends all other sessions": lambda p: p.act(p.here, "/account/sessions/end", "/account"),
    "an administrator ends all sessions": lambda p: p.by_admin("sessions/end"),
    "an administrator revokes all tokens": lambda p: p.by_admin("tokens/revoke"),
    "the person revokes all tokens": lambda p: p.act(p.here, "/account/tokens/revoke", "/account/tokens"),
    "the person signs out": lambda p: p.act(p.here, "/sign-out", "/help"),
}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return make_site(settings, sqlite_database)


def make_site(settings: Settings, database: Database) -> Site:
    roles = {"admins": "admin", "technicians": "technician", "readers": "reader"}
    named = {"oidc_issuer": ISSUER, "oidc_client_id": "images", "oidc_role_claim": "groups", "oidc_roles": roles}
    return Site(settings, database, **named)


@pytest.fixture
def person(site: Site) -> Person:
    return make_person(site)


def make_person(site: Site) -> Person:
    admin = site.browser(site.add_user("root", Role.ADMIN))
    user = site.add_user("tina", password=PASSWORD)
    here, there = site.browser(user), site.browser(user)
    with site.database.write() as session:
        identities.link_identity(session, user, ISSUER, "tina-at-id")
        link = make_link(session, user)
    return Person(site, user, here, there, link, site.token_client(user), admin, cookie_of(here))


def test_the_table_has_every_event_that_is_tried_here() -> None:
    assert set(TABLE) == set(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_ends_what_the_table_says(person: Person, name: str) -> None:
    told = TABLE[name]
    assert {kind: person.found(kind) for kind in KINDS if kind != "sign-in links"} == {
        kind: "stays" for kind in KINDS if kind != "sign-in links"
    }
    EVENTS[name](person)
    asked = [kind for kind in KINDS if told[kind] != "-"]
    assert {kind: person.found(kind) for kind in asked} == {kind: told[kind] for kind in asked}


def test_tokens_are_offered_where_a_password_is_changed(person: Person) -> None:
    assert "Also revoke my API token" in person.here.get("/account/password").text
    fields = {"password": PASSWORD, "new_password": NEW_PASSWORD, "repeat": NEW_PASSWORD}
    answer = press(person.here, "/account/password", **fields)
    assert answer.location == "/account/tokens"
    assert (
        "1 API token still works. Revoke it if you do not recognise or need it."
        in person.here.get("/account/tokens").text
    )
    press(person.here, "/account/tokens/revoke", page="/account/tokens")
    assert "Also revoke" not in person.here.get("/account/password").text


@pytest.mark.parametrize("opens", ["a link", "a token"])
def test_nothing_that_opens_a_disabled_account_is_made(person: Person, opens: str) -> None:
    person.by_admin("disable")
    make = make_link if opens == "a link" else lambda db, user: tokens.make_token(db, user, "x")
    with pytest.raises(AccountRefused, match="Enable the account first"), person.site.database.write() as db:
        make(db, db.get_one(User, person.user.id))


# ---------------------------------------------------------------- odd names and passwords

ODD_NAMES = [
    "",
    " ",
    "a" * 65,
    "tina\n",
    "tina\0",
    "ti na",
    "\u00fcte",
    "\uff54ina",
    "../x",
    "-x",
    "x" * 10_000_000,
    "\udcff",
]


def test_an_odd_name_is_no_account_and_makes_none(database: Database) -> None:
    for name in ODD_NAMES:
        with database.write() as session:
            assert users.find_user(session, name) is None
            assert credentials.check_password(session, name, PASSWORD) is None
            with pytest.raises(AccountRefused, match="A name has 1 to 64") as refused:
                users.add_user(session, name, Role.READER)
        assert len(str(refused.value)) < 500


def test_an_odd_password_opens_as_it_was_set(site: Site) -> None:
    passwords = ["a\0b" * 4, "\u00fc" * 12, "\U0001f600" * 12, " " * 12, "x" * 1024]
    for number, password in enumerate(passwords):
        with site.database.write() as session:
            users.add_user(session, f"tina{number}", Role.READER, password)
        entry = {"name": f"tina{number}", "password": password}
        assert press(site.browser(), "/sign-in", **entry).status_code == 303
        other = {**entry, "password": password.replace("\0", "")[:-1]}
        assert press(site.browser(), "/sign-in", **other).status_code == 401


@pytest.mark.parametrize(("password", "status"), [("x" * 1025, 422), ("x" * 10_000_000, 413)])
def test_a_password_that_is_too_long_is_not_hashed(site: Site, password: str, status: int) -> None:
    site.add_user("tina", password=PASSWORD)
    assert press(site.browser(), "/sign-in", name="tina", password=password).status_code == status
    with pytest.raises(AccountRefused, match="12 to 1,024"), site.database.write() as session:
        credentials.set_password(session, users.get_user(session, "tina"), password)


def test_a_password_that_is_no_text_is_refused(site: Site) -> None:
    site.add_user("tina", password=PASSWORD)
    with site.database.write() as session:
        assert credentials.check_password(session, "tina", "\udcff" * 12) is None
        with pytest.raises(AccountRefused, match="UTF-8"):
            credentials.set_password(session, users.get_user(session, "tina"), "\udcff" * 12)


# ---------------------------------------------------------------- at the same moment, on PostgreSQL

CHANGES: dict[str, Callable] = {
    "password": lambda db, user: credentials.set_password(db, user, NEW_PASSWORD),
    "disabled": administration.disable,
}


@pytest.mark.parametrize("way", ["password", "link"])
@pytest.mark.parametrize("change", CHANGES)
def test_no_session_begins_by_what_a_change_has_just_ended(
    settings: Settings, migrated_postgres_url: str, way: str, change: str
) -> None:
    """The change comes between the look at the password or link and the session that it begins."""
    database, other = Database(migrated_postgres_url), Database(migrated_postgres_url)
    site = make_site(settings, database)
    person = make_person(site)
    with other.write() as db:
        sessions.end_all(db, person.user)
    browser, page, happened = site.browser(), "/sign-in", threading.Event()
    address = page if way == "password" else f"/sign-in/link/{person.link}"
    token = token_of(browser.get(address))

    @event.listens_for(database.engine, "before_cursor_execute")
    def interfere(_connection, _cursor, statement: str, *_more) -> None:
        if "FOR UPDATE" in statement and "users" in statement and not happened.is_set():
            happened.set()
            with other.write() as db:
                CHANGES[change](db, db.get_one(User, person.user.id))

    answer = browser.post(address, data={"csrf_token": token, "name": "tina", "password": PASSWORD})
    assert happened.is_set()
    assert answer.status_code in {401, 410}
    with database.read() as db:
        assert db.query(BrowserSession).filter_by(user_id=person.user.id).count() == 0
    for one in (database, other):
        one.close()


def test_no_token_is_made_in_a_session_that_has_just_been_ended(settings: Settings, migrated_postgres_url: str) -> None:
    database, other = Database(migrated_postgres_url), Database(migrated_postgres_url)
    person = make_person(make_site(settings, database))
    token, happened = token_of(person.here.get("/account/tokens")), threading.Event()

    @event.listens_for(database.engine, "before_cursor_execute")
    def interfere(_connection, _cursor, statement: str, *_more) -> None:
        if "FOR UPDATE" in statement and "FROM sessions" in statement and not happened.is_set():
            happened.set()
            with other.write() as db:
                administration.change_role(db, db.get_one(User, person.user.id), Role.READER)

    fields = {"csrf_token": token, "name": "a program", "read": "y", "days": "90"}
    assert person.here.post("/account/tokens", data=fields).status_code == 401
    assert happened.is_set()
    with database.read() as db:
        assert tokens.valid_tokens(db, person.user) == []
    for one in (database, other):
        one.close()


def test_of_two_links_used_at_the_same_moment_one_opens(settings: Settings, migrated_postgres_url: str) -> None:
    database = Database(migrated_postgres_url)
    person = make_person(make_site(settings, database))
    links = [person.link, person.new_link()]
    with ThreadPoolExecutor(2) as threads:
        codes = list(threads.map(lambda link: press(person.site.browser(), f"/sign-in/link/{link}").status_code, links))
    assert sorted(codes) == [303, 410]
    database.close()
