"""The pages of accounts: what administrators do, what nobody else may, and the trail of it."""

import html
import re
import uuid

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.accounts import identities, users
from shared.db import Database
from shared.settings import Settings
from shared.tables import AuditEvent, Identity, Role, User
from tests.web_site import Site, press

ISSUER = "https://id.example"


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database, oidc_issuer=ISSUER, oidc_client_id="pneumoscreen")


@pytest.fixture
def admin(site: Site) -> FlaskClient:
    return site.browser(site.add_user("ada", Role.ADMIN))


def one(site: Site, name: str) -> User:
    with site.database.read() as session:
        return users.get_user(session, name)


def changes(site: Site) -> list[tuple[str, str | None, object, dict[str, str] | None]]:
    """What the admin did, as the trail has it: action, on whom, by whom, what."""
    with site.database.read() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.action != "sign_in").order_by(AuditEvent.sequence))
        return [(row.action, row.subject, row.actor, row.detail) for row in rows]


def whats(site: Site) -> list[str]:
    return [detail["change"] for _, _, _, detail in changes(site) if detail]


def act(admin: FlaskClient, user: User, what: str, **fields: str) -> TestResponse:
    return press(admin, f"/users/{user.id}/{what}", page=f"/users/{user.id}", **fields)


def one_time_link(page: TestResponse) -> str:
    found = re.search(r'value="http://localhost(/sign-in/link/[^"]+)"', html.unescape(page.text))
    assert found is not None, page.text
    return found[1]


def test_an_account_is_added_and_its_link_shown_once_signs_it_in(site: Site, admin: FlaskClient) -> None:
    page = press(admin, "/users", name=" rita ", role="reader")
    assert page.status_code == 200
    rita = one(site, "rita")
    assert (rita.role, rita.password_hash) == (Role.READER, None)
    assert changes(site) == [("user_changed", str(rita.id), "ada", {"change": "added", "role": "reader"})]
    assert page.headers["Cache-Control"] == "no-store"
    browser = site.browser()
    assert press(browser, one_time_link(page)).status_code == 303
    assert browser.get("/api/v1/me").json == {"name": "rita", "display_name": None, "email": None, "role": "reader"}
    assert one(site, "rita").last_sign_in_at is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "ada", "role": "reader"}, "named &#39;ada&#39; already"),
        ({"name": "", "role": "reader"}, "Enter a name."),
        ({"name": "../x", "role": "reader"}, "A name has 1 to 64"),
        ({"name": "<b>", "role": "reader"}, "&lt;b&gt;"),
        ({"name": "x" * 65, "role": "reader"}, "At most 64 characters."),
        ({"name": "rita", "role": "king"}, "Not a valid choice"),
        ({"name": "rita"}, "Not a valid choice"),
    ],
)
def test_what_cannot_be_added_is_told_on_the_form(
    site: Site, admin: FlaskClient, fields: dict[str, str], message: str
) -> None:
    page = press(admin, "/users", **fields)
    assert page.status_code == 422
    assert message in page.text
    assert site.count(User) == 1


def test_a_person_is_written_in_any_script_beside_the_login_name(site: Site, admin: FlaskClient) -> None:
    page = press(
        admin, "/users", name="mueller", display_name=" Frau Müller ", email="mueller@klinik.example", role="reader"
    )
    assert page.status_code == 200
    mueller = one(site, "mueller")
    assert (mueller.display_name, mueller.email) == ("Frau Müller", "mueller@klinik.example")
    browser = site.browser(mueller)
    assert browser.get("/api/v1/me").json == {
        "name": "mueller", "display_name": "Frau Müller", "email": "mueller@klinik.example", "role": "reader",
    }  # fmt: skip
    assert "Frau Müller" in browser.get("/account").text
    assert act(admin, mueller, "describe", display_name="د. ليلى", email="").status_code == 303
    assert (one(site, "mueller").display_name, one(site, "mueller").email) == ("د. ليلى", None)
    assert all("د. ليلى" in admin.get(page).text for page in ("/users", f"/users/{mueller.id}", "/users?name=ليلى"))
    assert act(admin, mueller, "describe", display_name="د. ليلى", email="").status_code == 303
    assert whats(site) == ["added", "described"], "saving what is there is no change"


