"""Single sign-on against a real provider on loopback: who gets in, and what of its answers is believed."""

import html
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr, ValidationError
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from shared.accounts import identities, people, users
from shared.db import Base, Database
from shared.settings import Settings
from shared.tables import AuditEvent, Identity, Role, User
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider, serving
from tests.web_site import PASSWORD, Site, press
from web.accounts.oidc import EXTENSION

MAPPING = {"oidc_role_claim": "realm_access.roles", "oidc_roles": {"radiology": "reader", "pneumo-admins": "admin"}}
ADDING = {"oidc_create_accounts": True, "oidc_default_role": "technician"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def serving_provider() -> Iterator[IdentityProvider]:
    with serving() as provider:
        yield provider


@pytest.fixture
def provider(serving_provider: IdentityProvider) -> IdentityProvider:
    """The provider without faults."""
    fresh = IdentityProvider(serving_provider.url, keys=serving_provider.keys[:1])
    vars(serving_provider).update(vars(fresh))
    return serving_provider


Make = Callable[..., Site]


@pytest.fixture
def make(settings: Settings, sqlite_database: Database, provider: IdentityProvider) -> Make:
    def make(**changes: Any) -> Site:
        given = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET), "oidc_seconds": 5.0}
        return Site(settings, sqlite_database, **{"oidc_issuer": provider.url, **given, **changes})

    return make


@pytest.fixture
def site(make: Make) -> Site:
    return make()


