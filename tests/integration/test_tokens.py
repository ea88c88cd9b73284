"""API tokens: what they open, until when, the page that makes them, and those of before they had scopes."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from cli.data_folder import TOKEN_FILE
from cli.serving.first_start import keep_local_token
from migrations import schema
from shared.accounts import links, tokens, users
from shared.accounts.digests import digest
from shared.accounts.refusal import AccountRefused
from shared.db import Database, now
from shared.settings import Settings
from shared.tables import ApiToken, Role, Scope
from tests.web_site import Site, press


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


def is_in(client: FlaskClient) -> bool:
    return client.get("/api/v1/me").status_code == 200


def only_token(site: Site) -> ApiToken:
    with site.database.read() as session:
        return session.scalars(select(ApiToken)).one()


def make(browser: FlaskClient, **fields: str) -> tuple[int, str | None]:
    """Make a token on the page; return the status and the token."""
    answer = press(browser, "/account/tokens", **{"name": "a program", "read": "y", "days": "90", **fields})
    shown = re.search(r'value="(psc_[^"]+)"', answer.text)
    return answer.status_code, shown[1] if shown else None


def client_of(site: Site, secret: str) -> FlaskClient:
    client = site.app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
    return client


def test_a_page_with_a_token_that_is_loaded_again_makes_no_second_one(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    given = re.search(r'name="id" value="([^"]+)"', browser.get("/account/tokens").text)
    assert given is not None
    assert make(browser, id=given[1])[0] == 201
    assert make(browser, id=given[1]) == (303, None)
    assert "This token was made already" in browser.get("/account/tokens").text
    assert str(only_token(site).id) == given[1]


def test_a_token_opens_the_api_until_it_is_revoked(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))
    assert is_in(client)
    with site.database.write() as session:
        tokens.revoke_token(session, session.scalars(select(ApiToken.id)).one())
    assert not is_in(client)


def test_a_token_opens_the_api_until_it_ends(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))
    ends = only_token(site).expires_at
    assert ends is not None
    assert abs(ends - now() - timedelta(days=90)) < timedelta(minutes=5)
    with site.database.write() as session:
        session.execute(update(ApiToken).values(expires_at=now()))
    assert not is_in(client)


def test_a_bad_token_is_not_covered_by_a_good_session(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    answer = browser.get("/api/v1/me", headers={"Authorization": "Bearer psc_wrong"})
    assert answer.status_code == 401


@pytest.mark.parametrize("role", Role)
def test_a_token_never_gives_more_than_the_role_of_its_account(site: Site, role: Role) -> None:
    client = site.token_client(site.add_user("someone", role))
    assert client.post("/api/v1/jobs", json={}).status_code == (403 if role is Role.READER else 201)


def test_what_a_token_lacks_is_told(site: Site) -> None:
    client = site.token_client(site.add_user("tina"), Scope.READ)
    answer = client.post("/api/v1/jobs", json={})
    assert answer.status_code == 403
    assert answer.json is not None
    assert answer.json["detail"].startswith("This needs a token with the scope submit; yours has: read.")


def test_a_token_makes_no_way_into_the_pages(site: Site) -> None:
    """A token that could set a password would outlive its own end."""
    client = site.token_client(site.add_user("tina"))
    for address in ("/account/password", "/account/tokens", "/account/sessions/end"):
        assert client.post(address).status_code == 403, address
    assert site.count(ApiToken) == 1


def test_the_day_of_the_last_use_is_noted(site: Site) -> None:
    client = site.token_client(site.add_user("tina"))
    assert only_token(site).last_used_on is None
    assert is_in(client)
    assert only_token(site).last_used_on == now().date()


def test_a_token_is_made_shown_once_and_kept_as_a_hash(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    status, secret = make(browser, submit="y", days="30")
    assert status == 201
    assert secret is not None
    assert client_of(site, secret).get("/api/v1/jobs").status_code == 200
    token = only_token(site)
    assert (token.token_hash, token.scope, token.name) == (digest(secret), "read submit", "a program")
    assert token.expires_at is not None
    assert token.expires_at - now() < timedelta(days=30)
    page = browser.get("/account/tokens").text
    assert "a program" in page
    assert "psc_" not in page
    assert site.actions()[-1] == "token_changed"


def test_a_token_without_an_end_is_made_by_asking(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    assert make(browser, days="0")[0] == 201
    assert only_token(site).expires_at is None
    assert "Does not expire." in browser.get("/account/tokens").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Say what the token is for."),
        ({"name": "x" * 65}, "A name has at most 64 characters."),
        ({"name": "a\x07b"}, "A name has no control characters."),
        ({"days": "100000"}, "Choose one of these."),
        ({"days": "soon"}, "Choose one of these."),
        ({"read": ""}, "Choose at least one."),
    ],
)
def test_a_token_that_cannot_be_made_is_told(site: Site, fields: dict[str, str], said: str) -> None:
    given = {name: value for name, value in fields.items() if value or name == "name"}
    browser = site.browser(site.add_user("tina"))
    dropped = {"read": None} if fields.get("read") == "" else {}
    sent = {"name": "a program", "read": "y", "days": "90", **given, **dropped}
    answer = press(browser, "/account/tokens", **{name: value for name, value in sent.items() if value is not None})
    assert answer.status_code == 422
    assert said in answer.text
    assert site.count(ApiToken) == 0


@pytest.mark.parametrize(("role", "offered"), [("technician", 2), ("reader", 1), ("admin", 3)])
def test_the_page_offers_the_scopes_that_a_role_can_use(site: Site, role: str, offered: int) -> None:
    browser = site.browser(site.add_user("someone", Role(role)))
    assert browser.get("/account/tokens").text.count('type="checkbox"') == offered
    assert make(browser, submit="y", admin="y")[0] == 201
    assert len(only_token(site).scopes) == offered


def test_people_revoke_their_own_tokens_and_no_others(site: Site) -> None:
    mine = site.token_client(site.add_user("tina"))
    token = only_token(site)
    stranger, browser = site.browser(site.add_user("tom")), site.browser()
    assert press(stranger, f"/account/tokens/{token.id}/revoke", page="/account/tokens").status_code == 404
    assert is_in(mine)
    with site.database.write() as session:
        link = links.make_link(session, users.get_user(session, "tina"))
    press(browser, f"/sign-in/link/{link}")
    assert press(browser, f"/account/tokens/{token.id}/revoke", page="/account/tokens").status_code == 303
    assert not is_in(mine)
    assert "You have no tokens." in browser.get("/account/tokens").text


def test_tokens_of_before_scopes_go_on_working(tmp_path: Path, settings: Settings) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    schema.upgrade(database)
    keep_local_token(database, tmp_path)
    secret = (tmp_path / TOKEN_FILE).read_text()
    with database.read() as session:
        row = session.scalars(select(ApiToken)).one()
    kept = {name: getattr(row, name) for name in ("id", "user_id", "name", "token_hash", "created_at")}
    command.downgrade(schema.configuration(database), "0003")
    schema.upgrade(database)
    with database.read() as session:
        again = session.scalars(select(ApiToken)).one()
    assert {name: getattr(again, name) for name in kept} == kept
    assert again.scopes == frozenset(Scope)
    site = Site(settings, database)
    assert client_of(site, secret).post("/api/v1/jobs", json={}).status_code == 201
    keep_local_token(database, tmp_path)
    assert (tmp_path / TOKEN_FILE).read_text() == secret, "the one that works is kept"
    database.close()


def test_the_local_token_may_do_everything_and_does_not_end(site: Site, tmp_path: Path) -> None:
    keep_local_token(site.database, tmp_path)
    token = only_token(site)
    assert (token.scopes, token.expires_at) == (frozenset(Scope), None)


def test_a_token_needs_a_scope(site: Site) -> None:
    user = site.add_user("tina")
    with pytest.raises(AccountRefused, match="at least one scope"), site.database.write() as session:
        tokens.make_token(session, user, "x", scopes=())


def test_the_table_refuses_a_token_without_a_scope(site: Site) -> None:
    user = site.add_user("tina")
    with pytest.raises(Exception, match=r"NOT NULL.*api_tokens.scope"), site.database.write() as session:
        session.execute(insert(ApiToken).values(user_id=user.id, name="x", token_hash="x", scope=None))