def test_what_is_no_name_or_address_is_told_and_changes_nothing(site: Site, admin: FlaskClient) -> None:
    page = press(admin, "/users", name="tom", email="tom at home", role="reader")
    assert page.status_code == 422
    assert "An e-mail address has one @" in page.text
    tina = site.add_user("tina")
    refused = act(admin, tina, "describe", display_name="x" * 129, email="")
    assert refused.status_code == 422
    assert "A display name has at most 128" in refused.text
    assert (site.count(User), one(site, "tina").display_name) == (2, None)


def test_a_role_is_given(site: Site, admin: FlaskClient) -> None:
    tina = site.add_user("tina")
    browser = site.browser(tina)
    assert act(admin, tina, "role", role="reader").status_code == 303
    assert browser.get("/api/v1/me").status_code == 401, "what a technician was given ends"
    assert site.browser(tina).get("/api/v1/me").json == {
        "name": "tina",
        "display_name": None,
        "email": None,
        "role": "reader",
    }
    assert changes(site) == [("user_changed", str(tina.id), "ada", {"change": "role", "role": "reader"})]


@pytest.mark.parametrize("role", ["king", "", "ADMIN"])
def test_a_role_that_is_none_is_refused(site: Site, admin: FlaskClient, role: str) -> None:
    tina = site.add_user("tina")
    assert act(admin, tina, "role", role=role).status_code == 422
    assert one(site, "tina").role is Role.TECHNICIAN


def test_an_account_is_kept_out_and_let_in_again(site: Site, admin: FlaskClient) -> None:
    tina = site.add_user("tina")
    browser = site.browser(tina)
    assert act(admin, tina, "disable").status_code == 303
    assert browser.get("/api/v1/me").status_code == 401
    assert "disabled" in admin.get("/users").text
    refused = act(admin, tina, "link")
    assert refused.status_code == 422
    assert "Enable the account first." in refused.text
    assert act(admin, tina, "enable").status_code == 303
    assert one(site, "tina").is_active
    assert browser.get("/api/v1/me").status_code == 401  # the session does not come back
    assert whats(site) == ["disabled", "enabled"]


def test_the_sessions_of_an_account_are_shown_and_ended(site: Site, admin: FlaskClient) -> None:
    tina = site.add_user("tina")
    browsers = [site.browser(tina) for _ in range(2)]
    page = admin.get("/users").text
    assert re.search(r'>tina<.*?number"><span class="on-desk">2<', page, flags=re.DOTALL)
    assert act(admin, tina, "sessions/end").status_code == 303
    assert [browser.get("/api/v1/me").status_code for browser in browsers] == [401, 401]
    assert "<bdi>tina</bdi> is not signed in anywhere." in admin.get(f"/users/{tina.id}").text
    assert [(action, subject) for action, subject, _, _ in changes(site)] == [("session_ended", str(tina.id))]


def test_a_new_one_time_link_signs_in(site: Site, admin: FlaskClient) -> None:
    tina = site.add_user("tina")
    page = act(admin, tina, "link")
    browser = site.browser()
    assert press(browser, one_time_link(page)).status_code == 303
    assert browser.get("/api/v1/me").json == {"name": "tina", "display_name": None, "email": None, "role": "technician"}
    assert changes(site) == [("user_changed", str(tina.id), "ada", {"change": "link", "role": "technician"})]


