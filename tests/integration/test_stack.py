"""The whole stack as `pneumoscreen serve` starts it, hurt while it works: nothing is lost, nothing is doubled."""

import os
import shutil
import signal
import socket
from pathlib import Path

import httpx
import imagecodecs
import numpy as np
import psutil
import pytest

from tests.conftest import DEFAULT_MODEL, ROOT, draw, encode
from tests.integration.conftest import Stack, make_images, start, stop, wait_until, wait_until_ready

pytestmark = pytest.mark.timeout(240)


def wait_until_some_are_done(stack: Stack, job_id: str, some: int) -> None:
    wait_until(lambda: stack.job(job_id)["counts"]["DONE"] >= some, 30, f"{some} images to be done")


def test_images_of_all_kinds_end_with_an_outcome(stack: Stack) -> None:
    good = encode(draw(1))
    job = stack.wait(stack.submit({
        "good.jpeg": good,
        "again.jpeg": good,
        "sixteen-bit.png": encode(draw(2).convert("I;16"), "PNG"),
        "compressed.jls": imagecodecs.jpegls_encode(np.asarray(draw(4)).astype(np.uint16) * 16),
        "cut-short.jpeg": encode(draw(3, (900, 900)))[:6000],
        "empty.jpeg": b"",
        "text.jpg": b"not an image",
    }))  # fmt: skip
    assert job["counts"] == {"QUEUED": 0, "RUNNING": 0, "DONE": 4, "REJECTED": 3, "FAILED": 0, "CANCELLED": 0}
    with stack.client as client:
        rows = {row["file_name"]: row for row in client.get(job["screenings_url"]).json()["screenings"]}
    assert {name: row["error_code"] for name, row in rows.items() if row["state"] == "REJECTED"} == {
        "cut-short.jpeg": "truncated_image",
        "empty.jpeg": "empty_file",
        "text.jpg": "unknown_format",
    }
    assert rows["good.jpeg"]["p_pneumonia"] == rows["again.jpeg"]["p_pneumonia"]
    assert {row["label"] for row in rows.values() if row["state"] == "DONE"} <= {"NORMAL", "PNEUMONIA"}


def test_a_worker_killed_in_the_middle_costs_nothing(stack: Stack) -> None:
    job_id = stack.submit(make_images(200, seed=1))
    wait_until_some_are_done(stack, job_id, 10)
    victim = stack.workers()[0]
    os.kill(victim.pid, signal.SIGKILL)
    stack.wait(job_id)
    assert stack.outcomes(job_id) == ({"DONE": 200}, 200, 200)


@pytest.mark.long
def test_every_worker_killed_at_once_costs_nothing(stack: Stack) -> None:
    job_id = stack.submit(make_images(200, seed=2))
    wait_until_some_are_done(stack, job_id, 10)
    parent = stack.child("worker.app")
    for process in [parent, *stack.workers()]:
        os.kill(process.pid, signal.SIGKILL)
    stack.wait(job_id, 90)
    assert stack.outcomes(job_id) == ({"DONE": 200}, 200, 200)


def test_redis_killed_and_restarted_costs_nothing(stack: Stack) -> None:
    job_id = stack.submit(make_images(100, seed=4))
    os.kill(stack.child("redis-server").pid, signal.SIGKILL)
    later = stack.submit(make_images(5, seed=5))
    stack.wait(job_id, 90)
    stack.wait(later, 90)
    assert stack.outcomes(job_id) == ({"DONE": 100}, 100, 100)
    assert stack.outcomes(later) == ({"DONE": 5}, 5, 5)


def test_cancel_stops_a_job_and_retry_takes_it_up_again(stack: Stack) -> None:
    job_id = stack.submit(make_images(200, seed=6))
    with stack.client as client:
        changed = client.post(f"/api/v1/jobs/{job_id}/cancel").json()["changed"]
        job = stack.job(job_id)
        assert (job["state"], job["counts"]["CANCELLED"]) == ("FINISHED", changed)
        assert changed > 0
        assert client.post(f"/api/v1/jobs/{job_id}/retry").json()["changed"] == changed
    assert stack.wait(job_id)["counts"]["DONE"] == 200


def test_the_first_result_of_a_single_image_comes_while_a_bulk_job_runs(stack: Stack) -> None:
    bulk = stack.submit(make_images(1000, seed=7))
    single = stack.submit(make_images(1, seed=8))
    stack.wait(single)
    assert stack.job(bulk)["state"] == "SCREENING", "the single image went first"
    stack.wait(bulk)


@pytest.mark.long
def test_a_power_cut_in_the_middle_costs_nothing(tmp_path: Path) -> None:
    first = start(tmp_path / "data", workers=1)
    wait_until_ready(first)
    job_id = first.submit(make_images(600, seed=9))
    wait_until_some_are_done(first, job_id, 10)
    pull_the_plug(first)
    assert first.outcomes(job_id)[0]["DONE"] < 600, "the plug was pulled in the middle"
    second = start(tmp_path / "data", workers=1)
    try:
        wait_until_ready(second)
        second.wait(job_id)
        assert second.outcomes(job_id) == ({"DONE": 600}, 600, 600)
    finally:
        first.database.close()
        assert stop(second) == 0


def pull_the_plug(stack: Stack) -> None:
    """Kill every process of a stack at once."""
    processes = [*psutil.Process(stack.process.pid).children(recursive=True), psutil.Process(stack.process.pid)]
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=10)
    stack.process.wait(10)


@pytest.mark.long
def test_a_wrong_model_is_refused_and_said_never_made_up(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    weights = models / DEFAULT_MODEL / "model.keras"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    broken = start(tmp_path / "data", workers=1, environment={"PNEUMOSCREEN_MODELS_DIR": str(models)})
    try:
        wait_until_ready(broken, "nothing is screened")
        job_id = broken.submit(make_images(1, seed=10))
        log = broken.data_dir / "logs" / "worker.log"
        wait_until(lambda: "model.keras" in log.read_text(), 60, "the worker to say what is wrong")
        assert broken.job(job_id)["counts"]["QUEUED"] == 1
        ready = httpx.get(f"{broken.url}/readyz").json()
        assert (ready["status"], ready["checks"]["model"] != "ok") == ("degraded", True)
    finally:
        stop(broken)


def test_two_servers_on_one_folder_are_refused(stack: Stack) -> None:
    second = start(stack.data_dir)
    second.database.close()
    assert second.process.wait(30) != 0
    assert "running on" in second.log.read_text()


@pytest.mark.long
def test_clients_that_stall_do_not_stop_the_pages(tmp_path: Path) -> None:
    """More half-sent requests than there are threads; each is ended after the time that a client may hang."""
    running = start(tmp_path / "data", workers=1, environment={"PNEUMOSCREEN_CLIENT_SECONDS": "1"})
    stalled = []
    try:
        wait_until_ready(running)
        place = ("127.0.0.1", int(running.url.rsplit(":", 1)[1]))
        for _ in range(40):
            stalled.append(socket.create_connection(place))
            stalled[-1].sendall(b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Len")
        assert httpx.get(f"{running.url}/healthz", timeout=20).status_code == 200
    finally:
        for client in stalled:
            client.close()
        stop(running)