@pytest.fixture(scope="module")
def known(serving_provider: IdentityProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for many refusals; its account tina is linked."""
    folder = tmp_path_factory.mktemp("known")
    settings = Settings(
        data_dir=folder,
        redis_url=SecretStr(f"unix://{folder}/no.sock"),
        secret_key=SecretStr("a key for tests only"),
        oidc_issuer=serving_provider.url,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=SecretStr(CLIENT_SECRET),
    )
    database = Database(settings.database)
    Base.metadata.create_all(database.engine)
    site = Site(settings, database)
    link(site, site.add_user("tina"), serving_provider)
    yield site
    database.close()


def go(browser: FlaskClient, query: str = "") -> TestResponse:
    """Begin in a browser, be sent to the provider, come back."""
    return browser.get(come_back(browser.get(f"/sign-in/single{query}")))


def come_back(sent: TestResponse) -> str:
    """Follow a browser to the provider, and return the address that it is sent back to."""
    assert sent.status_code == 303, sent.text
    back = urlsplit(httpx.get(sent.location).headers["Location"])
    assert back.path == "/sign-in/single/return"
    return f"{back.path}?{back.query}"


def link(site: Site, user: User, provider: IdentityProvider, subject: str = "1f0c-tina") -> None:
    with site.database.write() as session:
        identities.link_identity(session, session.get_one(User, user.id), provider.url, subject)


def me(browser: FlaskClient) -> object:
    answer = browser.get("/api/v1/me")
    return answer.json if answer.status_code == 200 else None


def trail(site: Site) -> list[tuple[str, str | None, object]]:
    with site.database.read() as session:
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.sequence))
        return [(row.action, row.subject, row.user_id) for row in rows]


def names(site: Site) -> dict[str, Role]:
    with site.database.read() as session:
        return {user.name: user.role for user in session.scalars(select(User))}


# ---------------------------------------------------------------- who gets in


def test_a_linked_person_signs_in_and_leaves_a_row(site: Site, provider: IdentityProvider) -> None:
    tina = site.add_user("tina")
    link(site, tina, provider)
    browser = site.browser()
    answer = go(browser, "?next=/history")
    assert (answer.status_code, answer.location) == (303, "/history")
    assert me(browser) == {"name": "tina", "display_name": None, "email": None, "role": "technician"}
    assert trail(site) == [("sign_in", "single sign-on", tina.id)]
    with site.database.read() as session:
        identity = session.scalars(select(Identity)).one()
        assert identity.last_used_at is not None
        assert identity.user.last_sign_in_at is not None


def test_what_is_asked_carries_state_nonce_and_a_challenge_that_change(site: Site) -> None:
    seen = [parse_qs(urlsplit(site.browser().get("/sign-in/single").location).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert seen[0][name] != seen[1][name]
        assert len(seen[0][name][0]) >= 20
    assert seen[0]["code_challenge_method"] == ["S256"]
    assert seen[0]["redirect_uri"] == ["http://localhost/sign-in/single/return"]


def test_signing_in_begins_a_fresh_session(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    browser = site.browser()
    sent = browser.get("/sign-in/single")
    with browser.session_transaction() as session:
        session["planted"] = "before"
    browser.get(come_back(sent))
    with browser.session_transaction() as session:
        assert "planted" not in session
    assert me(browser)


def test_an_unknown_person_is_told_whom_to_ask_and_about_whom(make: Make) -> None:
    site = make(oidc_contact="the radiology desk, 4711")
    site.add_user("tina")  # of the same name, and still not theirs
    browser = site.browser()
    answer = go(browser)
    assert answer.status_code == 403
    assert "Ask the radiology desk, 4711 to link" in answer.text
    assert "1f0c-tina" in answer.text
    assert me(browser) is None
    assert trail(site) == [("sign_in_refused", "single sign-on", None)]


def test_a_name_or_an_address_never_finds_an_account(make: Make, provider: IdentityProvider) -> None:
    site = make(**ADDING)
    site.add_user("tina", Role.ADMIN)
    provider.person |= {"email": "tina", "email_verified": True}
    browser = site.browser()
    assert go(browser).status_code == 303
    assert me(browser) == {"name": "tina-2", "display_name": None, "email": None, "role": "technician"}
    assert [action for action, _, _ in trail(site)] == ["user_changed", "sign_in"]


def test_a_person_is_added_once(make: Make) -> None:
    site = make(**ADDING)
    for _ in range(2):
        assert go(site.browser()).status_code == 303
    assert names(site) == {"tina": Role.TECHNICIAN}


def test_two_first_sign_ins_at_once_make_one_account(
    settings: Settings, migrated_postgres_url: str, provider: IdentityProvider
) -> None:
    database = Database(migrated_postgres_url)  # on SQLite one waits for the other anyway
    given = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET)}
    site = Site(settings, database, oidc_issuer=provider.url, **given, **ADDING)
    browsers = [site.browser() for _ in range(4)]
    ways = [come_back(browser.get("/sign-in/single")) for browser in browsers]
    with ThreadPoolExecutor(len(browsers)) as pool:
        answers = list(pool.map(lambda browser, way: browser.get(way).status_code, browsers, ways))
    assert answers == [303] * 4
    assert names(site) == {"tina": Role.TECHNICIAN}
    database.close()


def test_an_address_that_no_cookie_holds_is_left_out(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    assert go(site.browser(), "?next=/history?text=" + "x" * 5000).location == "/"


@pytest.mark.parametrize(
    ("told", "name"),
    [("Rita Müller", "Rita-Muller"), ("rita@site.example", "rita@site.example"), ("..", "person"), (None, "person"),
     ("<script>", "script"), ("x" * 300, "x" * 56), (["a"], "person"), ("放射線", "person")],
)  # fmt: skip
def test_a_new_account_gets_a_name_that_accounts_have(
    make: Make, provider: IdentityProvider, told: object, name: str
) -> None:
    site = make(**ADDING)
    provider.person["preferred_username"] = told
    assert go(site.browser()).status_code == 303
    assert list(names(site)) == [name]


@pytest.mark.parametrize(
    ("claims", "known"),
    [
        (
            {"name": "Frau Müller", "email": "m@klinik.example", "email_verified": True},
            ("Frau Müller", "m@klinik.example"),
        ),
        ({"name": "放射線 花子", "email": "m@klinik.example", "email_verified": False}, ("放射線 花子", None)),
        ({"name": "x" * 500, "email": "no address", "email_verified": True}, (None, None)),
        ({"name": ["a"], "email": 7, "email_verified": True}, (None, None)),
    ],
)
def test_a_person_is_written_as_the_provider_says(
    make: Make, provider: IdentityProvider, claims: dict[str, object], known: tuple[str | None, str | None]
) -> None:
    site = make(**ADDING)
    provider.person |= claims
    browser = site.browser()
    assert go(browser).status_code == 303
    assert (me(browser)["display_name"], me(browser)["email"]) == known


def test_what_an_administrator_wrote_stays_at_the_next_sign_in(make: Make, provider: IdentityProvider) -> None:
    site = make(**ADDING)
    provider.person |= {"name": "T. Tester"}
    assert go(site.browser()).status_code == 303
    with site.database.write() as session:
        people.describe(users.get_user(session, "tina"), "Tina Tester", None)
    browser = site.browser()
    assert go(browser).status_code == 303
    assert me(browser)["display_name"] == "Tina Tester"


def test_a_disabled_account_stays_shut(make: Make, provider: IdentityProvider) -> None:
    site = make(**ADDING, **MAPPING)
    tina = site.add_user("tina")
    link(site, tina, provider)
    with site.database.write() as session:
        session.execute(update(User).values(is_active=False))
    browser = site.browser()
    answer = go(browser)
    assert answer.status_code == 403
    assert "disabled" in answer.text
    assert me(browser) is None
    assert trail(site) == [("sign_in_refused", "single sign-on", tina.id)]


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"realm_access": {"roles": ["offline", "radiology"]}}, Role.READER),
        ({"realm_access": {"roles": ["pneumo-admins", "radiology"]}}, Role.READER),  # the first of the mapping
        ({"realm_access": {"roles": "pneumo-admins"}}, Role.ADMIN),
        ({"realm_access.roles": ["pneumo-admins"]}, Role.ADMIN),
        ({"realm_access": {"roles": ["Radiology"]}}, None),
        ({"realm_access": {"roles": []}}, None),
        ({"realm_access": ["radiology"]}, None),
        ({}, None),
    ],
)
def test_the_role_is_read_at_each_sign_in(
    make: Make, provider: IdentityProvider, claims: dict[str, Any], role: Role | None
) -> None:
    site = make(**MAPPING)
    tina = site.add_user("tina", Role.TECHNICIAN)
    link(site, tina, provider)
    provider.person |= claims
    answer = go(site.browser())
    assert answer.status_code == (303 if role else 403)
    assert names(site) == {"tina": role or Role.TECHNICIAN}
    if role is None:
        assert "no role that PneumoScreen takes" in answer.text
        assert trail(site) == [("sign_in_refused", "single sign-on", tina.id)]


def test_whoever_loses_every_role_loses_what_was_given_out(make: Make, provider: IdentityProvider) -> None:
    site = make(**MAPPING)
    tina = site.add_user("tina", Role.ADMIN)
    link(site, tina, provider)
    token, session = site.token_client(tina), site.browser(tina)
    assert (token.get("/api/v1/me").status_code, session.get("/users").status_code) == (200, 200)
    provider.person |= {"realm_access": {"roles": []}}
    assert go(site.browser()).status_code == 403
    assert (token.get("/api/v1/me").status_code, session.get("/users").status_code) == (401, 303)


def test_whoever_loses_every_role_falls_to_the_default(make: Make, provider: IdentityProvider) -> None:
    site = make(**MAPPING, oidc_default_role="technician")
    link(site, site.add_user("tina", Role.ADMIN), provider)
    assert go(site.browser()).status_code == 303
    assert names(site) == {"tina": Role.TECHNICIAN}


def test_without_a_mapping_the_role_given_here_stays(make: Make, provider: IdentityProvider) -> None:
    site = make(**ADDING)
    link(site, site.add_user("tina", Role.READER), provider)
    assert go(site.browser()).status_code == 303
    assert names(site) == {"tina": Role.READER}


def test_what_the_token_lacks_is_asked_of_the_userinfo_endpoint(make: Make, provider: IdentityProvider) -> None:
    site = make(oidc_create_accounts=True, **MAPPING)
    provider.userinfo = {"realm_access": {"roles": ["radiology"]}, "preferred_username": "mallory"}
    assert go(site.browser()).status_code == 303
    assert names(site) == {"tina": Role.READER}  # the signed token's word counts more


def test_the_userinfo_of_another_person_is_not_believed(make: Make, provider: IdentityProvider) -> None:
    site = make(oidc_create_accounts=True, **MAPPING)
    provider.userinfo = {"realm_access": {"roles": ["radiology"]}, "sub": "another"}
    assert go(site.browser()).status_code == 403
    assert names(site) == {}


# ---------------------------------------------------------------- what is not believed

FAULTS: dict[str, dict[str, Any]] = {
    "signed by another key": {"signed_by": "another key"},
    "not signed, and announced so": {
        "signed_by": "none", "document": {"id_token_signing_alg_values_supported": ["none", "RS256"]},
    },
    "not signed": {"signed_by": "none"},
    "sealed with the client secret": {
        "signed_by": "the client secret", "document": {"id_token_signing_alg_values_supported": ["HS256"]},
    },
    "sealed with the public key": {"signed_by": "the public key as a secret"},
    "no token": {"signed_by": "nobody"},
    "another nonce": {"claims": {"nonce": "another"}},
    "no nonce": {"claims": {"nonce": None}},
    "another audience": {"claims": {"aud": "another"}},
    "another audience for us": {"claims": {"aud": "another", "azp": CLIENT_ID}},
    "several audiences for another": {"claims": {"aud": [CLIENT_ID, "another"], "azp": "another"}},
    "several audiences for nobody": {"claims": {"aud": [CLIENT_ID, "another"]}},
    "no audience": {"claims": {"aud": None}},
    "another issuer": {"claims": {"iss": "https://another.example"}},
    "no issuer": {"claims": {"iss": None}},
    "expired": {"claims": {"exp": int(time.time()) - 3600}},
    "never expires": {"claims": {"exp": None}},
    "of the future": {"claims": {"iat": int(time.time()) + 3600}},
    "nobody": {"claims": {"sub": None}},
    "an empty subject": {"claims": {"sub": ""}},
    "a number": {"claims": {"sub": 7}},
    "an overlong subject": {"claims": {"sub": "x" * 256}},
    "a subject with a zero byte": {"claims": {"sub": "a\0b"}},
    "no ID token": {"faults": {"/token": (200, "application/json", b'{"access_token": "a", "token_type": "Bearer"}')}},
    "tokens in a list": {"faults": {"/token": (200, "application/json", b"[]")}},
    "a number for a token": {"faults": {"/token": (200, "application/json", b'{"access_token": "", "id_token": 5}')}},
    "a page for tokens": {"faults": {"/token": (200, "text/html", b"<p>Maintenance</p>")}},
    "a refused code": {"faults": {"/token": (400, "application/json", b'{"error": "invalid_grant"}')}},
    "a code sent elsewhere": {"faults": {"/token": (307, "text/plain", b"/elsewhere")}},
    "no keys": {"faults": {"/keys": (200, "application/json", b'{"keys": []}')}},
    "keys that are none": {"faults": {"/keys": (200, "application/json", b'["a"]')}},
    "a refusal": {"refuses": "access_denied"},
    "a refusal in strange words": {"refuses": "<script>"},
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_an_answer_that_is_not_right_signs_nobody_in(
    known: Site, provider: IdentityProvider, fault: dict[str, Any]
) -> None:
    known.app.extensions.pop(EXTENSION, None)  # so that the document is read anew
    before = trail(known)
    vars(provider).update(fault)
    browser = known.browser()
    answer = go(browser)
    assert answer.status_code == 403
    assert "Traceback" not in answer.text
    assert "<script>" not in answer.text
    assert me(browser) is None
    assert provider.count("/elsewhere") == 0
    assert trail(known) == before  # a stranger can bring some of these about without end, so they go to the log
    vars(provider).update(vars(IdentityProvider(provider.url, keys=provider.keys)))
    assert go(browser).status_code == 303


STATES: dict[str, Callable[[FlaskClient, str], str]] = {
    "no question": lambda browser, back: (browser.delete_cookie("pneumoscreen"), back)[1],
    "another state": lambda _, back: back.replace("state=", "state=x"),
    "no state": lambda _, back: back.replace("state=", "other="),
    "an older question": lambda browser, back: (browser.get("/sign-in/single"), back)[1],
    "a second time": lambda browser, back: (browser.get(back), browser.get("/sign-in/single/return?code=x"), back)[2],
}


@pytest.mark.parametrize("change", STATES.values(), ids=STATES.keys())
def test_an_answer_belongs_to_the_question_of_its_browser(
    known: Site, provider: IdentityProvider, change: Callable[[FlaskClient, str], str]
) -> None:
    browser = known.browser()
    back = change(browser, come_back(browser.get("/sign-in/single")))
    before = provider.count("/token")
    answer = browser.get(back)
    assert answer.status_code == 403
    assert "does not match a sign-in begun in this browser" in answer.text
    assert provider.count("/token") == before


def test_an_answer_that_comes_too_late_is_refused(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    browser = site.browser()
    back = come_back(browser.get("/sign-in/single"))
    with browser.session_transaction() as session:
        session["asked_provider"] = {**session["asked_provider"], "until": time.time() - 1}
    assert browser.get(back).status_code == 403
    assert me(browser) is None


@pytest.mark.parametrize("wanted", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
def test_after_signing_in_only_pages_of_this_site_follow(site: Site, provider: IdentityProvider, wanted: str) -> None:
    link(site, site.add_user("tina"), provider)
    assert go(site.browser(), f"?next={wanted}").location == "/"


# ---------------------------------------------------------------- the provider away, slow, turned


@pytest.mark.parametrize(
    "fault",
    [
        {"faults": {"/.well-known/openid-configuration": (500, "text/plain", b"")}},
        {"faults": {"/.well-known/openid-configuration": (404, "text/plain", b"")}},
        {"faults": {"/token": (500, "text/html", b"<p>Sorry</p>")}},
        {"faults": {"/keys": (503, "text/plain", b"")}},
    ],
    ids=["no document", "document not found", "no tokens", "no keys"],
)
def test_a_provider_that_fails_is_told_and_passwords_work(
    site: Site, provider: IdentityProvider, fault: dict[str, Any]
) -> None:
    link(site, site.add_user("tina", password=PASSWORD), provider)
    vars(provider).update(fault)
    browser = site.browser()
    sent = browser.get("/sign-in/single")
    answer = browser.get(come_back(sent)) if sent.status_code == 303 else sent
    assert answer.status_code == 503
    assert "The identity provider does not answer" in answer.text
    assert "/sign-in" in answer.text
    assert press(browser, "/sign-in", name="tina", password=PASSWORD).status_code == 303
    provider.faults = {}
    assert go(browser).status_code == 303


def test_a_provider_that_is_away_or_hangs_is_told_in_time(make: Make, provider: IdentityProvider) -> None:
    away = make(oidc_issuer="http://127.0.0.1:9").browser().get("/sign-in/single")
    assert away.status_code == 503
    assert "sign in with a name and a password" in away.text
    provider.delay = 3.0
    started = time.monotonic()
    assert make(oidc_seconds=0.2).browser().get("/sign-in/single").status_code == 503
    assert time.monotonic() - started < 2.5


def test_a_document_of_another_issuer_is_not_believed(site: Site, provider: IdentityProvider) -> None:
    provider.document = {"issuer": "https://another.example"}
    assert site.browser().get("/sign-in/single").status_code == 403


def test_members_of_the_document_do_not_reach_the_client(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    provider.document = {
        "verify": False,
        "proxies": {"http": "http://127.0.0.1:9"},
        "scope": "openid other",
        "max_age": 1,
    }
    assert go(site.browser()).status_code == 303


def test_the_secret_goes_into_the_form_where_only_that_is_offered(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    provider.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert go(site.browser()).status_code == 303
    assert ("/token", CLIENT_SECRET) in [(path, fields.get("client_secret")) for path, fields in provider.asked]


def test_document_and_keys_are_fetched_once_and_anew_when_the_key_is_new(
    site: Site, provider: IdentityProvider
) -> None:
    link(site, site.add_user("tina"), provider)
    assert provider.asked == []  # nothing at the start of the web
    for _ in range(3):
        assert go(site.browser()).status_code == 303
    assert (provider.count("/.well-known/openid-configuration"), provider.count("/keys")) == (1, 1)
    provider.turn_keys()
    for _ in range(2):
        assert go(site.browser()).status_code == 303
    assert (provider.count("/.well-known/openid-configuration"), provider.count("/keys")) == (1, 2)


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"oidc_issuer": "http://id.example"}, "OIDC_ISSUER"),
        ({"oidc_issuer": "id.example"}, "OIDC_ISSUER"),
        ({"oidc_client_id": None}, "OIDC_CLIENT_ID"),
        ({"oidc_scopes": "profile"}, "OIDC_SCOPES"),
        ({"oidc_role_claim": "groups"}, "OIDC_ROLE_CLAIM"),
        ({"oidc_roles": {"a": "reader"}}, "OIDC_ROLE_CLAIM"),
        ({"oidc_roles": {"a": "king"}}, "oidc_roles"),
        ({"oidc_default_role": "admin"}, "oidc_default_role"),
        ({"oidc_create_accounts": True}, "OIDC_CREATE_ACCOUNTS"),
    ],
)
def test_settings_that_do_not_fit_are_named_at_the_start(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Settings(**{"oidc_issuer": "https://id.example", "oidc_client_id": "a", **changes})


def test_without_an_issuer_there_is_no_such_door(settings: Settings, sqlite_database: Database) -> None:
    browser = Site(settings, sqlite_database).browser()
    assert browser.get("/sign-in/single").status_code == 404
    assert "/sign-in/single" not in browser.get("/sign-in").text


def test_the_button_says_what_the_settings_say_and_keeps_where_to_go(make: Make) -> None:
    page = make(oidc_label="Sign in with the hospital account").browser().get("/sign-in?next=/history")
    assert "Sign in with the hospital account" in page.text
    assert "/sign-in/single?next=/history" in page.text


# ---------------------------------------------------------------- the person's own link


def way(page: TestResponse) -> str:
    """The address of the provider on the page that leads there."""
    found = re.search(r'href="([^"]+/authorize\?[^"]+)"', page.text)
    assert found is not None, page.text
    return html.unescape(found[1])


def return_from(address: str) -> str:
    back = urlsplit(httpx.get(address).headers["Location"])
    return f"{back.path}?{back.query}"


def test_a_person_links_the_account_and_signs_in_with_it_from_then_on(site: Site) -> None:
    tina = site.add_user("tina", password=PASSWORD)
    browser = site.browser(tina)
    page = press(browser, "/account/single", password=PASSWORD)
    answer = browser.get(return_from(way(page)))
    assert (answer.status_code, answer.location) == (303, "/account/single")
    assert "1f0c-tina" in browser.get("/account/single").text
    assert trail(site)[-1] == ("user_changed", str(tina.id), tina.id)
    another = site.browser()
    assert go(another).status_code == 303
    assert me(another) == {"name": "tina", "display_name": None, "email": None, "role": "technician"}
    assert press(browser, "/account/single/unlink", page="/account/single").status_code == 303
    assert go(site.browser()).status_code == 403


def test_a_link_takes_the_present_password(site: Site, provider: IdentityProvider) -> None:
    browser = site.browser(site.add_user("tina", password=PASSWORD))
    page = press(browser, "/account/single", password="not the present one")
    assert page.status_code == 422
    assert "The current password is wrong." in page.text
    assert press(browser, "/account/single").status_code == 422
    assert provider.asked == []


def test_what_opens_nothing_else_is_not_unlinked(site: Site, provider: IdentityProvider) -> None:
    tina = site.add_user("tina")
    link(site, tina, provider)
    browser = site.browser(tina)
    answer = press(browser, "/account/single/unlink", page="/account")
    assert answer.status_code == 422
    assert "Set a password first" in answer.text
    assert site.count(Identity) == 1


def test_a_person_who_opens_another_account_is_not_linked_again(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("rita"), provider)
    browser = site.browser(site.add_user("tina"))
    answer = browser.get(return_from(way(press(browser, "/account/single"))))
    assert answer.status_code == 422
    assert "&#39;rita&#39; already" in answer.text


def test_a_link_begun_by_one_account_does_not_end_at_another(site: Site) -> None:
    browser = site.browser(site.add_user("tina"))
    back = return_from(way(press(browser, "/account/single")))
    asked = {}
    with browser.session_transaction() as session:
        asked = dict(session["asked_provider"])
    other = site.browser(site.add_user("rita"))
    with other.session_transaction() as session:
        session["asked_provider"] = asked
    assert other.get(back).status_code == 403
    assert site.count(Identity) == 0


# ---------------------------------------------------------------- the way out


def test_signing_out_says_that_the_provider_goes_on_and_leads_there(site: Site, provider: IdentityProvider) -> None:
    link(site, site.add_user("tina"), provider)
    browser = site.browser()
    go(browser)
    answer = press(browser, "/sign-out", page="/")
    assert answer.location == "/sign-out/single"
    assert me(browser) is None
    page = html.unescape(browser.get(answer.location).text)
    assert f"{provider.url}/logout?" in page
    assert f"client_id={CLIENT_ID}" in page
    assert "post_logout_redirect_uri=http%3A%2F%2Flocalhost%2Fsign-in" in page


@pytest.mark.parametrize("fault", [{"document": {"end_session_endpoint": None}}, {"delay": 1.5}], ids=["none", "away"])
def test_signing_out_works_without_the_providers_help(
    make: Make, provider: IdentityProvider, fault: dict[str, Any]
) -> None:
    site = make(oidc_seconds=1.0)
    vars(provider).update(fault)
    page = site.browser().get("/sign-out/single")
    assert page.status_code == 200
    assert "/logout" not in page.text
    assert "close the browser" in page.text


def test_who_signed_in_by_password_signs_out_as_ever(site: Site) -> None:
    browser = site.browser(site.add_user("tina", password=PASSWORD))
    assert press(browser, "/sign-out", page="/").location == "/sign-in"
