"""Films a second, this system beside a plain Flask app with the same network, in one run, taken in turns.

`make bench` runs it, in about four minutes on two cores. It needs ../shared/data.

For this system two rates are taken: from the moment an upload of all films is accepted (the response of the one
request that carried them) to the last row written, and from the first byte sent. For the plain app: from the first
request to the last answer, with as many clients as there are cores, to keep it saturated. Each film is new to the
system, so that none is answered from an earlier prediction. Medians and spreads over ROUNDS.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import films, floor

ROUNDS = 3
CORES = os.cpu_count() or 1
PLAIN_FILMS = 60
"""The plain app answers so slowly that its rate is taken from fewer films."""
START_SECONDS = 120
JOB_SECONDS = 300
SINGLE_FILMS = 20


@dataclass
class Running:
    """A server under test."""

    client: httpx.Client
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, path: str, token_file: Path | None = None) -> Iterator[Running]:
    """Start a server, wait until a path answers, and stop it."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=JOB_SECONDS)
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(client, path):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"This did not start: {' '.join(command)}")
            time.sleep(0.1)
        if token_file is not None:
            client.headers["Authorization"] = f"Bearer {token_file.read_text()}"
        yield Running(client, process)
    finally:
        client.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(client: httpx.Client, path: str) -> bool:
    """Tell whether a server answers at all."""
    try:
        return client.get(path).status_code < 500
    except httpx.TransportError:
        return False


def fresh(paths: list[Path], salt: int) -> list[tuple[str, bytes]]:
    """Return films that differ by a trailing byte from any sent before: decoded alike, but new to the store."""
    return [(path.name, path.read_bytes() + salt.to_bytes(4, "big")) for path in paths]


def screen(server: Running, sent: list[tuple[str, bytes]]) -> tuple[float, float]:
    """Screen films in one request; return films a second from acceptance, and from the first byte."""
    started = time.time()
    answer = server.client.post("/api/v1/jobs", files=[("files", film) for film in sent])
    accepted = time.time()
    answer.raise_for_status()
    url = answer.json()["status_url"]
    while (job := server.client.get(url).json())["state"] != "FINISHED":
        time.sleep(0.05)
    if job["counts"]["DONE"] != len(sent):
        raise SystemExit(f"Not every film was screened: {job['counts']}")
    last = last_row(server, job["screenings_url"])
    return len(sent) / (last - accepted), len(sent) / (last - started)


def last_row(server: Running, url: str | None) -> float:
    """Return when the last row of a job was written, as a Unix time."""
    latest = 0.0
    while url:
        page = server.client.get(url, params={"limit": 500} if "?" not in url else None).json()
        latest = max([latest, *(datetime.fromisoformat(row["finished_at"]).timestamp() for row in page["screenings"])])
        url = page["next"]
    return latest


def plain(server: Running, sent: list[tuple[str, bytes]]) -> float:
    """Send films to the plain app from as many clients as there are cores."""

    def ask(film: tuple[str, bytes]) -> None:
        server.client.post("/predict", files={"file": film}).raise_for_status()

    with ThreadPoolExecutor(CORES) as clients:
        started = time.perf_counter()
        list(clients.map(ask, sent))
        return len(sent) / (time.perf_counter() - started)


def first_result(server: Running, film: tuple[str, bytes]) -> float:
    """Return the milliseconds from the start of a single film's upload until its result can be read."""
    started = time.perf_counter()
    answer = server.client.post("/api/v1/jobs", files=[("files", film)]).json()
    while server.client.get(answer["status_url"]).json()["state"] != "FINISHED":
        time.sleep(0.005)
    return (time.perf_counter() - started) * 1000


def memory(server: Running) -> dict[str, float]:
    """Return the largest resident memory of web and worker processes in MB."""
    largest = {"web": 0.0, "worker": 0.0}
    for process in psutil.Process(server.process.pid).children(recursive=True):
        command = " ".join(process.cmdline())
        part = "web" if "web.wsgi" in command else "worker" if " worker " in f"{command} " else None
        if part:
            largest[part] = max(largest[part], process.memory_info().rss / 1e6)
    return largest


def measure() -> dict[str, object]:
    """Run everything in turns and return the figures."""
    sets = {"300 originals": films.originals(300), "2,000 films of 224 px": films.small(2000)}
    rows: dict[str, dict[str, list[float]]] = {name: {"accepted": [], "first byte": [], "plain": []} for name in sets}
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pneumoscreen-bench-")))
        ours_port, plain_port = free_port(), free_port()
        serve = [sys.executable, "-m", "cli.main", "serve", "--port", str(ours_port), "--data-dir", str(data)]
        ours = stack.enter_context(running(serve, ours_port, "/healthz", data / "token"))
        app = [sys.executable, "-m", "benchmarks.plain_flask", str(plain_port)]
        other = stack.enter_context(running(app, plain_port, "/"))
        screen(ours, fresh(films.small(64), 1))
        plain(other, fresh(films.small(4), 1))
        for turn in range(ROUNDS):
            for name, paths in sets.items():
                accepted, first_byte = screen(ours, fresh(paths, 100 + turn))
                rows[name]["accepted"].append(accepted)
                rows[name]["first byte"].append(first_byte)
                rows[name]["plain"].append(plain(other, fresh(paths[:: len(paths) // PLAIN_FILMS], 100 + turn)))
        singles = [first_result(ours, film) for film in fresh(films.originals(SINGLE_FILMS), 999)]
        return {"rows": rows, "single_ms": singles, "memory_mb": memory(ours)}


def show(result: dict[str, object], floors: dict[str, float]) -> None:
    """Print the table that the README quotes."""
    console = Console()
    table = Table(title=f"Films a second on {CORES} cores, median (lowest to highest) of {ROUNDS} rounds")
    for column in ("films", "accepted to last row", "first byte to last row", "plain Flask app", "ratio"):
        table.add_column(column, justify="left" if column == "films" else "right")
    for name, row in result["rows"].items():  # type: ignore[attr-defined]  # measure() made it
        cells = [f"{statistics.median(v):.0f} ({min(v):.0f} to {max(v):.0f})" for v in row.values()]
        ratio = statistics.median(a / p for a, p in zip(row["accepted"], row["plain"], strict=True))
        table.add_row(name, *cells, f"{ratio:.1f} x")
    console.print(table)
    singles = sorted(result["single_ms"])  # type: ignore[call-overload]  # measure() made it
    middle = statistics.median(singles)
    console.print(f"One film, upload to readable result: median {middle:.0f} ms, worst {singles[-1]:.0f} ms")
    used = result["memory_mb"]
    console.print(f"Memory: web {used['web']:.0f} MB, a worker process {used['worker']:.0f} MB")  # type: ignore[index]
    for name, value in floors.items():
        console.print(f"{name}: {value:.0f} films/s")


if __name__ == "__main__":
    measured = measure()
    floors = floor.measure()
    show(measured, floors)
    Path("var").mkdir(exist_ok=True)
    Path("var/bench.json").write_text(json.dumps({**measured, "floor": floors}, indent=2))
