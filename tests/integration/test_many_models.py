"""Jobs that name their model: one web, several models, and pools of workers that each serve one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from redis import Redis
from sqlalchemy import select

from cli.serving.processes import worker_command
from shared.db import Database
from shared.models.spec import ModelSpec
from shared.queue import leases
from shared.queue.heartbeats import Heartbeats
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Model, Prediction, Screening
from tests.conftest import DEFAULT_MODEL, ROOT, draw, encode
from tests.integration.conftest import Stack, make_images, start, stop, wait_until, wait_until_ready
from tests.web_site import Site, post_images

IMAGE = encode(draw(1))


def images(*seeds: int) -> list[tuple[str, bytes]]:
    return [(f"{seed}.jpeg", encode(draw(seed))) for seed in seeds]


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, redis_url: str, spec: ModelSpec) -> Site:
    """A web whose own model is `first`; `second` stands beside it, `third` lacks its weights."""
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    site = Site(settings, sqlite_database, redis_url=SecretStr(redis_url), model="first")
    for number, name in enumerate(("first", "second", "third")):
        folder = site.settings.models_dir / name
        folder.mkdir(parents=True)
        for_whom = {"intended_population": "Adults."} if name == "second" else {}
        own = spec.model_copy(update={"name": name, "sha256": str(number) * 64, **for_whom})
        (folder / "spec.json").write_text(own.model_dump_json())
        if name != "third":
            (folder / "model.keras").write_bytes(b"weights")
    return site


@pytest.fixture
def tina(site: Site) -> FlaskClient:
    return site.token_client(site.add_user("tina"))


@pytest.fixture
def heartbeats(site: Site) -> Iterator[Heartbeats]:
    heartbeats = Heartbeats(site.settings)
    yield heartbeats
    heartbeats.close()


def spec_of(site: Site, name: str) -> ModelSpec:
    return ModelSpec.model_validate_json((site.settings.models_dir / name / "spec.json").read_bytes())


def restarted(site: Site, model: str) -> Site:
    """The same installation, its web started again with another model."""
    again = Site(site.settings, site.database, model=model)
    again.settings.models_dir.mkdir(parents=True, exist_ok=True)
    return again


def work(site: Site, name: str) -> int:
    """Screen what waits for a model as a worker of it does; return how many images it got."""
    own = spec_of(site, name)
    with site.database.write() as session:
        model_id = leases.register_model(session, own)
        claim = leases.claim(session, model_id=model_id, model_name=name, limit=50, worker=name, lease_seconds=60)
    if claim is None:
        return 0
    predictions = own.judge(own.calibrate(np.tile([0.0, 1.0, 2.0], (len(claim.screenings), 1))))
    done = [leases.Outcome(image, prediction) for image, prediction in zip(claim.screenings, predictions, strict=True)]
    with site.database.write() as session:
        leases.finish(session, claim, done, model_id=model_id, threshold=own.threshold, worker=name)
    return len(claim.screenings)


def answered_by(database: Database) -> dict[str, str | None]:
    """The model whose answer each screening shows, by file name; its copy and its prediction must agree."""
    with database.read() as session:
        rows = session.execute(
            select(Screening.file_name, Screening.model_id, Prediction.model_id, Model.name)
            .outerjoin(Prediction, Screening.prediction_id == Prediction.id)
            .outerjoin(Model, Prediction.model_id == Model.id)
        ).all()
    assert all(copied == own for _, copied, own, _ in rows)
    return {file: name for file, _, _, name in rows}


def test_a_job_chooses_its_model_by_json_form_and_page(site: Site, tina: FlaskClient) -> None:
    opened = tina.post("/api/v1/jobs", json={"name": "j", "model": "second"})
    assert opened.status_code == 201
    assert post_images(tina, *images(1), model="second").status_code == 202
    assert post_images(tina, *images(2)).status_code == 202
    assert post_images(tina, *images(3), model="").status_code == 202
    home = site.browser(site.add_user("tom"))
    page = home.get("/").text
    assert '<option value="first" selected>' in page
    assert '<option value="second">' in page
    assert "third" not in page, "its weights are not here"
    assert page.count("For, with") == 1, "whom the second is for"
    with site.database.read() as session:
        assert [job.model_name for job in session.scalars(select(Job).order_by(Job.id))] == [
            "second", "second", "first", "first",
        ]  # fmt: skip
    assert site.sent_tickets.models == ["second", "first", "first"]
    assert tina.get(opened.json["status_url"]).json["model"] == "second"


@pytest.mark.parametrize("model", ["third", "nobody's", "../first", "first/../second", "x" * 5000, 17, ["first"], True])
def test_an_unknown_model_is_refused_with_what_there_is(site: Site, tina: FlaskClient, model: object) -> None:
    answer = tina.post("/api/v1/jobs", json={"name": "j", "model": model})
    assert answer.status_code == 422
    (error,) = answer.json["errors"]
    assert error["field"] == "model"
    if isinstance(model, str):
        assert "Choose one of first, second" in error["message"]
        assert post_images(tina, *images(1), model=model).status_code == 422
    assert site.count(Job) == 0


def test_a_model_that_only_a_worker_has_may_be_chosen(site: Site, tina: FlaskClient, heartbeats: Heartbeats) -> None:
    assert tina.post("/api/v1/jobs", json={"model": "elsewhere"}).status_code == 422
    heartbeats.announce("w1", "elsewhere@0123", 5)
    heartbeats.announce("w2", "<script>@0123", 5)
    assert tina.post("/api/v1/jobs", json={"model": "elsewhere"}).status_code == 201
    page = site.browser(site.add_user("tom")).get("/").text
    assert '<option value="elsewhere">' in page
    assert "script&gt;@" not in page


def test_another_model_in_the_middle_of_an_upload_changes_nothing_for_its_job(site: Site, tina: FlaskClient) -> None:
    before = tina.post("/api/v1/jobs", json={"name": "j", "model": "first"}).json
    post_images(tina, *images(1, 2), to=before["images_url"])
    second = restarted(site, "second")
    client = second.token_client(second.add_user("tom"))
    post_images(client, *images(1, 2, 3, 4))  # by the new model, whose answers the first job must not take
    assert work(site, "second") == 4
    tina_again = second.app.test_client()
    tina_again.environ_base.update(tina.environ_base)
    rest = post_images(tina_again, *images(3, 4), to=before["images_url"])
    assert (rest.status_code, rest.json["queued"]) == (202, 2), "answers of another model are none of this job's"
    assert second.sent_tickets.models[-1] == "first"
    tina_again.post(f"/api/v1/jobs/{before['id']}/close")
    assert work(site, "second") == 0
    assert work(site, "first") == 4
    rows = tina_again.get(before["screenings_url"]).json["screenings"]
    assert {row["model"].split("@")[0] for row in rows} == {"first"}
    assert {row["state"] for row in rows} == {"DONE"}


def test_images_sent_again_take_the_answers_of_their_jobs_model(site: Site, tina: FlaskClient) -> None:
    for model in ("first", "second"):
        assert post_images(tina, *images(1), model=model).json["queued"] == 1
        assert work(site, model) == 1
    assert [post_images(tina, (f"again-{m}", IMAGE), model=m).json["queued"] for m in ("second", "first")] == [0, 0]
    shown = answered_by(site.database)
    assert (shown["again-first"], shown["again-second"]) == ("first", "second")


def test_a_retry_sends_tickets_for_the_model_of_its_job(site: Site, tina: FlaskClient) -> None:
    job = post_images(tina, *images(1), model="second").json
    tina.post(f"/api/v1/jobs/{job['id']}/cancel")
    tina.post(f"/api/v1/jobs/{job['id']}/retry")
    assert site.sent_tickets.models == ["second", "second"]


def test_what_waits_for_a_model_without_a_worker_is_said(site: Site, tina: FlaskClient, heartbeats: Heartbeats) -> None:
    post_images(tina, *images(1, 2), model="second")
    post_images(tina, *images(3))
    assert tina.get("/readyz").json["unserved_models"] == ["first", "second"]
    heartbeats.announce("w1", "first@0123", 5)
    ready = tina.get("/readyz").json
    assert (ready["unserved_models"], ready["checks"]["screening"]) == (["second"], "model not served")
    metrics = tina.get("/metrics").text
    assert 'pneumoscreen_model_backlog_images{model="second"} 2.0' in metrics
    assert 'pneumoscreen_model_workers{model="first"} 1.0' in metrics
    assert '<option value="second">second, no worker runs it now' in site.browser(site.add_user("tom")).get("/").text
    heartbeats.announce("w2", "second@0123", 5)
    assert tina.get("/readyz").json["unserved_models"] == []


def test_a_folder_under_another_name_than_its_model_answers_nothing(site: Site, tina: FlaskClient) -> None:
    """Its answers would stand under a name that no job asked for."""
    shutil.copytree(site.settings.models_dir / "second", site.settings.models_dir / "copy")
    assert tina.post("/api/v1/jobs", json={"model": "copy"}).status_code == 422
    renamed = restarted(site, "copy")
    problem = renamed.browser(renamed.add_user("tom")).get("/").text
    assert "holds the model &#39;second&#39;" in problem


# ---------------------------------------------------------------- two pools of real workers


@contextmanager
def pool(stack: Stack, model: str) -> Iterator[psutil.Process]:
    """A pool of workers of another model beside those of a stack."""
    environment = {**stack.child("worker.app").environ(), "PNEUMOSCREEN_MODEL": model}
    with (stack.data_dir / f"pool-{model}.log").open("wb") as log:
        process = subprocess.Popen(worker_command(1, model), cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = start(tmp_path_factory.mktemp("models"), workers=1)
    try:
        wait_until_ready(running)
        yield running
    finally:
        stop(running)


def unserved(stack: Stack) -> list[str]:
    found: list[str] = httpx.get(f"{stack.url}/readyz", timeout=30).json()["unserved_models"]
    return found


def open_job(stack: Stack, model: str, sent: dict[str, bytes]) -> str:
    with stack.client as client:
        answer = client.post("/api/v1/jobs", files=[("files", item) for item in sent.items()], data={"model": model})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def models_of(stack: Stack, job_id: str) -> set[str]:
    with stack.client as client:
        rows = client.get(f"/api/v1/jobs/{job_id}/screenings").json()["screenings"]
    return {row["model"].split("@")[0] for row in rows}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_pools_answer_the_jobs_of_their_models_side_by_side(stack: Stack, tmp_path: Path) -> None:
    sent = make_images(30, seed=31)
    other = open_job(stack, "mobilenet-v2", sent)
    own = open_job(stack, DEFAULT_MODEL, sent)
    assert stack.wait(own)["counts"]["DONE"] == 30
    assert stack.job(other)["counts"]["QUEUED"] == 30
    wait_until(lambda: unserved(stack) == ["mobilenet-v2"], 30, "the model without workers to be named")
    with pool(stack, "mobilenet-v2"):
        assert stack.wait(other, 200)["counts"]["DONE"] == 30
        both = [open_job(stack, model, make_images(20, seed=32)) for model in ("mobilenet-v2", DEFAULT_MODEL)]
        assert [stack.wait(job_id)["counts"]["DONE"] for job_id in both] == [20, 20]
        assert [models_of(stack, job_id) for job_id in (other, own, *both)] == [
            {"mobilenet-v2"}, {DEFAULT_MODEL}, {"mobilenet-v2"}, {DEFAULT_MODEL},
        ]  # fmt: skip
        (tmp_path / "x.jpeg").write_bytes(encode(draw(77)))
        command = [sys.executable, "-m", "cli.main", "screen", str(tmp_path / "x.jpeg"), "--model", "mobilenet-v2"]
        environment = {**os.environ, "PNEUMOSCREEN_TOKEN": (stack.data_dir / "token").read_text()}
        out = tmp_path / "rows.csv"
        subprocess.run([*command, "--url", stack.url, "-o", str(out)], cwd=ROOT, env=environment, check=True)
        assert "mobilenet-v2@" in out.read_text()
        unknown = [*command[:-1], "nobody", "--url", stack.url]
        refused = subprocess.run(unknown, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "There is no model 'nobody' here. Choose" in refused.stderr
    with stack.database.read() as session:
        states = set(session.scalars(select(Screening.state)))
    assert states == {State.DONE}


# ---------------------------------------------------------------- a model folder that changes under its workers


def versions_of(stack: Stack, job_id: str) -> set[str]:
    with stack.client as client:
        return {row["model"] for row in client.get(f"/api/v1/jobs/{job_id}/screenings").json()["screenings"]}


def kill_worker(stack: Stack) -> None:
    (victim,) = stack.workers()
    victim.kill()
    wait_until(lambda: victim.pid not in [child.pid for child in stack.workers()], 30, "the worker to be gone")


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_model_damaged_or_swapped_while_workers_run_never_answers_under_a_wrong_name(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in (DEFAULT_MODEL, "mobilenet-v2"):
        shutil.copytree(ROOT / "models" / name, models / name)
    folder = models / DEFAULT_MODEL
    running = start(tmp_path / "data", workers=1, environment={"PNEUMOSCREEN_MODELS_DIR": str(models)})
    try:
        wait_until_ready(running)
        first = running.submit(make_images(2, seed=41))
        running.wait(first)
        (loaded,) = versions_of(running, first)
        whole = (folder / "model.keras").read_bytes()
        (folder / "model.keras").write_bytes(whole[:-1] + b"!")
        later = running.submit(make_images(2, seed=42))
        assert running.wait(later)["counts"]["DONE"] == 2, "the network in memory was verified when it was loaded"
        assert versions_of(running, later) == {loaded}
        kill_worker(running)
        waiting = running.submit(make_images(2, seed=43))
        wait_until(lambda: "could not start" in (running.data_dir / "logs" / "worker.log").read_text(), 60, "a refusal")
        assert running.job(waiting)["counts"]["QUEUED"] == 2
        swapped = ModelSpec.model_validate_json((models / "mobilenet-v2" / "spec.json").read_bytes())
        shutil.copy(models / "mobilenet-v2" / "model.keras", folder / "model.keras")
        named = swapped.model_copy(update={"name": DEFAULT_MODEL})
        (folder / "spec.json").write_text(named.model_dump_json())
        assert running.wait(waiting, 120)["counts"]["DONE"] == 2
        assert versions_of(running, waiting) == {named.version} != {loaded}
        again = running.submit(make_images(2, seed=41))
        running.wait(again)
        assert versions_of(running, again) == {named.version}, "the former model's answers are not the new one's"
    finally:
        stop(running)
