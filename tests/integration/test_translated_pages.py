"""Every text of every page can be translated: in a made language of accented letters, none is left without accents."""

import shutil
import uuid
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from shared.db import Database, now
from shared.models.folder import SPEC_FILE, WEIGHTS_FILE, read_spec
from shared.models.spec import Label, ModelSpec
from shared.reviews.claims import claim
from shared.reviews.reviews import NewReview, add_review
from shared.settings import Settings
from shared.states import State
from shared.store.key_record import KEYS_FILE
from shared.tables import AskedScore, ReviewOutcome, Role, Screening, ShadowScore, User, Webhook
from tests.conftest import draw, encode, make_spec
from tests.integration.test_activation import install
from tests.pseudo_language import find_untranslated, link_others, write_catalog
from tests.site_history import History
from tests.web_site import Site, post_images, press, token_of

READING = (
    "/worklist",
    "/history",
    "/history?order=suspicious",
    "/screenings/{done}",
    "/screenings/{refused}",
    "/screenings/{done}?order=unread",
    "/screenings/{done}?order=suspicious&label=NORMAL",
    "/screenings/{waiting}",
    "/worklist?review=unread&text=a&min_suspicion=0.5&model=m@1",
    "/worklist?text=nowhere",
    "/worklist?since=1",
    "/history?since=2025-01-31&min_confidence=0.5&label=NORMAL&state=DONE&job={job}&reviewed_by=nobody&text=a",
    "/history?order=suspicious&state=QUEUED",
    "/history?min_suspicion=9&max_suspicion=8",
    "/history?job=1",
)
SENDING = (
    "/",
    "/jobs",
    "/jobs/{job}",
    "/jobs/{job}?state=RUNNING",
    "/jobs/{job}/delete",
    "/jobs?text=nothing-has-this-name",
    "/jobs?order=sideways",
    "/status",
    "/account",
    "/account/tokens",
    "/account/password",
    "/account/emails/stop",
    "/emails",
    "/users",
    "/audit",
    "/audit?action=job_submitted",
    "/audit?since=soon",
    "/audit?person=1",
    "/sign-in",
    "/sign-in/link/0",
    "/users?name=nothing-has-this-name",
    "/users/{user}",
)
GIVEN = ("3 files", "admin", "test", "sideways", "newest, oldest, largest", "soon", "test-model", "other")
"""Names and values that pages show as they were given: in a title or an attribute nothing marks them as names."""
JUDGING = (
    "/quality",
    "/models",
    "/models/{model}",
    "/models/{model}?threshold=25",
    "/models/{model}/threshold?threshold=25",
    "/models/{model}/threshold?threshold=40",
    "/models/{model}/threshold?threshold=0",
    "/models/{model}/default",
    "/models/{other}/default",
    "/models/{model}/shadow",
    "/models/{other}/shadow",
    "/models/{other}/comparison",
    "/webhooks",
    "/webhooks/{webhook}",
    "/api/v1/docs",
)
OTHERS = ("/help", "/nowhere")


@dataclass
class Visited:
    """A site with a little of everything, and an administrator's browser in the made language."""

    site: Site
    client: FlaskClient
    names: dict[str, str]

    @property
    def given(self) -> tuple[str, ...]:
        """What pages show as it was given: GIVEN, and the files that the banner says are missing."""
        return (*GIVEN, str(self.site.settings.models_dir), SPEC_FILE, WEIGHTS_FILE)


@pytest.fixture(scope="module")
def translations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translations")
    write_catalog(folder, "es")
    link_others(folder, "es")
    return folder


@pytest.fixture
def visited(settings: Settings, sqlite_database: Database, translations: Path) -> Visited:
    site = Site(settings, sqlite_database, translations=translations)
    spec = make_spec()
    site.install_model(spec)
    install(site, spec, "other")
    admin = site.add_user("admin", Role.ADMIN)
    client = site.browser(admin)
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "es"
    program = site.token_client(admin)
    job = post_images(program, ("a", encode(draw(1))), ("b", encode(draw(2))), ("c", b"text")).get_json()["id"]
    site.work(spec, {}, images=1)
    done = next(s for s in site.screenings() if s.state == "DONE")
    waiting = next(s for s in site.screenings() if s.state == "QUEUED")
    refused = next(s for s in site.screenings() if s.state == "REJECTED")
    press(client, "/webhooks", url="https://8.8.8.8/hook", events="job.finished")
    with site.database.read() as session:
        webhook = session.scalars(select(Webhook.id)).one()
    ids = {"done": done.id, "waiting": waiting.id, "refused": refused.id, "user": admin.id, "webhook": webhook}
    return Visited(
        site,
        client,
        {"job": job, "model": spec.name, "other": "other", **{name: str(key) for name, key in ids.items()}},
    )


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
    assert page.status_code < 500
    titles = {f"{name} - PneumoScreen" for name in visited.names.values()}  # a page about one thing bears its name
    assert [text for text in find_untranslated(page.text, visited.given) if text not in titles] == []


