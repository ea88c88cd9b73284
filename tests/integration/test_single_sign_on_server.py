"""Single sign-on end to end: the web process as it is started, a provider, and a client that only follows addresses."""

import re
from pathlib import Path

import httpx
import pytest

from cli.serving.processes import web_command
from migrations.schema import upgrade
from shared.db import Database
from tests.architecture.test_imports import loaded_after
from tests.browser.conftest import running, wait_until_it_answers
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, serving
from tests.integration.conftest import free_port


def test_a_new_person_comes_in_through_the_provider_and_goes_out_again(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "web.log"
    url = f"http://127.0.0.1:{port}"
    database = Database(f"sqlite:///{tmp_path / 'pneumoscreen.db'}")
    upgrade(database)
    database.close()
    with serving() as provider:
        provider.person |= {"groups": ["radiology"]}
        settings = {
            "secret_key": "a key for tests only",
            "redis_url": f"unix://{tmp_path}/no.sock",
            "oidc_issuer": provider.url,
            "oidc_client_id": CLIENT_ID,
            "oidc_client_secret": CLIENT_SECRET,
            "oidc_create_accounts": "true",
            "oidc_role_claim": "groups",
            "oidc_roles": '{"radiology": "reader"}',
        }
        with running(web_command("127.0.0.1", port, 4), tmp_path, log, **settings):
            wait_until_it_answers(url, log)
            with httpx.Client(
                base_url=url, follow_redirects=True, headers={"Accept": "text/html"}, timeout=30
            ) as browser:
                sign_in = browser.get("/history").text
                way = re.search(r'href="(/sign-in/single\?next=[^"]+)"', sign_in)
                assert way is not None, sign_in
                page = browser.get(way[1])
                assert (page.status_code, page.url.path) == (200, "/history"), log.read_text()
                assert browser.get("/api/v1/me").json() == {
                    "name": "tina",
                    "display_name": None,
                    "email": None,
                    "role": "reader",
                }
                token = re.search(r'name="csrf-token" content="([^"]+)"', page.text)
                assert token is not None
                gone = browser.post("/sign-out", data={"csrf_token": token[1]}, headers={"Referer": url})
                assert gone.url.path == "/sign-out/single"
                assert f"{provider.url}/logout" in gone.text
                assert browser.get("/api/v1/me").status_code == 401
    assert CLIENT_SECRET not in log.read_text()


@pytest.mark.parametrize("issuer", ["", "oidc_issuer='https://id.example', oidc_client_id='a'"])
def test_nothing_of_single_sign_on_is_loaded_at_the_start(issuer: str) -> None:
    code = (
        "from shared.settings import Settings; from web.app import create_app; "
        f"create_app(Settings(secret_key='x' * 32, {issuer}))"
    )
    assert loaded_after(code, ["authlib", "requests", "joserfc"]) == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert loaded_after("import web.accounts.provider", ["authlib", "requests"]) == ["authlib", "requests"]
