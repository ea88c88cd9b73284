"""`screen` against a small real server on a real socket that restarts, stalls and refuses when it is told to."""

import csv
import io
import json
import re
import socket
import struct
import threading
import time
import uuid
import zipfile
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result

from cli import data_folder
from cli.client import address
from cli.client.backoff import GaveUp
from cli.client.client import Api
from cli.client.images import collect
from cli.client.progress import Silence
from cli.client.screen import Run
from cli.main import main

TOKEN = "psc_for-tests"
FINAL = ("DONE", "REJECTED", "FAILED", "CANCELLED")
PAGE = 10
IMAGES_PER_LOOK = 30


class Server:
    """The API's contract in memory: jobs, rows, keys; and faults to come, first in, first out, by method and path."""

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.opened: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[int] = []
        self.fields: list[dict[str, bytes]] = []
        """Of each request with images, the fields in front of them."""
        self.faults: dict[str, list[Any]] = {}
        self.most_bytes = 1 << 40
        self.screens = True
        self.port = 0
        self._http: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"server_state": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._http.daemon_threads = True
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        assert self._http is not None
        self._http.shutdown()
        self._http.server_close()

    def restart_after(self, seconds: float) -> None:
        def again() -> None:
            self.stop()
            time.sleep(seconds)
            self.start()

        threading.Thread(target=again, daemon=True).start()

    def open(self, fields: dict[str, Any], key: str) -> str:
        """Open a job; the same key gives the same job."""
        job_id = self.opened.setdefault(key, str(uuid.uuid4()))
        self.jobs.setdefault(job_id, {"opened": fields, "state": "RECEIVING", "rows": [], "keys": {}})
        return job_id

    def add(self, job: dict[str, Any], name: str, data: bytes) -> int:
        if data.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return sum(self.add(job, f"{name}/{entry}", archive.read(entry)) for entry in archive.namelist())
        good = data.startswith(b"image")
        row = {"file_name": name, "position": len(job["rows"]), "state": "QUEUED" if good else "REJECTED"}
        job["rows"].append(row | ({} if good else {"error": "This is no image.", "error_code": "unknown_format"}))
        return 1

    def settle(self, job: dict[str, Any]) -> None:
        """Screen some images at each look, as a worker would in the meantime."""
        waiting = [row for row in job["rows"] if row["state"] == "QUEUED"]
        for row in waiting[: IMAGES_PER_LOOK if self.screens else 0]:
            row.update(state="DONE", label="NORMAL", confidence=0.9, p_pneumonia=0.1, model="m@1")
        if job["state"] == "SCREENING" and not [row for row in job["rows"] if row["state"] not in FINAL]:
            job["state"] = "FINISHED"

    def view(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        counts: dict[str, int] = {}
        for row in job["rows"]:
            counts[row["state"]] = counts.get(row["state"], 0) + 1
        return {"id": job_id, "state": job["state"], "total": len(job["rows"]), "counts": counts, "per_second": 5.0}

    def only_job(self) -> dict[str, Any]:
        (job,) = self.jobs.values()
        return job


class _Handler(BaseHTTPRequestHandler):
    server_state: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        state, path = self.server_state, urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        state.requests.append((self.command, path))
        waiting = state.faults.get(f"{self.command} {path.rsplit('/', 1)[1]}", [])
        fault = waiting.pop(0) if waiting else None
        if callable(fault):
            fault = fault()
        if fault == "reset":
            self._reset()
        elif fault == "lost answer":
            self._route(path, body, answer=False)
            self._reset()
        elif fault is not None:
            self._answer(*fault)
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"title": "Unauthorized"})
        else:
            self._route(path, body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def _route(self, path: str, body: bytes, answer: bool = True) -> None:
        status, value = self._find(path.removeprefix("/api/v1/").split("/"), body)
        if answer:
            self._answer(status, value)

    def _find(self, path: list[str], body: bytes) -> tuple[int, object]:  # noqa: PLR0911  # one a route
        state = self.server_state
        match path:
            case ["me"]:
                return 200, {"name": "tina", "role": "technician"}
            case ["jobs"]:
                return 201, {"id": state.open(json.loads(body), self.headers["Idempotency-Key"])}
            case ["jobs", job_id, *_] if job_id not in state.jobs:
                return 404, {"detail": "There is no such job."}
            case ["jobs", job_id]:
                state.settle(state.jobs[job_id])
                return 200, state.view(job_id)
            case ["jobs", job_id, "images"]:
                return self._images(state.jobs[job_id], body)
            case ["jobs", job_id, "close"]:
                state.jobs[job_id]["state"] = "SCREENING"
                return 200, state.view(job_id)
            case ["jobs", job_id, "cancel"]:
                waiting = [row for row in state.jobs[job_id]["rows"] if row["state"] == "QUEUED"]
                for row in waiting:
                    row["state"] = "CANCELLED"
                return 200, {"changed": len(waiting), "job": state.view(job_id)}
            case ["jobs", job_id, "screenings"]:
                return 200, self._rows(state.jobs[job_id])
        return 404, {"detail": "Nothing is here."}

    def _rows(self, job: dict[str, Any]) -> dict[str, Any]:
        asked = parse_qs(urlsplit(self.path).query)
        start = int(asked.get("cursor", ["0"])[0])
        end = start + PAGE
        # Another host, as a proxy that is set up wrongly makes it: the token must not go there.
        link = f"http://elsewhere.invalid/api/v1/x?cursor={end}" if end < len(job["rows"]) else None
        return {"screenings": job["rows"][start:end], "next": link}

    def _images(self, job: dict[str, Any], body: bytes) -> tuple[int, object]:
        state = self.server_state
        if len(body) > state.most_bytes:
            return 413, {"title": "Too large", "detail": f"One request takes at most {state.most_bytes} bytes."}
        state.bodies.append(len(body))
        key = self.headers["Idempotency-Key"]
        if key in job["keys"]:
            return 202, {"received": job["keys"][key]}
        if job["state"] != "RECEIVING":
            return 409, {"detail": "This job takes no more images."}
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = list(BytesParser(policy=HTTP).parsebytes(head + body).iter_parts())
        names = [str(part.get_param("name", header="content-disposition")) for part in parts]
        contents = [bytes(part.get_payload(decode=True) or b"") for part in parts]
        state.fields.append({name: data for name, data in zip(names, contents, strict=True) if name != "files"})
        files = [part.get_filename() or "" for part in parts][len(state.fields[-1]) :]
        job["keys"][key] = sum(
            state.add(job, name, data) for name, data in zip(files, contents[len(state.fields[-1]) :], strict=True)
        )
        return 202, {"received": job["keys"][key]}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty-five small images and two files that are none."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(45):
        (folder / f"{number:02}.png").write_bytes(b"image %d" % number)
    (folder / "empty.png").touch()
    (folder / "note.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    return folder


def screen(server: Server, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["screen", "--url", server.url, "--token", TOKEN, *arguments])


def rows_of(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file_name"] for row in rows}) == len(rows)
    return {row["file_name"]: row["state"] for row in rows}


def expected(images: Path) -> dict[str, str]:
    return {
        f"images/{path.name}": "DONE" if path.name[0].isdigit() else "REJECTED" for path in sorted(images.iterdir())
    }


def test_a_folder_is_sent_screened_and_written(server: Server, images: Path, tmp_path: Path) -> None:
    result = screen(server, "images", "-o", "r.csv", "--name", "Ward 3")
    assert result.exit_code == 1
    assert rows_of(tmp_path / "r.csv") == expected(images)
    assert server.only_job()["opened"] == {"name": "Ward 3", "source": "cli", "expected_images": 47}
    assert len(server.only_job()["keys"]) == 2
    assert "This is no image." in result.stdout
    assert "47 files: 0 PNEUMONIA, 45 NORMAL, 2 REJECTED. Model: m@1." in result.stdout
    assert "Sent 47 of 47 files" in result.stderr
    assert "Screened 47 of 47 images" in result.stderr
    assert result.stderr.splitlines()[-1] == "Wrote 47 rows to r.csv."


def test_all_done_is_status_0_and_quiet_says_nothing(server: Server, images: Path) -> None:
    result = screen(server, "images/01.png", "images/02.png", "--quiet", "-o", "r.json")
    assert (result.exit_code, result.output) == (0, "")
    assert [row["state"] for row in json.loads(Path("r.json").read_text())] == ["DONE", "DONE"]


def test_zips_keep_their_entries_apart(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.zip", "b.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("in/1.png", b"image")
            archive.writestr("in/2.png", b"text")
    (tmp_path / "c.png").write_bytes(b"image")
    monkeypatch.chdir(tmp_path)
    assert screen(server, "c.png", "b.zip", "a.zip", "-o", "r.csv").exit_code == 1
    assert list(rows_of(Path("r.csv"))) == [
        "c.png",
        "b.zip/in/1.png",
        "b.zip/in/2.png",
        "a.zip/in/1.png",
        "a.zip/in/2.png",
    ]
    assert "expected_images" not in server.only_job()["opened"]


BUSY = (503, {"detail": "Starting."})


@pytest.mark.parametrize(
    ("request_name", "fault"),
    [
        *((name, fault) for name in ("POST jobs", "POST images", "POST close") for fault in (BUSY, "lost answer")),
        ("GET screenings", BUSY),
        ("POST images", (502, b"<html>")),
        ("POST images", (504, b"")),
        ("POST images", (429, {"detail": "Slower."}, {"Retry-After": "0"})),
        ("POST images", "reset"),
    ],
)
def test_each_request_outlives_a_fault(server: Server, images: Path, request_name: str, fault: object) -> None:
    server.faults[request_name] = [fault]
    assert screen(server, "images", "-o", "r.csv").exit_code == 1
    assert rows_of(Path("r.csv")) == expected(images)
    assert len(server.only_job()["rows"]) == 47


def test_a_restart_in_the_middle_loses_and_doubles_nothing(server: Server, images: Path) -> None:
    def restart() -> str:
        server.restart_after(1.0)
        return "lost answer"

    server.faults["POST images"] = [None, restart]
    result = screen(server, "images", "-o", "r.csv")
    assert rows_of(Path("r.csv")) == expected(images)
    assert len(server.only_job()["rows"]) == 47
    assert result.stderr.count("does not answer") == 1
    assert result.stderr.count("answers again") == 1


def test_a_server_that_stays_away_ends_in_words(server: Server, images: Path) -> None:
    server.faults["POST images"] = [None, *[(503, {"detail": "Closed for today."})] * 99]
    result = screen(server, "images", "--retry-seconds", "0.6")
    assert result.exit_code == 2
    (job_id,) = server.jobs
    assert "did not answer within 0.6 s. Closed for today." in result.stderr
    assert f"--job {job_id} images" in result.stderr
    assert "Traceback" not in result.output


def test_retry_after_is_waited_for_or_given_up(images: Path) -> None:
    slept: list[float] = []
    answers = iter([(429, {"Retry-After": "7"}), (503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}), (200, {})])

    def answer(_: httpx.Request) -> httpx.Response:
        status, headers = next(answers)
        return httpx.Response(status, headers=headers, json={"name": "tina"})

    with Api("http://x.invalid", TOKEN, transport=httpx.MockTransport(answer), sleep=slept.append) as api:
        assert api.check() == "tina"
    assert slept == [7.0, 0.5]
    busy = httpx.MockTransport(lambda _: httpx.Response(429, headers={"Retry-After": "3600"}))
    with Api("http://x.invalid", TOKEN, transport=busy, sleep=slept.append) as api, pytest.raises(GaveUp):
        api.check()
    assert slept == [7.0, 0.5]


def test_the_waiting_grows_to_a_limit(images: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        # The clock stands still in this test, so the retry_seconds never ends by itself.
        slept.append(seconds)
        if len(slept) == 8:
            raise GaveUp("enough")

    busy = httpx.MockTransport(lambda _: httpx.Response(503))
    with Api("http://x.invalid", TOKEN, transport=busy, sleep=sleep) as api, pytest.raises(GaveUp, match="enough"):
        api.job("x")
    assert slept == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_a_server_that_never_was_there_is_told_soon(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.client.client.FIRST_RETRY_SECONDS", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    result = CliRunner().invoke(main, ["screen", "--url", url, "--token", TOKEN, "images"])
    assert result.exit_code == 2
    assert f"{url} did not answer" in result.stderr
    assert time.monotonic() - began < 5


def test_what_is_over_the_limit_alone_is_a_row_and_the_rest_goes_on(server: Server, images: Path) -> None:
    (images / "03.png").write_bytes(b"image" + bytes(5000))
    server.most_bytes = 2500
    assert screen(server, "images", "-o", "r.csv").exit_code == 1
    assert rows_of(Path("r.csv")) == {**expected(images), "images/03.png": "REJECTED"}
    with Path("r.csv").open(newline="") as file:
        errors = {row["file_name"]: row["error"] for row in csv.DictReader(file)}
    assert "at most 2500 bytes" in errors["images/03.png"]
    assert len(server.only_job()["rows"]) == 46


def test_a_file_that_vanishes_on_the_way_is_a_row(server: Server, images: Path) -> None:
    found = collect(["images"])
    (images / "07.png").unlink()
    with Api(server.url, TOKEN) as api:
        results = Run(api, Silence()).screen(found, name="images")
    assert {r.file_name: r.state for r in results} == {**expected(images), "images/07.png": "REJECTED"}
    assert [r.error for r in results if r.file_name == "images/07.png"] == [
        "The file could not be read: No such file or directory."
    ]


def test_a_file_that_grows_while_it_is_sent_is_sent_whole(server: Server, images: Path) -> None:
    found = collect(["images/01.png"])
    (images / "01.png").write_bytes(b"image, and more than was there when it was found")
    with Api(server.url, TOKEN) as api:
        (result,) = Run(api, Silence()).screen(found, name="images")
    assert result.state == "DONE"


def test_a_large_file_is_streamed(server: Server, tmp_path: Path) -> None:
    import tracemalloc

    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.write(b"image")
        file.truncate(48 * 1024 * 1024)
    # Only what this process's client holds counts, so the server answers without keeping the body.
    seen: list[int] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(sum(len(chunk) for chunk in request.stream))  # type: ignore[union-attr]
        return httpx.Response(202, json={"received": 1})

    class Streaming(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return answer(request)

    (found,) = collect([str(large)])
    with Api("http://x.invalid", TOKEN, transport=Streaming()) as api:
        tracemalloc.start()
        api.send("x", [found])  # type: ignore[list-item]
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert seen[0] > 48 * 1024 * 1024
    assert peak < 4 * 1024 * 1024


def test_a_broken_upload_goes_on_where_it_stopped(server: Server, images: Path) -> None:
    server.faults["POST images"] = [None, (500, {"detail": "A fault."})]
    broken = screen(server, "images")
    assert broken.exit_code == 2
    assert "A fault. (500" in broken.stderr
    (job_id,) = server.jobs
    sent = len(server.bodies)
    assert screen(server, "images", "--job", job_id, "-o", "r.csv").exit_code == 1
    assert rows_of(Path("r.csv")) == expected(images)
    # The first request's images were there and were not sent again.
    assert len(server.bodies) - sent == 1
    assert server.fields == [{}, {"skip_received": b"true"}]


def test_a_job_is_fetched_by_its_number(server: Server, images: Path) -> None:
    left = screen(server, "images", "--no-wait")
    assert left.exit_code == 1  # two files were refused at once
    (job_id,) = server.jobs
    assert f"/jobs/{job_id}" in left.stderr
    assert screen(server, "--job", job_id, "-o", "r.csv").exit_code == 1
    assert rows_of(Path("r.csv")) == expected(images)


def test_no_wait_does_not_count_what_still_waits(server: Server, images: Path) -> None:
    server.screens = False
    assert screen(server, "images/01.png", "--no-wait", "-o", "r.csv").exit_code == 0
    assert rows_of(Path("r.csv")) == {"images/01.png": "QUEUED"}


def test_a_job_that_still_takes_images_is_not_waited_for(server: Server) -> None:
    job_id = server.open({}, "key")
    result = screen(server, "--job", job_id)
    assert result.exit_code == 2
    assert "still takes images" in result.stderr


def test_a_job_is_cancelled(server: Server, images: Path) -> None:
    server.screens = False
    screen(server, "images/01.png", "images/02.png", "--no-wait")
    (job_id,) = server.jobs
    result = screen(server, "--job", job_id, "--cancel", "-o", "r.csv")
    assert result.exit_code == 1
    assert "Cancelled 2 images" in result.stderr
    assert set(rows_of(Path("r.csv")).values()) == {"CANCELLED"}


def test_ctrl_c_says_how_to_go_on(server: Server, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.screens = False

    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.client.screen.time.sleep", interrupt)
    result = screen(server, "images")
    (job_id,) = server.jobs
    assert result.exit_code == 130
    assert re.search(rf"go on: +pneumoscreen screen --url {server.url} --job {job_id} images", result.stderr)
    assert re.search(rf"cancel: +pneumoscreen screen .*--job {job_id} --cancel", result.stderr)


def test_a_job_without_progress_ends_where_a_limit_was_given(server: Server, images: Path) -> None:
    server.screens = False
    with Api(server.url, TOKEN) as api, pytest.raises(Exception, match="No image was screened for"):
        Run(api, Silence(), stall_limit=0.3).screen(collect(["images"]), name="images")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give a PATH"),
        (["nowhere"], "does not exist"),
        (["images", "-o", "r.txt"], ".csv or .json"),
        (["images", "-o", "none/r.csv"], "folder that exists"),
        (["images", "--cancel"], "--cancel goes with --job"),
        (["images", "--job", "00000000-0000-0000-0000-000000000001", "--model", "m"], "--model goes with a new job"),
        (["images", "--url", "localhost:8000"], "http://"),
        (["images", "--token", "a b"], "characters that no token has"),
        (["bare"], "no files in bare"),
        (["--job", "x"], "UUID"),
    ],
)
def test_wrong_use_is_told_before_anything_is_sent(
    server: Server, images: Path, arguments: list[str], message: str
) -> None:
    Path("bare").mkdir()
    result = screen(server, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not server.jobs


def test_a_token_that_is_not_known_is_told(server: Server, images: Path) -> None:
    result = CliRunner().invoke(main, ["screen", "--url", server.url, "--token", "psc_other", "images"])
    assert result.exit_code == 2
    assert "does not know this token" in result.stderr


def test_a_local_server_gives_its_token_by_file(server: Server, images: Path, tmp_path: Path) -> None:
    command = ["screen", "--url", server.url, "--data-dir", str(tmp_path), "images/01.png"]
    missing = CliRunner().invoke(main, command)
    assert missing.exit_code == 2
    assert "A token is needed" in missing.stderr
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert CliRunner().invoke(main, command).exit_code == 0


@pytest.mark.parametrize("has_token", [False, True], ids=["never served", "served once"])
def test_a_folder_on_which_no_server_runs_is_said(images: Path, tmp_path: Path, has_token: bool) -> None:
    if has_token:
        (tmp_path / "token").write_text(TOKEN)
    result = CliRunner().invoke(main, ["screen", "--data-dir", str(tmp_path), "images"])
    assert result.exit_code == 2
    assert f"There is no server here: none runs on the data folder {tmp_path}." in result.stderr
    assert "--url" in result.stderr


def test_the_token_is_read_where_serve_writes_it() -> None:
    assert address.TOKEN_FILE == data_folder.TOKEN_FILE


def test_the_local_token_stays_on_this_machine(images: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    result = CliRunner().invoke(main, ["screen", "--url", "http://x.invalid", "--data-dir", str(tmp_path), "images"])
    assert result.exit_code == 2
    assert "A token is needed" in result.stderr


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((200, b"<html>Hello</html>"), "does not answer as PneumoScreen does"),
        ((301, b"", {"Location": "https://x.invalid/"}), "moves to 'https://x.invalid/'"),
        ((403, {"detail": "Readers send no images."}), "Readers send no images. (403 Forbidden)"),
        ((500, b""), "The server answered 500"),
    ],
)
def test_an_answer_that_does_not_fit_is_told(server: Server, images: Path, fault: object, message: str) -> None:
    server.faults["GET me"] = [fault]
    result = screen(server, "images")
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_proxy_is_not_asked_for_a_server_on_this_machine(
    server: Server, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert screen(server, "images/01.png", "--retry-seconds", "1").exit_code == 0
