"""`screen` against the real pages under gunicorn; a thread stands in for the worker and settles what is claimed."""

import csv
import io
import os
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from cli.client.backoff import GaveUp
from cli.client.client import Api
from cli.client.images import FIRST_FILES, LocalFile, collect
from cli.client.progress import Silence
from cli.client.screen import Run
from cli.client.upload import Sent
from cli.main import main
from cli.serving.processes import web_command
from migrations.schema import upgrade
from shared.accounts import tokens, users
from shared.db import Database
from shared.models.folder import SPEC_FILE
from shared.models.spec import ModelSpec
from shared.queue import leases
from shared.tables import Role, Screening
from tests.conftest import ROOT, draw, encode


class Stack:
    """gunicorn on a data folder of its own, and a stand-in for the worker."""

    def __init__(self, folder: Path, spec: ModelSpec) -> None:
        self.folder, self.spec = folder, spec
        (folder / "models" / spec.name).mkdir(parents=True)
        (folder / "models" / spec.name / SPEC_FILE).write_text(spec.model_dump_json())
        self.database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
        upgrade(self.database)
        with self.database.write() as session:
            user = users.add_user(session, "tina", Role.TECHNICIAN)
            self.token = tokens.make_token(session, user, "test")
            self.model_id = leases.register_model(session, spec)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.limits: dict[str, str] = {}
        self._stopped = threading.Event()
        self._worker = threading.Thread(target=self._work)
        self._web: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, **limits: str) -> None:
        """Start the pages; `limits` are settings by their names."""
        settings = {
            "DATA_DIR": str(self.folder),
            "MODELS_DIR": str(self.folder / "models"),
            "MODEL": self.spec.name,
            "REDIS_URL": f"unix://{self.folder / 'no.sock'}",
            "SECRET_KEY": "a key for tests only, of many letters",
            **limits,
        }
        environment = os.environ | {f"PNEUMOSCREEN_{name}": value for name, value in settings.items()}
        with (self.folder / "web.log").open("ab") as log:
            self._web = subprocess.Popen(
                web_command("127.0.0.1", self.port, 4), env=environment, cwd=ROOT, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        for _ in range(300):
            try:
                if httpx.get(f"{self.url}/healthz").is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail((self.folder / "web.log").read_text())

    def kill(self) -> None:
        """End the pages as a power cut would."""
        assert self._web is not None
        os.killpg(self._web.pid, signal.SIGKILL)
        self._web.wait()

    def work(self) -> None:
        self._worker.start()

    def stop(self) -> None:
        self.kill()
        self._stopped.set()
        if self._worker.is_alive():
            self._worker.join()
        self.database.close()

    def _work(self) -> None:
        while not self._stopped.wait(0.02):
            with self.database.write() as session:
                claim = leases.claim(
                    session, model_id=self.model_id, model_name=self.spec.name, limit=16, worker="w", lease_seconds=60
                )
            if claim is not None:
                self._finish(claim)

    def _finish(self, claim: leases.Claim) -> None:
        predictions = self.spec.judge(np.tile([0.2, 0.5, 0.3], (len(claim.screenings), 1)))
        outcomes = [
            leases.Outcome(image) if image.prediction_id else leases.Outcome(image, prediction)
            for image, prediction in zip(claim.screenings, predictions, strict=True)
        ]
        with self.database.write() as session:
            leases.finish(session, claim, outcomes, model_id=self.model_id, threshold=self.spec.threshold, worker="w")

    def screenings(self) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.count()).select_from(Screening)) or 0


@pytest.fixture
def stack(tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "images").mkdir()
    monkeypatch.chdir(tmp_path)
    stack = Stack(folder, spec)
    yield stack
    stack.stop()


def screen(stack: Stack, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["screen", "--url", stack.url, "--token", stack.token, *arguments])


def read_rows(path: str) -> dict[str, dict[str, str]]:
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {row["file_name"]: row for row in rows}
    assert len(found) == len(rows)
    return found


# With the longest of the ZIPs below the name is too long for the server, which keeps its end.
LONG_ENTRY = "a/b" * 100 + ".jpg"


