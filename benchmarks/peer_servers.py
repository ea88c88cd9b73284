"""The servers that PneumoScreen is compared with: how to start each, send it images, and measure it alone.

    python -m benchmarks.peer_servers [--images N] [--originals M] [--connections C,C] [--batch B,B]
        [--wait S] [NAME ...]

Each runs in its own environment, see benchmarks/peers/README.md.
"""

import argparse
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPException
from pathlib import Path

import psutil

from benchmarks import images, load

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "peers"
PYTHON = FOLDER / ".venv" / "bin" / "python"
MLSERVER = FOLDER / "mlserver" / ".venv" / "bin" / "mlserver"
CORES = os.cpu_count() or 1
START_SECONDS = 180.0
STOP_SECONDS = 20.0
WARM_UP_IMAGES = 128
LOG_LINES = 30

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0"}
"""Less logging, and no telemetry."""
A_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""TensorFlow uses every core by default; with one process per core they would compete for them."""

FORM = load.Exchange("/predict", partial(load.as_form, "file"), load.plain)


class PeerFailed(Exception):
    """Say which server did not start, with the end of its log."""


@dataclass(frozen=True)
class Peer:
    """A server that PneumoScreen is compared with."""

    name: str
    title: str
    command: tuple[str, ...]
    """With `{port}` and, for servers that listen on further ports, `{other}` and `{third}`."""
    exchange: load.Exchange
    connections: int
    """Of its client. It and `batch` come from the sweep in the README; a quiet machine may need others."""
    batch: int = 1
    wait: float = 0.01
    """Seconds that a batching server waits for a batch to fill, except BentoML, which adapts it."""
    program: Path = PYTHON
    environment: dict[str, str] = field(default_factory=dict)


PEERS = (
    Peer(
        name="flask",
        title="Flask, model.predict a request",
        command=("-m", "benchmarks.peers.plain_flask", "{port}"),
        exchange=FORM,
        connections=CORES,
    ),
    Peer(
        name="gunicorn",
        title="Flask, gunicorn, a process a core",
        command=(
            *("-m", "gunicorn", "benchmarks.peers.plain_flask:app"),
            *("--bind", "127.0.0.1:{port}", "--workers", str(CORES)),
        ),
        exchange=FORM,
        connections=2 * CORES,
        environment=A_THREAD,
    ),
    Peer(
        name="celery",
        title="Celery, one image a task",
        command=("-m", "benchmarks.peers.celery_app", "{port}"),
        exchange=replace(FORM, result="/results/{id}"),
        connections=16 * CORES,
        environment=A_THREAD,
    ),
    Peer(
        name="bentoml",
        title="BentoML, adaptive batching",
        command=(
            *("-m", "bentoml", "serve", "benchmarks.peers.bento_service:Classifier"),
            *("--host", "127.0.0.1", "--port", "{port}"),
        ),
        exchange=load.Exchange("/predict", partial(load.as_form, "images"), load.first_of_list),
        connections=64,
        batch=32,
        environment=A_THREAD,
    ),
    Peer(
        name="litserve",
        title="LitServe, batching",
        command=("-m", "benchmarks.peers.litserve_app", "{port}"),
        exchange=FORM,
        connections=128,
        batch=32,
        environment=A_THREAD,
    ),
    Peer(
        name="ray",
        title="Ray Serve, @serve.batch",
        command=("-m", "benchmarks.peers.ray_app", "{port}"),
        exchange=load.Exchange("/predict", load.as_body, load.plain),
        connections=64,
        batch=32,
        environment={
            **A_THREAD,
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_NBTHREAD": str(CORES),
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_METRICS_PORT": "{other}",
            "RAY_SERVE_HAPROXY_STATS_PORT": "{third}",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": "{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "{folder}/metrics.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "{folder}",
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "{folder}/state",
        },
    ),
    Peer(
        name="mlserver",
        title="MLServer, adaptive batching",
        command=("start", "benchmarks/peers/mlserver"),
        exchange=load.Exchange("/v2/models/classifier/infer", load.as_inference_request, load.inference_response),
        connections=128,
        batch=32,
        program=MLSERVER,
        environment={
            **A_THREAD,
            "PYTHONPATH": str(ROOT),
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{other}",
            "MLSERVER_METRICS_PORT": "{third}",
            "MLSERVER_DEBUG": "false",
            "MLSERVER_PARALLEL_WORKERS": str(CORES),
            "MLSERVER_MODEL_MAX_BATCH_SIZE": "{batch}",
            "MLSERVER_MODEL_MAX_BATCH_TIME": "{wait}",
        },
    ),
)


def free_ports(count: int) -> list[int]:
    """Find free ports."""
    probes = [socket.create_server((load.HOST, 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@dataclass(frozen=True)
class Server:
    """A running peer."""

    peer: Peer
    port: int
    folder: Path
    """Holds all that it writes, its log included, until it is stopped."""

    def screen(self, sent: Sequence[load.NamedImage], connections: int | None = None) -> load.Load:
        """Saturate the server with images, by default over the peer's own number of connections."""
        return load.saturate(self.port, self.peer.exchange, sent, connections or self.peer.connections)

    def processor_seconds(self) -> float:
        """Return the total processor time of its processes so far."""
        total = 0.0
        for process in started_in(self.folder):
            with suppress(psutil.NoSuchProcess):
                taken = process.cpu_times()
                total += taken.user + taken.system
        return total