def test_what_readers_said_can_be_translated(visited: Visited) -> None:
    site, done = visited.site, uuid.UUID(visited.names["done"])
    other = site.add_user("r", Role.READER)
    with site.database.write() as session:
        screening = session.get_one(Screening, done)
        assert screening.image is not None
        add_review(session, other, screening, NewReview(ReviewOutcome.SECOND_READER, note="note"), is_blind=True)
        claim(session, other, screening.image.sha256)
    address = f"/screenings/{done}"
    check(visited, address, "/worklist")
    said = {"csrf_token": token_of(visited.client.get(address)), "says": "agree"}
    outdated = visited.client.post(f"{address}/reviews", data=said)
    assert (outdated.status_code, find_untranslated(outdated.text, visited.given)) == (409, [])
    with site.database.write() as session:
        admin = session.get_one(User, uuid.UUID(visited.names["user"]))
        add_review(session, admin, session.get_one(Screening, done), NewReview(ReviewOutcome.AGREE), is_blind=True)
    check(visited, address, f"/screenings/{visited.names['waiting']}?reviewed={done}")


@pytest.mark.parametrize("code", ["rotated", "inverted", "not_chest"])
def test_a_score_that_is_asked_for_can_be_translated(visited: Visited, code: str) -> None:
    key = uuid.UUID(visited.names["waiting"])
    address, stopped = f"/screenings/{key}", {"state": State.REJECTED, "error_code": code, "finished_at": now()}
    with visited.site.database.write() as session:
        session.execute(update(Screening).where(Screening.id == key).values(stopped))
    check(visited, address)
    token = token_of(visited.client.get(address))
    assert visited.client.post(f"{address}/score", data={"csrf_token": token}).status_code == 303
    check(visited, address)
    for answer in (
        {"label": Label.NORMAL, "p_pneumonia": 0.1, "threshold": 0.5, "model": "model@1"},
        {"label": Label.PNEUMONIA, "p_pneumonia": 0.9},
        {"label": None, "error_code": "unreadable_image"},
    ):
        with visited.site.database.write() as session:
            session.execute(update(AskedScore).values(finished_at=now(), **answer))
        check(visited, address)


def test_what_an_administrator_changes_of_models_can_be_translated(visited: Visited, spec: ModelSpec) -> None:
    site, client = visited.site, visited.client
    with site.database.write() as session:
        history = History(session, spec)
        job = history.job(now())
        screenings = [history.screen(job, now(), p) for p in (0.9, 0.2, 0.1)]
        history.review_truthfully(screenings, now(), [True, False, True])
        for screening, p in zip(screenings, (0.8, 0.7, 0.1), strict=True):
            score = ShadowScore(prediction_id=screening.prediction_id, model_name="other", finished_at=now())
            score.p_pneumonia, score.label = p, Label.PNEUMONIA if p >= 0.4 else Label.NORMAL
            session.add(score)
    for where, fields in (
        ("/models/test-model/threshold", {"threshold": "25", "shown": "40"}),
        ("/models/test-model/threshold", {"threshold": "30", "shown": "40"}),
        ("/models/other/shadow", {}),
        ("/models/other/shadow", {}),
        ("/models/other/default", {}),
        ("/models/other/default", {}),
    ):
        answer = press(client, where, "/models", **fields)
        text = answer.text if answer.status_code == 409 else client.get(answer.location).text
        assert find_untranslated(text, visited.given) == [], (where, fields)
    check(
        visited,
        "/models/test-model",
        "/models/other",
        "/models/test-model/threshold?threshold=95",
        "/models/other/comparison",
    )
    check(visited, "/models/test-model/comparison")


@pytest.mark.parametrize(
    ("url", "events"),
    [
        ("https://8.8.8.8/hook", ""),
        ("not an address", "job.finished"),
        ("8.8.8.8", "job.finished"),
        ("https://a@8.8.8.8/", "job.finished"),
        ("https://10.0.0.1/", "job.finished"),
        ("http://8.8.8.8/", "job.finished"),
    ],
)
def test_why_a_webhook_is_refused_can_be_translated(visited: Visited, url: str, events: str) -> None:
    answer = press(visited.client, "/webhooks", url=url, events=events)
    known = (
        *visited.given,
        "PNEUMOSCREEN_WEBHOOK_NETWORKS",
        "https://pacs.example.org/hooks/pneumoscreen",
        "ASCII",
        url,
    )
    assert (answer.status_code, find_untranslated(answer.text, known)) == (422, [])


