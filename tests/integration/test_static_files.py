"""Scripts and styles: kept by browsers for good under a fingerprint, compressed, and right after an update."""

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.db import Database
from shared.settings import Settings
from tests.web_site import Site
from web.http import static_files


@pytest.fixture
def client(settings: Settings, sqlite_database: Database) -> FlaskClient:
    return Site(settings, sqlite_database).app.test_client()


def test_a_page_names_files_that_are_kept_for_good_and_compressed(client: FlaskClient) -> None:
    page = client.get("/sign-in").text
    addresses = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert len(addresses) > 5
    for address in addresses:
        answer = client.get(address, headers={"Accept-Encoding": "gzip, br"})
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Encoding"] == "gzip"
        plain = client.get(address)
        assert "Content-Encoding" not in plain.headers
        assert gzip.decompress(answer.data) == plain.data
        assert plain.data == (Path("web/static") / address.split("/", 3)[3]).read_bytes()
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_modules_import_each_other_under_one_fingerprint(client: FlaskClient) -> None:
    (script,) = re.findall(r'src="(/static/[^"]+times.js)"', client.get("/sign-in").text)
    folder = script.removesuffix("js/times.js")
    for module in ("js/job.js", "js/follow.js", "js/viewer/viewer.js", "js/keys.js"):
        assert "immutable" in client.get(folder + module).headers["Cache-Control"]


@pytest.mark.parametrize("address", ["/static/js/times.js", "/static/0123456789abcdef/js/times.js"])
def test_without_the_fingerprint_of_today_it_is_asked_for_again(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype) == (200, "text/javascript")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert client.get(address, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("name", ["nothing.js", "../app.py", "%2e%2e/app.py", "js", "", "0123456789abcdef/../app.py"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code in {301, 308, 404}


def test_a_changed_file_changes_the_fingerprint(tmp_path: Path) -> None:
    def address() -> str:
        app = Flask(__name__, static_folder=None)
        static_files.install(app, tmp_path)
        with app.test_request_context():
            return app.url_for("static", filename="a.js")

    (tmp_path / "a.js").write_text("one")
    first = address()
    assert address() == first
    (tmp_path / "b.js").write_text("another")
    second = address()
    (tmp_path / "a.js").write_text("two")
    assert len({first, second, address()}) == 3
