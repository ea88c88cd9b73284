"""What an administrator puts in force on the pages and over the API: a threshold, and the model of new jobs."""

import hashlib
import html
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select, text

from cli.main import main
from shared.activations.activate import Actor, put_threshold
from shared.activations.in_force import spec_in_force, threshold_history
from shared.db import Database, now
from shared.errors import ActivationRefused
from shared.models.folder import WEIGHTS_FILE
from shared.models.spec import Label, ModelSpec
from shared.settings import Settings
from shared.store.store import FolderStore
from shared.tables import Activation, AuditEvent, Job, ReviewOutcome, Role
from tests.classifiers import Constant
from tests.conftest import draw, encode, wait_until
from tests.site_history import History
from tests.web_site import Site, post_images, press, token_of
from worker.screening.screen import Screener

ACTOR = Actor("ada")
API = "/api/v1/models"


WEIGHTS = b"weights"


def install(site: Site, spec: ModelSpec, name: str, *, has_weights: bool = True) -> ModelSpec:
    """Put a model folder whose weights are those that its spec names."""
    folder = site.settings.models_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    own = spec.model_copy(update={"name": name, "sha256": hashlib.sha256(WEIGHTS).hexdigest()})
    (folder / "spec.json").write_text(own.model_dump_json())
    if has_weights:
        (folder / WEIGHTS_FILE).write_bytes(WEIGHTS)
    return own


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    """A site with a month of results, `test-model` with its weights and `other`, and `bare` without weights."""
    site = Site(settings, sqlite_database)
    own = install(site, spec, spec.name)
    install(site, spec, "other")
    install(site, spec, "bare", has_weights=False)
    with sqlite_database.write() as session:
        history = History(session, own)
        at = now() - timedelta(days=2)
        job = history.job(at)
        for n in range(30):
            screening = history.screen(job, at, 0.15 + n / 100)
            if n < 20:
                history.review(screening, at, ReviewOutcome.AGREE)
    return site


@pytest.fixture
def own(site: Site, spec: ModelSpec) -> ModelSpec:
    return spec.model_copy(update={"sha256": hashlib.sha256(WEIGHTS).hexdigest()})


@pytest.fixture
def admin(site: Site) -> FlaskClient:
    return site.browser(site.add_user("ada", Role.ADMIN))


@pytest.fixture
def program(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("script", Role.ADMIN))


def in_force(site: Site, spec: ModelSpec) -> float:
    with site.database.read() as session:
        return spec_in_force(session, spec).threshold


def choose(database: Database, spec: ModelSpec, *thresholds: float) -> None:
    for threshold in thresholds:
        with database.write() as session:
            put_threshold(session, ACTOR, spec, threshold)


def events(site: Site, action: str) -> list[AuditEvent]:
    with site.database.read() as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action == action)))


def plain(page: str) -> str:
    inline = re.sub("</?(?:bdi|b|i|code)>", "", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]+>", " ", inline)))


# ---------------------------------------------------------------- what is in force


@pytest.mark.parametrize(
    ("chosen", "before"),
    [
        ((), None),
        ((0.2,), 0.4),
        ((0.2, 0.3), 0.2),
        ((0.2, 0.3, 0.2), 0.4),
        ((0.2, 0.3, 0.2, 0.4), None),
        ((0.2, 0.4, 0.3), 0.4),
    ],
)
def test_a_step_back_leads_to_the_threshold_before_and_the_last_to_the_models_own(
    database: Database, spec: ModelSpec, chosen: tuple[float, ...], before: float | None
) -> None:
    choose(database, spec, *chosen)
    with database.read() as session:
        history = threshold_history(session, spec)
        assert (history.before, history.in_force) == (before, chosen[-1] if chosen else spec.threshold)
        assert spec_in_force(session, spec).threshold == history.in_force


def test_the_models_own_threshold_is_the_folders_own_again(database: Database, spec: ModelSpec) -> None:
    choose(database, spec, 0.2, 0.4)
    with database.read() as session:
        assert spec_in_force(session, spec) == spec, "so that images take the answers of before"


def test_two_who_choose_at_the_same_time_leave_both_rows(database: Database, spec: ModelSpec) -> None:
    together = threading.Barrier(2)

    def put(threshold: float) -> None:
        together.wait(30)
        database.transact(lambda session: put_threshold(session, ACTOR, spec, threshold))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(put, (0.2, 0.3)))
    with database.read() as session:
        rows = session.scalars(select(Activation).order_by(Activation.number)).all()
        assert [row.number for row in rows] == [1, 2]
        assert spec_in_force(session, spec).threshold == rows[-1].threshold