def zipped(entries: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_every_kind_of_file_is_accounted_for(stack: Stack) -> None:
    image = encode(draw(0))
    good = {
        "a/plain.jpg": image,
        "a/the same again.jpg": image,
        'quoted "name".png': encode(draw(1), "PNG"),
        "ümläut 名.png": encode(draw(2), "PNG"),
        "percent%22 & =name.png": encode(draw(3), "PNG"),
        "-dash.png": encode(draw(4), "PNG"),
        "new\nline.png": encode(draw(5), "PNG"),
        "x/" * 6 + "n" * 200 + "/" + "m" * 200 + "/" + "o" * 150 + ".jpg": encode(draw(6)),
    }
    bad = {
        "empty.jpg": b"",
        "text.jpg": b"This is a letter.",
        "broken.png": encode(draw(7), "PNG")[:20],
        "no.zip": b"PK\x03\x04",
    }
    entries = {
        "s/1.jpg": encode(draw(8)),
        "s/2.jpg": image,
        "../out.jpg": image,
        "in.zip": zipped({"a.jpg": image}),
        "t.txt": b"t",
        LONG_ENTRY: image,
    }
    zips = ("z/one", 'z/"two" 100%22', "z/" + "3" * 230)
    for name, data in {**good, **bad, **{f"{z}.zip": zipped(entries) for z in zips}}.items():
        path = Path("images", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    stack.start()
    stack.work()
    assert screen(stack, "images", "-o", "r.csv").exit_code == 1
    rows = read_rows("r.csv")
    status = {name: row["state"] for name, row in rows.items()}
    inside = {"s/1.jpg": "DONE", "s/2.jpg": "DONE", "../out.jpg": "REJECTED", "in.zip": "REJECTED", "t.txt": "REJECTED"}
    inside |= {LONG_ENTRY: "DONE"}
    assert status == {
        **{f"images/{name}": "DONE" for name in good},
        **{f"images/{name}": "REJECTED" for name in bad},
        **{f"images/{z}.zip/{name}": state for z in zips for name, state in inside.items()},
    }
    assert all(row["error"] for row in rows.values() if row["state"] == "REJECTED")
    assert rows["images/a/plain.jpg"]["label"] == "PNEUMONIA"
    assert float(rows["images/a/plain.jpg"]["p_pneumonia"]) == pytest.approx(0.8)
    assert rows["images/a/plain.jpg"]["model"] == stack.spec.version
    assert stack.screenings() == len(rows)


@pytest.mark.long
def test_the_pages_are_killed_in_the_middle_and_nothing_is_lost_or_doubled(stack: Stack) -> None:
    for number in range(100):
        Path("images", f"{number:03}.jpg").write_bytes(encode(draw(number, (96, 80))))
    stack.start()
    stack.work()

    class Killing(Silence):
        """Kill the pages once some images are through, and bring them back while the client waits."""

        killed = False
        notes: list[str] = []  # noqa: RUF012  # one instance

        def sent(self, sent: object) -> None:
            if not self.killed and sent.files >= 40:  # type: ignore[attr-defined]
                self.killed = True
                stack.kill()
                threading.Timer(0.8, stack.start).start()

        def note(self, message: str) -> None:
            self.notes.append(message)

    display = Killing()
    with Api(stack.url, stack.token, note=display.note) as api:
        results = Run(api, display).screen(collect(["images"]), name="images")
    assert display.killed
    assert [r.file_name for r in results] == [f"images/{number:03}.jpg" for number in range(100)]
    assert {r.state for r in results} == {"DONE"}
    assert stack.screenings() == 100
    assert any("does not answer" in note for note in display.notes)


def test_an_upload_that_another_goes_on_with_meanwhile_holds_each_file_once(stack: Stack) -> None:
    for number in range(30):
        Path("images", f"{number:03}.jpg").write_bytes(encode(draw(number, (96, 80))))
    Path("images", "ward.zip").write_bytes(zipped({"a.png": encode(draw(40), "PNG"), "b.png": encode(draw(41), "PNG")}))
    files = [file for file in collect(["images"]) if isinstance(file, LocalFile)]
    stack.start()
    with Api(stack.url, stack.token) as api:
        job = api.open_job("images", len(files), "a key")

        class Other(Silence):
            """Send some of the rest as soon as the first request is through."""

            has_sent = False

            def sent(self, sent: Sent) -> None:
                if sent.files >= FIRST_FILES and not self.has_sent:
                    self.has_sent = True
                    api.send(job, files[FIRST_FILES : FIRST_FILES + 5])
                    api.send(job, [file for file in files if file.is_zip])

        display = Other()
        results = Run(api, display).screen(files, name="images", job_id=job, wait=False)
    assert display.has_sent
    names = [f"images/{number:03}.jpg" for number in range(30)] + ["images/ward.zip/a.png", "images/ward.zip/b.png"]
    assert sorted(result.file_name for result in results) == names
    assert stack.screenings() == len(names)


def test_a_full_queue_is_waited_for_and_every_image_arrives(stack: Stack) -> None:
    for number in range(230):
        Path("images", f"{number:03}.jpg").write_bytes(encode(draw(number, (96, 80))))
    stack.start(MAX_BACKLOG="30", INTERACTIVE_RESERVE="0")
    # Nothing is screened at first, so that the queue fills; the server then asks for 30 s, which nobody has to sleep.
    notes: list[str] = []
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        if not waits:
            stack.work()
        waits.append(seconds)
        time.sleep(0.2)

    with Api(stack.url, stack.token, retry_seconds=5, note=notes.append, sleep=sleep) as api:
        results = Run(api, Silence()).screen(collect(["images"]), name="images")
    assert [r.file_name for r in results] == [f"images/{number:03}.jpg" for number in range(230)]
    assert {r.state for r in results} == {"DONE"}
    assert stack.screenings() == 230
    assert waits[0] == 30, "longer than the retry_seconds for a server that is away"
    assert len(notes) == 1, "said once a minute"
    assert notes[0].startswith("The queue is full. ")
    assert "Sending resumes by itself at " in notes[0]


def test_a_low_disk_ends_the_retries_with_the_reason(stack: Stack) -> None:
    Path("images", "a.jpg").write_bytes(encode(draw(1)))
    stack.start(MIN_FREE_BYTES=str(1 << 50))
    with Api(stack.url, stack.token, retry_seconds=8) as api, pytest.raises(GaveUp, match="of disk space in reserve"):
        Run(api, Silence()).screen(collect(["images"]), name="images")


def test_a_file_over_the_request_limit_is_a_row_and_the_rest_goes_on(stack: Stack) -> None:
    for number in range(3):
        Path("images", f"{number}.jpg").write_bytes(encode(draw(number)))
    with Path("images", "huge.jpg").open("wb") as file:
        file.write(encode(draw(9)))
        file.truncate(40 * 1024 * 1024)
    stack.start(MAX_UPLOAD_BYTES=str(4 * 1024 * 1024))
    stack.work()
    assert screen(stack, "images", "-o", "r.csv", "--retry-seconds", "20").exit_code == 1
    rows = read_rows("r.csv")
    assert {name: row["state"] for name, row in rows.items()} == {
        **{f"images/{number}.jpg": "DONE" for number in range(3)},
        "images/huge.jpg": "REJECTED",
    }
    assert "4 MiB" in rows["images/huge.jpg"]["error"]


def test_what_lies_on_a_disc_is_left_out_of_folders_and_zips_and_said(stack: Stack) -> None:
    Path("images", "a.jpg").write_bytes(encode(draw(1)))
    Path("images", "AUTORUN.INF").write_bytes(b"[autorun]")
    with zipfile.ZipFile("disc.zip", "w") as archive:
        for name, data in {"IM1": encode(draw(2)), "VIEWER/viewer.exe": b"MZ", "DICOMDIR": b"x"}.items():
            archive.writestr(name, data)
    stack.start()
    stack.work()
    result = screen(stack, "images", "disc.zip", "-o", "r.csv")
    assert result.exit_code == 0
    assert "Left out 1 file of a disc's viewer: no images." in result.output
    assert "Left out 2 files of a disc's viewer: no images." in result.output
    assert {name: row["state"] for name, row in read_rows("r.csv").items()} == {
        "images/a.jpg": "DONE",
        "disc.zip/IM1": "DONE",
    }
