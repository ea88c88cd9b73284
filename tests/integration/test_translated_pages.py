"""Every text of every page can be translated: in a made language of accented letters, none is left without accents."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.db import Database
from shared.settings import Settings
from shared.tables import Role, Webhook
from tests.conftest import draw, encode, make_spec
from tests.pseudo_language import find_untranslated, write_catalog
from tests.web_site import Site, post_images, press

READING = (
    "/worklist",
    "/history",
    "/history?order=suspicious",
    "/screenings/{done}",
    "/screenings/{refused}",
    "/screenings/{done}?order=unread",
)
SENDING = (
    "/",
    "/jobs",
    "/jobs/{job}",
    "/jobs/{job}/delete",
    "/status",
    "/account",
    "/account/tokens",
    "/account/password",
    "/users",
    "/audit",
    "/users/{user}",
)
JUDGING = ("/quality", "/models", "/models/{model}", "/webhooks", "/webhooks/{webhook}", "/api/v1/docs")
OTHERS = ("/help", "/nowhere")


@dataclass
class Visited:
    """A site with a little of everything, and an administrator's browser in the made language."""

    client: FlaskClient
    names: dict[str, str]


@pytest.fixture(scope="module")
def translations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translations")
    write_catalog(folder, "es")
    return folder


@pytest.fixture
def visited(settings: Settings, sqlite_database: Database, translations: Path) -> Visited:
    site = Site(settings, sqlite_database, translations=translations)
    spec = make_spec()
    site.install_model(spec)
    admin = site.add_user("admin", Role.ADMIN)
    client = site.browser(admin)
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "es"
    program = site.token_client(admin)
    job = post_images(program, ("a.jpg", encode(draw(1))), ("b.jpg", encode(draw(2))), ("c.txt", b"text")).json["id"]
    site.work(spec, {}, images=1)
    done = next(s for s in site.screenings() if s.state == "DONE")
    refused = next(s for s in site.screenings() if s.state == "REJECTED")
    press(client, "/webhooks", url="https://8.8.8.8/hook", events="job.finished")
    with site.database.read() as session:
        webhook = session.scalars(select(Webhook.id)).one()
    ids = {"done": done.id, "refused": refused.id, "user": admin.id, "webhook": webhook}
    return Visited(client, {"job": job, "model": spec.name, **{name: str(id_) for name, id_ in ids.items()}})


def test_an_account_keeps_its_language(settings: Settings, sqlite_database: Database) -> None:
    site = Site(settings, sqlite_database)
    client = site.browser(site.add_user("reader", Role.READER))
    assert '<html lang="en"' in client.get("/account").text
    assert press(client, "/account/settings", "/account", language="ar").status_code == 303
    assert '<html lang="ar" dir="rtl"' in client.get("/account").text
    refused = press(client, "/account/settings", "/account", language="<b>")
    assert refused.status_code == 422
    assert "&lt;b&gt;" in refused.text
    assert press(client, "/account/settings", "/account", language="").status_code == 303
    assert '<html lang="en"' in client.get("/account").text


@pytest.mark.parametrize("address", [*READING, *SENDING, *JUDGING, *OTHERS])
def test_every_text_of_a_page_can_be_translated(visited: Visited, address: str) -> None:
    page = visited.client.get(address.format(**visited.names))
    assert page.mimetype == "text/html"
    titles = {f"{name} - PneumoScreen" for name in visited.names.values()}  # a page about one thing bears its name
    assert [text for text in find_untranslated(page.text) if text not in titles] == []