def test_the_command_line_waits_for_who_chooses_at_the_same_time(
    tmp_path: Path, migrated_postgres_url: str, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / spec.name
    place.mkdir()
    (place / "spec.json").write_text(spec.model_dump_json())
    monkeypatch.setenv("PNEUMOSCREEN_DATABASE_URL", migrated_postgres_url)
    database = Database(migrated_postgres_url)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def blocked() -> int:
        with database.read() as session:
            return session.execute(waiting).scalar_one()

    command = ["threshold", spec.name, "0.3", "--models-dir", str(tmp_path), "--data-dir", str(tmp_path)]
    with ThreadPoolExecutor(1) as thread:
        with database.write() as session:
            put_threshold(session, ACTOR, spec, 0.2)
            call = thread.submit(lambda: CliRunner().invoke(main, command))
            wait_until(blocked, 30, "the command waits for the number that is taken")
        answer = call.result(30)
    assert "The threshold of 'test-model' is 0.3, it was 0.2." in answer.output
    with database.read() as session:
        assert [row.threshold for row in session.scalars(select(Activation).order_by(Activation.number))] == [0.2, 0.3]
    database.close()


def test_who_saw_another_threshold_in_force_changes_nothing(database: Database, spec: ModelSpec) -> None:
    choose(database, spec, 0.2)
    with database.write() as session, pytest.raises(ActivationRefused, match=r"it is now 0\.2, not 0\.4"):
        put_threshold(session, ACTOR, spec, 0.3, shown=0.4)
    with database.read() as session:
        assert [row.number for row in session.scalars(select(Activation))] == [1]


# ---------------------------------------------------------------- workers


def test_a_worker_takes_a_threshold_up_with_the_next_images_and_leaves_results_as_they_are(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    sender = site.token_client(site.add_user("tina"))
    assert isinstance(site.store, FolderStore)
    model = Constant(spec)
    screener = Screener(site.settings, sqlite_database, site.store, model, "w1")
    first, second = (("a.png", encode(draw(n), "PNG")) for n in (1, 2))
    post_images(sender, first)
    screener.drain(30)
    (screened,) = site.screenings()
    p = screened.p_pneumonia
    assert (screened.label, p is not None and p > spec.threshold) == (Label.PNEUMONIA, True)
    assert screener.version == spec.version
    choose(sqlite_database, spec, 0.99)
    assert post_images(sender, first).json["queued"] == 1, "what is sent again is answered anew"  # type: ignore[index]
    post_images(sender, second)
    screener.drain(30)
    assert [row.label for row in site.screenings()] == [Label.PNEUMONIA, Label.NORMAL, Label.NORMAL]
    assert {row.p_pneumonia for row in site.screenings()} == {p}
    assert screener.version != spec.version
    choose(sqlite_database, spec, spec.threshold)
    seen = len(model.batches)
    again = post_images(sender, first).json
    assert again is not None
    assert (again["queued"], len(model.batches)) == (0, seen), "the answer at the former threshold is still known"
    assert site.screenings()[-1].label is Label.PNEUMONIA


def test_images_that_a_worker_holds_end_at_the_threshold_that_they_were_taken_at(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    post_images(site.token_client(site.add_user("tina")), ("a.png", encode(draw(1), "PNG")))
    assert isinstance(site.store, FolderStore)

    class Slow(Constant):
        def answer(self, batch):  # type: ignore[no-untyped-def]
            choose(sqlite_database, spec, 0.99)
            return super().answer(batch)

    Screener(site.settings, sqlite_database, site.store, Slow(spec), "w1").drain(0.1)
    (screening,) = site.screenings()
    with site.database.read() as session:
        prediction = session.merge(screening, load=False).prediction
        assert prediction is not None
        assert (prediction.threshold, prediction.label) == (spec.threshold, Label.PNEUMONIA)
        assert prediction.model.sha256 == spec.identity


# ---------------------------------------------------------------- the page of a threshold


def test_an_admin_sees_the_past_at_a_threshold_before_it_is_put_in_force_and_puts_it_back(
    site: Site, admin: FlaskClient, own: ModelSpec
) -> None:
    shown = admin.get("/models/test-model?threshold=25").text
    assert '/models/test-model/threshold?threshold=25"' in shown
    page = admin.get("/models/test-model/threshold?threshold=25")
    said = plain(page.text)
    assert "Of the last 30 days' 30 X-rays, 20 instead of 5 would have been flagged." in said
    assert "Set the threshold to 25?" in said
    assert "50.0% (29.9% to 70.1%), 10 of 20" in said, "specificity on reviewed X-rays, at the new one"
    assert in_force(site, own) == 0.4, "looking changes nothing"
    fields = dict(re.findall(r'type="hidden" name="(threshold|shown)" value="([^"]+)"', page.text))
    assert fields == {"threshold": "25", "shown": "40"}
    answer = press(admin, "/models/test-model/threshold", "/models/test-model/threshold?threshold=25", **fields)
    assert (answer.status_code, answer.location) == (303, "/models/test-model")
    assert in_force(site, own) == 0.25
    after = admin.get("/models/test-model").text
    assert "The threshold of test-model is now 25." in after
    assert "Chosen by hand" in after
    said = plain(after)
    assert "Of 30 X-rays" in said or "those of 30 X-rays" in said, "results of before the change count"
    assert "20 X-rays of which readers name one label" in said
    assert "Chosen here 25, by ada" in said
    assert "Set the threshold back to 40" in said
    page = admin.get("/models/test-model/threshold?threshold=40")
    assert "Of the last 30 days' 30 X-rays, 5 instead of 20" in plain(page.text)
    fields = dict(re.findall(r'type="hidden" name="(threshold|shown)" value="([^"]+)"', page.text))
    press(admin, "/models/test-model/threshold", "/models/test-model", **fields)
    assert in_force(site, own) == 0.4
    assert "Set the threshold back" not in admin.get("/models/test-model").text
    (to, back) = events(site, "threshold_changed")
    assert (to.actor, to.detail and to.detail["threshold"], to.detail and to.detail["before"]) == ("ada", "0.25", "0.4")
    assert back.detail is not None
    assert back.detail["threshold"] == "0.4"


def test_who_did_not_see_the_threshold_in_force_is_shown_it_first(
    site: Site, admin: FlaskClient, own: ModelSpec
) -> None:
    choose(site.database, own, 0.3)
    answer = press(admin, "/models/test-model/threshold", "/models/test-model", threshold="25", shown="40")
    assert answer.status_code == 409
    assert "The threshold was changed in the meantime: it is now 0.3, not 0.4." in answer.text
    assert 'name="shown" value="30"' in answer.text, "the page has the new one, and the button is still there"
    assert in_force(site, own) == 0.3


@pytest.mark.parametrize("given", ["", "0", "100", "nan", "inf", "-5", "abc", "1e400", "0.00000001"])
def test_what_is_no_threshold_is_refused_in_words(site: Site, admin: FlaskClient, own: ModelSpec, given: str) -> None:
    answer = press(admin, "/models/test-model/threshold", "/models/test-model", threshold=given, shown="40")
    assert answer.status_code == 422
    assert in_force(site, own) == 0.4
    assert admin.get("/models/test-model/threshold", query_string={"threshold": given}).status_code in {200, 422}


def test_a_reader_sees_what_a_threshold_would_do_and_no_button(site: Site) -> None:
    text = site.browser(site.add_user("chief", Role.READER)).get("/models/test-model?threshold=25").text
    assert "25 <small>tried" in text
    assert "/threshold?" not in text
    assert "/default" not in text


# ---------------------------------------------------------------- the model of new jobs


def sent(client: FlaskClient, seed: int, **options: str) -> str:
    answer = post_images(client, (f"{seed}.png", encode(draw(seed), "PNG")), **options)
    assert answer.status_code == 202
    return str(answer.json["id"])  # type: ignore[index]


def models_of_jobs(site: Site) -> list[str]:
    with site.database.read() as session:
        return list(session.scalars(select(Job.model_name).where(Job.name != "A job").order_by(Job.id)))


def test_new_jobs_get_the_model_that_an_admin_chose_and_those_that_are_there_keep_theirs(
    site: Site, admin: FlaskClient, program: FlaskClient, own: ModelSpec
) -> None:
    before = sent(program, 1)
    said = plain(admin.get("/models/other/default").text)
    assert "are screened by other instead of test-model" in said
    answer = press(admin, "/models/other/default")
    assert (answer.status_code, answer.location) == (303, "/models")
    listed = plain(admin.get("/models").text)
    assert "New jobs now use other instead of test-model." in listed
    sent(program, 2)
    sent(program, 3, model="test-model")
    assert models_of_jobs(site) == ["test-model", "other", "test-model"]
    home = admin.get("/").text
    assert home.index('<option value="other"') < home.index('<option value="test-model"')
    assert re.search(r'class="mono"[^>]* href="/models/other"', home), "the footer"
    assert site.sent_tickets.models == ["test-model", "other", "test-model"]
    assert program.get(f"/api/v1/jobs/{before}").json["model"] == "test-model"  # type: ignore[index]
    late = press(admin, "/models/test-model/default", shown="test-model")
    assert late.status_code == 409, "somebody else has changed it since that page was opened"
    assert "it is now 'other', not 'test-model'. Look at it first." in plain(late.text)
    press(admin, "/models/test-model/default", shown="other")
    sent(program, 4)
    assert models_of_jobs(site)[-1] == "test-model"
    details = [event.detail for event in events(site, "model_activated")]
    assert details == [{"model": "other", "before": "test-model"}, {"model": "test-model", "before": "other"}]


def test_a_request_repeated_after_another_model_was_chosen_is_the_same_request(
    site: Site, admin: FlaskClient, program: FlaskClient
) -> None:
    once = {"Idempotency-Key": "k1"}
    job = program.post("/api/v1/jobs", json={"name": "ward 3"}, headers=once)
    press(admin, "/models/other/default")
    again = program.post("/api/v1/jobs", json={"name": "ward 3"}, headers=once)
    assert (again.status_code, again.json["id"]) == (201, job.json["id"])  # type: ignore[index]
    assert models_of_jobs(site) == ["test-model"]


@pytest.mark.parametrize("name", ["bare", "test-model"])
def test_a_model_without_its_weights_or_that_is_the_default_is_refused(
    site: Site, admin: FlaskClient, name: str
) -> None:
    answer = press(admin, f"/models/{name}/default", "/models")
    assert answer.status_code == 409
    assert ("has no model.keras" if name == "bare" else "New jobs already use it.") in answer.text
    with site.database.read() as session:
        assert session.scalars(select(Activation)).all() == []


def test_damaged_weights_are_refused(site: Site, admin: FlaskClient) -> None:
    (site.settings.models_dir / "other" / WEIGHTS_FILE).write_bytes(b"something else")
    answer = press(admin, "/models/other/default", "/models")
    assert (answer.status_code, "is not the file that spec.json names" in answer.text) == (409, True)


def test_the_readiness_of_the_chosen_model_counts(site: Site, admin: FlaskClient, program: FlaskClient) -> None:
    assert program.get("/readyz").json["checks"]["model"] == "ok"  # type: ignore[index]
    press(admin, "/models/other/default")
    (site.settings.models_dir / "other" / WEIGHTS_FILE).unlink()
    assert program.get("/readyz").json["checks"]["model"] == "no model"  # type: ignore[index]
    assert "other" in admin.get("/").text


# ---------------------------------------------------------------- programs


def test_a_program_looks_at_a_threshold_puts_it_in_force_and_back(
    site: Site, program: FlaskClient, own: ModelSpec
) -> None:
    path = f"{API}/test-model/threshold"
    looked = program.get(path, query_string={"threshold": 0.25}).json
    assert looked == {
        "threshold": 0.25, "present": 0.4, "days": 30, "images": 30, "flagged": 20, "flagged_at_present": 5,
    }  # fmt: skip
    assert program.get(path).json["flagged"] == 5  # type: ignore[index]
    put = program.put(path, json={"threshold": 0.25, "present": 0.4}).json
    assert put is not None
    assert (put["threshold"], put["own_threshold"], put["threshold_before"]) == (0.25, 0.4, 0.4)
    stale = program.put(path, json={"threshold": 0.3, "present": 0.4})
    assert (stale.status_code, stale.json["code"]) == (409, "not_activated")  # type: ignore[index]
    assert program.put(path, json={"threshold": None}).json["threshold"] == 0.4  # type: ignore[index]
    assert program.put(path, json={"threshold": None}).status_code == 409
    assert in_force(site, own) == 0.4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "threshold"),
        ({"threshold": 1}, "threshold"),
        ({"threshold": "0.3"}, "threshold"),
        ({"threshold": True}, "threshold"),
        ({"threshold": 1e-9}, "threshold"),
        ({"threshold": 0.3, "present": 2}, "present"),
        ({"threshold": 0.3, "other": 2}, "other"),
    ],
)
def test_a_body_that_names_no_threshold_changes_nothing(
    site: Site, program: FlaskClient, own: ModelSpec, body: dict[str, object], field: str
) -> None:
    answer = program.put(f"{API}/test-model/threshold", json=body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)  # type: ignore[index]
    assert in_force(site, own) == 0.4


def test_a_program_has_new_jobs_get_another_model(site: Site, program: FlaskClient) -> None:
    assert [m["name"] for m in program.get(API).json["models"]] == ["test-model", "bare", "other"]  # type: ignore[index]
    put = program.put(f"{API}/default", json={"model": "other"})
    assert (put.status_code, put.json["is_default"]) == (200, True)  # type: ignore[index]
    sent(program, 1)
    assert models_of_jobs(site) == ["other"]
    refused = {
        name: program.put(f"{API}/default", json={"model": name}).status_code for name in ("bare", "other", "no")
    }
    assert refused == {"bare": 409, "other": 409, "no": 404}
    assert program.put(f"{API}/default", json={"model": 3}).status_code == 422


def test_a_session_needs_its_csrf_token_to_change_anything(site: Site, admin: FlaskClient, own: ModelSpec) -> None:
    body = {"threshold": 0.25}
    assert admin.put(f"{API}/test-model/threshold", json=body).status_code == 403
    token = token_of(admin.get("/models"))
    assert admin.put(f"{API}/test-model/threshold", json=body, headers={"X-CSRFToken": token}).status_code == 200
    assert in_force(site, own) == 0.25