@contextmanager
def running(peer: Peer) -> Iterator[Server]:
    """Start a peer, wait until it answers a real image, yield it, and stop it with all its children.

    Raises PeerFailed where it is not installed, exits, or does not answer for START_SECONDS.
    """
    if not peer.program.is_file():
        raise PeerFailed(f"{peer.title} is not installed. Make its environment as {FOLDER / 'README.md'} tells.")
    port, other, third = free_ports(3)
    # Short, because Ray puts sockets below it and a socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="peer-") as name:
        folder = Path(name)
        names = {"port": port, "other": other, "third": third, "batch": peer.batch, "wait": peer.wait, "folder": folder}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(peer.program), *(word.format(**names) for word in peer.command)],
                cwd=ROOT,
                env=os.environ | settings(peer, folder, names),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until_answering(peer, port, process, folder / "log")
            yield Server(peer, port, folder)
        finally:
            stop(process, folder)


def settings(peer: Peer, folder: Path, names: Mapping[str, object]) -> dict[str, str]:
    """Return a peer's environment variables, which keep what it writes in its own folder."""
    private = {"TMPDIR": str(folder), "RAY_TMPDIR": str(folder), "BENTOML_HOME": str(folder / "bentoml")}
    own = {key: value.format(**names) for key, value in peer.environment.items()}
    return QUIET | private | {"PEER_BATCH": str(peer.batch), "PEER_WAIT_SECONDS": str(peer.wait)} | own


def wait_until_answering(peer: Peer, port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait for the label of a real image; raise PeerFailed where none comes."""
    (path,) = images.small(1)
    until = time.monotonic() + START_SECONDS
    why: Exception | None = None
    while process.poll() is None and time.monotonic() < until:
        try:
            load.send(port, peer.exchange, [(path.name, path.read_bytes())], 1)
        except (OSError, HTTPException, load.Unanswered) as refusal:
            why = refusal
            time.sleep(0.2)
        else:
            return
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    ended = "is silent" if process.poll() is None else f"ended with {process.returncode}"
    raise PeerFailed("\n".join([f"{peer.title} did not start: it {ended} ({why}). Its log ends so:", *lines]))


def stop(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Stop a server gracefully, and kill what is left of it after STOP_SECONDS."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, left = psutil.wait_procs(started_in(folder), timeout=STOP_SECONDS / 4)
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=STOP_SECONDS)


def started_in(folder: Path) -> list[psutil.Process]:
    """Find the processes whose temporary folder this is: a server's own, even if reparented."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("TMPDIR") == str(folder):
                found.append(process)
    return found


def read(paths: Sequence[Path]) -> list[load.NamedImage]:
    """Read images into memory."""
    return [(path.name, path.read_bytes()) for path in paths]


def measure(server: Server, sent: Sequence[load.NamedImage], connections: int, rounds: int) -> str:
    """Send images for so many rounds and return the figures in a line."""
    before = server.processor_seconds()
    runs = [server.screen(sent, connections) for _ in range(rounds)]
    taken = 1000 * (server.processor_seconds() - before) / rounds / len(sent)
    rates = [run.rate for run in runs]
    p50, p99 = (1000 * statistics.median(run.percentile(share) for run in runs) for share in (0.5, 0.99))
    client = statistics.median(1000 * run.client_seconds / len(sent) for run in runs)
    return (
        f"{statistics.median(rates):7.1f} images/s ({min(rates):.1f} to {max(rates):.1f})   p50 {p50:4.0f} ms   "
        f"p99 {p99:4.0f} ms   processor an image: server {taken:.1f} ms, client {client:.1f} ms"
    )


def try_out(
    peers: Sequence[Peer], connections: Sequence[int], sets: dict[str, list[load.NamedImage]], rounds: int
) -> None:
    """Measure each peer alone, one after the other, and print a line for each combination of options."""
    for peer in peers:
        with running(peer) as server:
            server.screen(next(iter(sets.values()))[:WARM_UP_IMAGES])
            for asked in connections or [peer.connections]:
                for name, sent in sets.items():
                    figures = measure(server, sent, asked, rounds)
                    print(f"{peer.name:9} batch {peer.batch:3}  connections {asked:4}  {name:10} {figures}", flush=True)


def numbers(text: str) -> list[int]:
    """Parse comma-separated numbers."""
    return [int(word) for word in text.split(",")]


def main() -> None:
    """Measure the named peers, or all."""
    known = {peer.name: peer for peer in PEERS}
    parser = argparse.ArgumentParser(description="Measure the servers that PneumoScreen is measured beside, alone.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)}; all where none is named")
    parser.add_argument("--images", type=int, default=400, help="images of 224 px (400)")
    parser.add_argument("--originals", type=int, default=100, help="images of original size (100)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each set is sent (3)")
    parser.add_argument("--connections", type=numbers, default=[], help="instead of each server's own: 2,8,32")
    parser.add_argument("--batch", type=numbers, default=[], help="instead of each server's own: 8,32")
    parser.add_argument("--wait", type=float, help="seconds to wait for a batch to fill (0.01)")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(known):
        parser.error(f"There is no {', '.join(sorted(unknown))}. Choose from {', '.join(known)}.")
    chosen = [known[name] for name in asked.names] or list(PEERS)
    if asked.wait is not None:
        chosen = [replace(peer, wait=asked.wait) for peer in chosen]
    variants = [replace(peer, batch=batch) for peer in chosen for batch in asked.batch or [peer.batch]]
    sets = {"224 px": read(images.small(asked.images)), "originals": read(images.originals(asked.originals))}
    try_out(variants, asked.connections, {name: sent for name, sent in sets.items() if sent}, asked.rounds)


if __name__ == "__main__":
    main()
