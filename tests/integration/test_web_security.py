"""What guards every request and response: CSRF on each form, the Host header, headers, and what bytes are served as."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient
from PIL import Image
from pydantic import SecretStr

from cli.serving.processes import web_environment
from shared.accounts import links
from shared.db import Base, Database
from shared.images import preprocess
from shared.models import heatmap
from shared.models.spec import ModelSpec
from shared.settings import PREFIX, Settings
from shared.store.store import THUMBNAIL
from shared.tables import Role
from tests.conftest import draw, encode
from tests.web_site import Site, form, post_images, token_of
from web.app import create_app
from web.guard.access import SAFE_METHODS, UnguardedView, check_views, open_to_all, requires

SINGLE_SIGN_ON = {"oidc_issuer": "http://127.0.0.1:1", "oidc_client_id": "for the routes only"}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


# ---------------------------------------------------------------- CSRF


def unsafe_routes() -> Iterator[str]:
    """Every route that changes something."""
    settings = Settings(secret_key=SecretStr("for the routes only"), **SINGLE_SIGN_ON)
    for rule in create_app(settings).url_map.iter_rules():
        for method in sorted((rule.methods or set()) - SAFE_METHODS):
            yield f"{method} {rule}"


@dataclass(frozen=True)
class Victim:
    """An administrator's browser, the token of its pages and of another's, and a job."""

    browser: FlaskClient
    own: str
    other: str
    job_id: str


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    folder = tmp_path_factory.mktemp("csrf")
    database = Database(f"sqlite:///{folder / 'test.db'}")
    Base.metadata.create_all(database.engine)
    redis_url = SecretStr(f"unix://{folder / 'no.sock'}")
    settings = Settings(data_dir=folder, secret_key=SecretStr("a key for tests only"), redis_url=redis_url)
    site = Site(settings, database, **SINGLE_SIGN_ON)
    root = site.add_user("root", Role.ADMIN)
    browser, other = site.browser(root), site.browser(site.add_user("tina"))
    job = site.token_client(root).post("/api/v1/jobs", json={}).json
    assert job is not None
    yield Victim(browser, token_of(browser.get("/help")), token_of(other.get("/help")), job["id"])
    database.close()


@pytest.mark.parametrize("route", sorted(unsafe_routes()))
@pytest.mark.parametrize("given", ["nothing", "another session's", "in the address"])
def test_no_form_is_taken_from_another_page(victim: Victim, route: str, given: str) -> None:
    method, path = re.sub(r"<[^>]+>", victim.job_id, route).split()
    texts = {"csrf_token": victim.other} if given == "another session's" else {}
    headers = {"X-CSRFToken": victim.other} if texts and path.startswith("/api/") else {}
    query = {"csrf_token": victim.own} if given == "in the address" else {}
    images = form([("image.png", b"x")], **texts)
    body = images if path in {"/jobs", "/api/v1/jobs"} or path.endswith("/images") else {"data": texts}
    answer = victim.browser.open(path, method=method, query_string=query, headers=headers, **body)
    if given == "in the address" and path.startswith("/api/"):
        assert answer.status_code == 422, answer.text  # no call takes an argument of this name
    else:
        assert answer.status_code == 403, answer.text
        assert "This page is out of date" in answer.text


def test_the_sign_in_form_takes_no_token_of_another_browser(site: Site) -> None:
    theirs = token_of(site.browser().get("/sign-in"))
    browser = site.browser()
    browser.get("/sign-in")
    answer = browser.post("/sign-in", data={"csrf_token": theirs, "name": "tina", "password": "x"})
    assert answer.status_code == 403


# ---------------------------------------------------------------- access


def test_a_view_that_does_not_say_who_may_call_it_stops_the_start(site: Site) -> None:
    app = Flask("bare")
    app.add_url_rule("/guarded", "guarded", requires()(lambda: "in"))
    check_views(app)
    app.add_url_rule("/forgotten", "forgotten", lambda: "in")
    with pytest.raises(UnguardedView, match="The view forgotten"):
        check_views(app)


# ---------------------------------------------------------------- Host header

NAMES = "pneumo.example.org, .clinic.example, 127.0.0.1, [::1]"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("pneumo.example.org", 200),
        ("PNEUMO.example.org:8443", 200),
        ("ward3.clinic.example", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("clinic.example", 400),
        ("evil.example", 400),
        ("pneumo.example.org.evil.example", 400),
        ("evilclinic.example", 400),
        ("[::2]", 400),
        ("[::1", 400),
        ("a b", 400),
        ("pneumo.example.org@evil.example", 400),
        ("", 400),
    ],
)
def test_only_the_names_of_this_server_are_answered(
    settings: Settings, sqlite_database: Database, host: str, status: int
) -> None:
    site = Site(settings, sqlite_database, allowed_hosts=NAMES)
    answer = site.browser().get("/sign-in", headers={"Host": host})
    assert answer.status_code == status
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    if status == 400:
        assert "ALLOWED_HOSTS" in answer.text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_probes_ask_by_any_address(settings: Settings, sqlite_database: Database, path: str) -> None:
    site = Site(settings, sqlite_database, allowed_hosts=NAMES)
    assert site.browser().get(path, headers={"Host": "10.1.2.3:8000"}).status_code != 400


@pytest.mark.parametrize("host", ["[", "x" * 300, "é" * 300, "a b", "a..b", "::1", "", "a:99999999", "<b>"])
@pytest.mark.parametrize("path", ["/sign-in", "/api/v1/me"])
@pytest.mark.parametrize("listed", [None, NAMES])
def test_a_host_that_is_no_name_is_a_bad_request(
    settings: Settings, sqlite_database: Database, host: str, path: str, listed: str | None
) -> None:
    site = Site(settings, sqlite_database, allowed_hosts=listed)
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = site.browser().get(path, environ_overrides={"HTTP_HOST": host.encode().decode("latin-1")})
    assert answer.status_code in {200, 400, 401}, answer.text
    assert answer.text


def test_any_name_is_answered_where_none_is_listed(site: Site) -> None:
    assert site.browser().get("/sign-in", headers={"Host": "whatever.example"}).status_code == 200


@pytest.mark.parametrize(
    ("host", "listed", "set_to"),
    [
        ("127.0.0.1", "", "localhost,127.0.0.1,[::1]"),
        ("localhost", "", "localhost,127.0.0.1,[::1]"),
        ("::1", "", "localhost,127.0.0.1,[::1]"),
        ("127.0.0.1", "pneumo.example.org", None),
        ("0.0.0.0", "", None),
        ("192.0.2.7", "", None),
    ],
)
def test_a_server_on_loopback_answers_to_loopback_names(host: str, listed: str, set_to: str | None) -> None:
    given = web_environment(Settings(allowed_hosts=listed), host)
    assert given.get(f"{PREFIX}ALLOWED_HOSTS") == set_to


# ---------------------------------------------------------------- headers and cookies

HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=()",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/sign-in", 200),
        ("GET", "/healthz", 200),
        ("GET", "/static/mark.svg", 200),
        ("OPTIONS", "/sign-in", 200),
        ("GET", "/", 303),
        ("GET", "/api/v1/me", 401),
        ("POST", "/sign-in", 403),
        ("GET", "/nowhere", 404),
        ("GET", "/api/v1/nowhere", 404),
        ("DELETE", "/sign-in", 405),
        ("GET", "/broken", 500),
    ],
)
def test_every_answer_carries_the_security_headers(site: Site, method: str, path: str, status: int) -> None:
    site.app.add_url_rule("/broken", "broken", fail)
    site.app.config["PROPAGATE_EXCEPTIONS"] = False
    answer = site.browser().open(path, method=method)
    assert answer.status_code == status
    for name, part in HEADERS.items():
        assert part in answer.headers[name], name
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    if status != 200 or path != "/static/mark.svg":
        assert answer.headers["Cache-Control"] == "no-store"
    answer.close()


@open_to_all
def fail() -> str:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("secure_cookies", "scheme", "insists"),
    [(False, "http", False), (False, "https", True), (True, "http", True), (True, "https", True)],
)
def test_browsers_behind_tls_are_told_to_stay_there(
    settings: Settings, sqlite_database: Database, secure_cookies: bool, scheme: str, insists: bool
) -> None:
    site = Site(settings, sqlite_database, secure_cookies=secure_cookies)
    answer = site.browser().get("/sign-in", base_url=f"{scheme}://localhost")
    assert answer.headers.get("Strict-Transport-Security", "") == ("max-age=31536000" if insists else "")


@pytest.mark.parametrize("secure_cookies", [False, True])
def test_cookies_are_kept_from_scripts_and_other_sites(
    settings: Settings, sqlite_database: Database, secure_cookies: bool
) -> None:
    site = Site(settings, sqlite_database, secure_cookies=secure_cookies)
    user = site.add_user("tina")
    with site.database.write() as session:
        path = f"/sign-in/link/{links.make_link(session, user)}"
    browser, place = site.app.test_client(), "https://localhost"
    browser.environ_base["HTTP_REFERER"] = f"{place}{path}"
    token = token_of(browser.get(path, base_url=place))
    answer = browser.post(path, base_url=place, data={"csrf_token": token})
    cookies = {cookie.split("=")[0]: cookie for cookie in answer.headers.getlist("Set-Cookie")}
    assert set(cookies) == {"__Host-pneumoscreen" if secure_cookies else "pneumoscreen", "pneumoscreen_device"}
    for cookie in cookies.values():
        assert all(part in cookie for part in ("HttpOnly", "SameSite=Lax", "Path=/"))
        assert ("Secure" in cookie) is secure_cookies
        assert "Domain" not in cookie


# ---------------------------------------------------------------- bytes

SCRIPT = b"<script>alert(document.cookie)</script>"
STARTS = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}
"""How what a route says it gives has to begin."""


def polyglots() -> dict[str, bytes]:
    """Images that are also something else, if a browser could be brought to guess."""
    commented = io.BytesIO()
    draw(1, (80, 80)).save(commented, "JPEG", comment=SCRIPT)
    exif = Image.Exif()
    exif[0x010E] = SCRIPT.decode()  # ImageDescription
    return {
        "page.html": encode(draw(2, (80, 80)), "PNG") + SCRIPT,
        "page.svg": commented.getvalue(),
        "script.js": encode(draw(3, (80, 80)), "JPEG", exif=exif),
        "style.css": encode(draw(4, (80, 80)), "BMP") + SCRIPT,
    }


@pytest.mark.parametrize(("name", "data"), polyglots().items())
def test_an_image_is_never_served_as_what_its_sender_claims(
    site: Site, spec: ModelSpec, name: str, data: bytes
) -> None:
    client = site.token_client(site.add_user("tina"))
    assert SCRIPT in data
    assert post_images(client, (name, data)).status_code == 202
    site.work(spec, {}, heat_map=heatmap.encode(np.ones((2, 2), np.float32)))
    image = site.screenings()[0]
    thumbnail = preprocess.thumbnail(preprocess.decode(data, at_least=40))
    with site.database.read() as session:
        site.store.put_derived(session.merge(image).image.sha256, THUMBNAIL, thumbnail)
    rules = [rule for rule in site.app.url_map.iter_rules() if rule.arguments == {"screening_id"}]
    given = [client.get(str(rule).replace("<uuid:screening_id>", str(image.id))) for rule in rules]
    pictures = [answer for answer in given if answer.mimetype in STARTS]
    assert len(pictures) == 3, "thumbnail, image and heat map"
    for answer in pictures:
        assert answer.data.startswith(STARTS[answer.mimetype])
        assert SCRIPT not in answer.data
        assert answer.headers["Content-Disposition"] == "inline"
    for answer in given:
        if answer.mimetype == "application/pdf":
            assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
            assert SCRIPT not in answer.data
        elif answer.mimetype == "application/octet-stream":  # samples: what they spell is the sender's
            assert answer.headers["Content-Disposition"] == "attachment"
        else:
            assert answer.mimetype in {*STARTS, "text/html", "application/json", "application/problem+json"}
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_names_are_shown_as_text(site: Site, spec: ModelSpec) -> None:
    user = site.add_user("tina")
    name = "<script>alert(1)</script>.png"
    post_images(site.token_client(user), (name, encode(draw(1, (80, 80)), "PNG")), name=name)
    site.work(spec, {})
    image = site.screenings()[0]
    browser: FlaskClient = site.browser(user)
    job = f"/jobs/{image.job_id}"
    for path in ("/", "/jobs", job, f"{job}/fragment", "/history", f"/screenings/{image.id}"):
        page = browser.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text, path
        assert "alert(1)" in page.text, path
