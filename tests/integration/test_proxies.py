"""Behind a reverse proxy: its sub-path and headers where it is trusted, and nothing of them where it is not."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.accounts import links, users
from shared.db import Database
from shared.settings import Settings
from tests.conftest import draw, encode
from tests.integration.conftest import free_port, wait_until
from tests.integration.test_slow_clients import Web, serving
from tests.web_site import Site
from web.accounts.sign_in import next_address

PREFIX = "/pneumo"
LINKS = re.compile(r'(?:href|src|action|data-fragment|data-jobs|data-pages)="(/[^"]*)"')
NGINX = """
{user} daemon off; worker_processes 1; pid nginx.pid; error_log error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_max_body_size 100m;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen 127.0.0.1:{port};
    location /pneumo/ {{
      proxy_pass {url}/;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Prefix /pneumo;
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serving(tmp_path_factory.mktemp("proxied"), trusted_proxies="1") as web:
        yield web


@contextlib.contextmanager
def nginx_before(url: str, folder: Path) -> Iterator[str]:
    """Run Debian's nginx in front and give the address below which it serves."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    user = "user root;" if os.geteuid() == 0 else ""  # else its worker may not write into the test's folder
    (folder / "nginx.conf").write_text(NGINX.format(port=port, url=url, user=user))
    process = subprocess.Popen([program, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"], cwd=folder)
    try:
        address = f"http://127.0.0.1:{port}{PREFIX}"
        wait_until(lambda: _answers(address), 10, "nginx")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.long
def test_everything_stays_below_the_path_of_a_proxy(web: Web, tmp_path: Path) -> None:
    link = _one_time_link(web)
    with nginx_before(web.url, tmp_path) as address, httpx.Client(base_url=address, timeout=30) as browser:
        browser.headers["Accept"] = "text/html"
        asked = browser.get("/history")
        assert asked.headers["Location"] == f"{PREFIX}/sign-in?next=/history"
        page = browser.get(f"/sign-in/link/{link}")
        signed_in = browser.post(f"/sign-in/link/{link}", data={"csrf_token": _token(page.text)})
        assert signed_in.headers["Location"] == f"{PREFIX}/account/password"
        cookies = signed_in.headers.get_list("Set-Cookie")
        assert {re.search(r"Path=([^;]*)", cookie)[1] for cookie in cookies} == {PREFIX}
        _follow_every_link(browser)
        token = _token(browser.get("/help").text)
        sent = browser.post("/jobs", data={"csrf_token": token}, files={"files": ("a.png", encode(draw(1), "PNG"))})
        assert sent.status_code == 303, sent.text
        assert sent.headers["Location"].startswith(f"{PREFIX}/jobs/")


def test_programs_get_addresses_below_the_path(web: Web, tmp_path: Path) -> None:
    with nginx_before(web.url, tmp_path) as address:
        origin = address.removesuffix(PREFIX)
        answer = httpx.post(f"{address}/api/v1/jobs", json={"name": "x"}, headers=web.bearer)
        assert answer.headers["Location"] == answer.json()["status_url"]
        for name in ("status_url", "screenings_url"):
            assert answer.json()[name].startswith(f"{PREFIX}/api/v1/jobs/")
            assert httpx.get(f"{origin}{answer.json()[name]}", headers=web.bearer).status_code == 200
        listed = httpx.get(f"{address}/api/v1/predictions?limit=1", headers=web.bearer).json()
        assert httpx.get(f"{origin}{listed['next']}", headers=web.bearer).status_code == 200
        assert httpx.get(f"{address}/api/v1/openapi.json").json()["servers"] == [{"url": PREFIX}]
        problem = httpx.get(f"{address}/api/v1/predictions?limit=x", headers=web.bearer)
        assert problem.status_code == 422


def _one_time_link(web: Web) -> str:
    database = Database(f"sqlite:///{web.log.parent / 'pneumoscreen.db'}")
    with database.write() as session:
        user = users.find_user(session, "ada")
        assert user is not None
        secret = links.make_link(session, user)
    database.close()
    return secret


def _token(page: str) -> str:
    found = re.search(r'name="(?:csrf-token|csrf_token)"[^>]*(?:content|value)="([^"]+)"', page)
    assert found is not None, page
    return found[1]


def _follow_every_link(browser: httpx.Client) -> None:
    """Load a page of each kind that the start leads to; each address lies below the path, and each page is there."""
    origin, left, seen = str(browser.base_url).removesuffix(f"{PREFIX}/"), [f"{PREFIX}/"], set[str]()
    while left:
        address = left.pop()
        kind = re.sub(r"[0-9a-f-]{36}", "<id>", address.partition("#")[0].partition("?")[0])
        if kind in seen or kind.endswith("/sign-out"):
            continue
        seen.add(kind)
        answer = browser.get(f"{origin}{address}")
        assert answer.status_code in {200, 303, 405}, (address, answer.text)
        if answer.headers["Content-Type"].startswith("text/html"):
            found = LINKS.findall(answer.text)
            assert [link for link in found if not link.startswith(f"{PREFIX}/")] == []
            left += found
    assert len(seen) > 20


# ---------------------------------------------------------------- what is not believed


def test_without_a_trusted_proxy_nothing_of_it_is_believed(tmp_path: Path) -> None:
    """gunicorn by itself believes X-Forwarded-Proto and SCRIPT_NAME of whoever comes from this machine."""
    with serving(tmp_path) as web:
        lies = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Ssl": "on",
            "X-Forwarded-Protocol": "ssl",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Prefix": "//evil.example",
            "X-Forwarded-For": "192.0.2.1",
            "Script_Name": "//evil.example",
            "Path_Info": "/healthz",
            "Forwarded": "proto=https;host=evil.example",
        }
        plain = httpx.get(f"{web.url}/history", headers={"Accept": "text/html"})
        for name, value in [*lies.items(), ("SCRIPT_NAME", "/history")]:
            answer = httpx.get(f"{web.url}/history", headers={"Accept": "text/html", name: value})
            assert answer.status_code == 303, (name, answer.text)
            assert answer.headers["Location"] == plain.headers["Location"] == "/sign-in?next=/history", name
            assert "Strict-Transport-Security" not in answer.headers, name
        asked = httpx.get(f"{web.url}/api/v1/openapi.json", headers=lies).json()
        assert asked["servers"] == [{"url": "/"}]


@pytest.mark.parametrize(
    ("prefix", "status"),
    [
        ("/a/b", 200),
        ("/a/", 200),
        ("", 200),
        ("//evil.example", 400),
        ("/\\evil.example", 400),
        ("https://evil.example", 400),
        ("/a?b", 400),
        ("/a b", 400),
        ("/ä", 400),
        ("/<script>", 400),
        ("pneumo", 400),
    ],
)
def test_a_prefix_that_leads_elsewhere_is_refused(
    settings: Settings, sqlite_database: Database, prefix: str, status: int
) -> None:
    site = Site(settings, sqlite_database, trusted_proxies=1)
    answer = site.browser().get("/sign-in", headers={"X-Forwarded-Prefix": prefix.encode().decode("latin-1")})
    assert answer.status_code == status
    if status == 200:
        assert f'href="{prefix.rstrip("/")}/static/' in answer.text
    else:
        assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("prefix", "secure", "name", "path"),
    [
        ("", False, "pneumoscreen", "/"),
        ("/a", False, "pneumoscreen", "/a"),
        ("", True, "__Host-pneumoscreen", "/"),
        ("/a", True, "__Secure-pneumoscreen", "/a"),
    ],
)
def test_cookies_are_for_the_path_alone(  # noqa: PLR0917  # two fixtures, four values
    settings: Settings, sqlite_database: Database, prefix: str, secure: bool, name: str, path: str
) -> None:
    site = Site(settings, sqlite_database, trusted_proxies=1, secure_cookies=secure)
    browser = site.browser()
    browser.environ_base["HTTP_X_FORWARDED_PREFIX"] = prefix
    scheme = "https" if secure else "http"
    cookies = browser.get("/sign-in", base_url=f"{scheme}://localhost").headers.getlist("Set-Cookie")
    assert any(cookie.startswith(f"{name}=") and f"Path={path};" in f"{cookie};" for cookie in cookies), cookies


# ---------------------------------------------------------------- where to go on


@pytest.mark.parametrize(
    ("wanted", "address"),
    [
        ("/history?text=a", "/history?text=a"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example", "/"),
        ("http://[", "/"),
        ("//[", "/"),
        ("/[", "/["),
        ("/\t/evil.example", "/"),
        ("", "/"),
        ("/" + "x" * 100_000, "/"),
    ],
)
def test_the_next_address_stays_here(settings: Settings, sqlite_database: Database, wanted: str, address: str) -> None:
    site = Site(settings, sqlite_database)
    with site.app.test_request_context("/sign-in", query_string={"next": wanted}, base_url="http://localhost/a"):
        assert next_address() == f"/a{address}"