@pytest.mark.parametrize(("what", "fields"), [("disable", {}), ("role", {"role": "reader"})])
def test_the_last_admin_who_may_sign_in_stays(
    site: Site, admin: FlaskClient, what: str, fields: dict[str, str]
) -> None:
    ada = one(site, "ada")
    page = act(admin, ada, what, **fields)
    assert page.status_code == 422
    assert "ada is the last admin who can sign in" in page.text
    assert (one(site, "ada").role, one(site, "ada").is_active) == (Role.ADMIN, True)
    assert admin.get("/users").status_code == 200
    assert changes(site) == []
    site.add_user("otto", Role.ADMIN)
    assert act(admin, ada, what, **fields).status_code == 303
    assert admin.get("/users").status_code in {303, 403}


def test_a_person_of_the_provider_is_linked_and_unlinked(site: Site, admin: FlaskClient) -> None:
    tina, rita = site.add_user("tina"), site.add_user("rita")
    assert act(admin, tina, "identity", subject=" 1f0c ").status_code == 303
    assert "1f0c" in admin.get(f"/users/{tina.id}").text
    taken = act(admin, rita, "identity", subject="1f0c")
    assert taken.status_code == 422
    assert "opens the account &#39;tina&#39; already" in taken.text
    assert act(admin, tina, "identity", subject="another").status_code == 422
    assert act(admin, tina, "identity/unlink").status_code == 303
    assert site.count(Identity) == 0
    assert whats(site) == ["single sign-on linked", "single sign-on unlinked"]


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\u0000b", "naïve"])
def test_a_subject_that_is_none_is_refused(site: Site, admin: FlaskClient, subject: str) -> None:
    tina = site.add_user("tina")
    assert act(admin, tina, "identity", subject=subject).status_code == 422
    assert site.count(Identity) == 0


def test_without_single_sign_on_nothing_is_linked(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database)
    admin, tina = site.browser(site.add_user("ada", Role.ADMIN)), site.add_user("tina")
    assert act(admin, tina, "identity", subject="1f0c").status_code == 404
    assert "Single sign-on" not in admin.get(f"/users/{tina.id}").text


def test_the_list_is_searched_turned_and_says_how_each_signs_in(site: Site, admin: FlaskClient) -> None:
    with site.database.write() as session:
        session.add_all(User(name=f"person-{number:03}", role=Role.TECHNICIAN) for number in range(60))
    linked = site.add_user("zoe")
    with site.database.write() as session:
        identities.link_identity(session, session.get_one(User, linked.id), ISSUER, "z")
    first = admin.get("/users").text
    assert "person-048" in first
    assert "person-049" not in first
    following = html.unescape(re.search(r'href="(/users\?cursor=[^"]+)" rel="next"', first)[1])  # type: ignore[index]
    second = admin.get(following).text
    assert "person-049" in second
    assert re.search(r">zoe<.*?single sign-on<", second, flags=re.DOTALL)
    found = admin.get("/users?name=PERSON-00").text
    assert found.count(">person-") == 10
    assert "No such account" in admin.get("/users?name=%25").text
    assert admin.get("/users?cursor=x").status_code == 422


@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.READER])
def test_only_admins_see_and_change_accounts(site: Site, role: Role) -> None:
    other, mine = site.add_user("tina"), site.add_user("someone", role)
    browser = site.browser(mine)
    assert "/users" not in browser.get("/history").text
    assert browser.get("/users").status_code == 403
    for what in ("", "/role", "/disable", "/enable", "/sessions/end", "/link", "/identity", "/identity/unlink"):
        token = {"csrf_token": re.search(r'csrf-token" content="([^"]+)"', browser.get("/history").text)[1]}  # type: ignore[index]
        address = f"/users/{other.id}{what}" if what else "/users"
        assert browser.post(address, data={**token, "role": "admin", "name": "x"}).status_code == 403, address
    assert changes(site) == []


def test_an_account_that_is_not_there_is_not_found(site: Site, admin: FlaskClient) -> None:
    assert admin.get(f"/users/{uuid.uuid4()}").status_code == 404
    assert press(admin, f"/users/{uuid.uuid4()}/disable", page="/users").status_code == 404