def test_why_a_model_cannot_be_used_can_be_translated(visited: Visited) -> None:
    folder = visited.site.settings.models_dir
    known = (*visited.given, read_spec(folder / "other").sha256, sha256(b"others").hexdigest())
    addresses = ("/models/other", "/models/other/default", "/models/other/shadow", "/models/other/threshold", "/models")
    (folder / "other" / WEIGHTS_FILE).write_bytes(b"others")
    for address in addresses:
        assert find_untranslated(visited.client.get(address).text, known) == [], address
    (folder / "other" / SPEC_FILE).unlink()
    for address in addresses:
        assert find_untranslated(visited.client.get(address).text, known) == [], address


def test_what_is_refused_of_an_upload_can_be_translated(visited: Visited) -> None:
    client, token = visited.client, token_of(visited.client.get("/help"))
    script = {"X-CSRFToken": token, "Accept": "application/json"}
    images, two = [("a", encode(draw(3))), ("b", encode(draw(4)))], {**script, "Idempotency-Key": "k"}
    opened = client.post("/api/v1/jobs", json={}, headers=script).get_json()
    client.post(f"{opened['status_url']}/close", headers=script)
    assert post_images(client, images[0], headers=two).status_code == 202
    answers = {
        "job_closed": post_images(client, images[0], to=opened["images_url"], headers=script),
        "key_reused": post_images(client, images[1], headers=two),
        "invalid_argument": post_images(client, images[0], headers=script, model="nowhere"),
        "job_unfinished": client.delete(f"/api/v1/jobs/{visited.names['job']}", headers=script),
    }
    known = (*visited.given, "Idempotency-Key", "model", "nowhere")
    for code, answer in answers.items():
        said = answer.get_json()
        assert (said["code"], find_untranslated(said["detail"], known)) == (code, [])


def test_why_the_image_store_is_away_can_be_translated(visited: Visited) -> None:
    shutil.rmtree(visited.site.settings.store)
    image = ("a", encode(draw(9)))
    page = post_images(visited.client, image, to="/jobs", csrf_token=token_of(visited.client.get("/help")))
    known = (*visited.given, str(visited.site.settings.store), KEYS_FILE, "pneumoscreen store create")
    assert (page.status_code, find_untranslated(page.text, known)) == (503, [])
    program = post_images(visited.site.token_client(visited.site.add_user("otto")), image)
    assert "The image store in" in program.get_json()["detail"], "programs read English"


def test_what_was_deleted_can_be_translated(visited: Visited) -> None:
    job, done, client = visited.names["job"], visited.names["done"], visited.client
    assert client.get(f"/screenings/{done}").status_code == 200
    press(client, f"/jobs/{job}/cancel", f"/jobs/{job}")
    assert press(client, f"/jobs/{job}/delete").status_code == 303
    client.get("/help")  # where the deletion is said
    for address in (f"/screenings/{done}", f"/jobs/{job}"):
        page = client.get(address)
        known = (*visited.given, job, done, "ene feb mar abr may jun jul ago sept oct nov dic")
        assert (page.status_code, find_untranslated(page.text, known)) == (404, []), address
        assert "ŵåš đéļéţéđ" in page.text


def test_what_cannot_be_reviewed_can_be_translated(visited: Visited) -> None:
    for name in ("waiting", "refused"):
        address = f"/screenings/{visited.names[name]}"
        said = {"csrf_token": token_of(visited.client.get("/help")), "says": "agree"}
        answer = visited.client.post(f"{address}/reviews", data=said)
        assert (answer.status_code, find_untranslated(answer.text, visited.given)) == (409, [])


@pytest.mark.parametrize(
    ("limits", "status"),
    [({"max_backlog": 1, "interactive_reserve": 0}, 429), ({"min_free_bytes": 2**60}, 507)],
)
def test_why_no_image_is_taken_can_be_translated(
    settings: Settings, sqlite_database: Database, translations: Path, limits: dict[str, int], status: int
) -> None:
    site = Site(settings, sqlite_database, translations=translations, **limits)
    install(site, make_spec(), make_spec().name)
    client = site.browser(site.add_user("tina"))
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "es"
    numbers = []
    for _ in range(2):
        answer = post_images(client, ("a", encode(draw(1))), to="/jobs", csrf_token=token_of(client.get("/help")))
        numbers.append(answer.status_code)
    assert (numbers[-1], find_untranslated(answer.text, GIVEN)) == (status, [])
    program = post_images(site.token_client(site.add_user("otto")), ("a", encode(draw(1))))
    assert "Nothing of" in program.get_json()["detail"], "programs read English"


def check(visited: Visited, *addresses: str) -> None:
    for address in addresses:
        assert find_untranslated(visited.client.get(address).text, visited.given) == []
