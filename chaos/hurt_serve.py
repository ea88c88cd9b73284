"""`pneumoscreen serve` with the programs under fault injection: `python -m chaos.hurt_serve --port ...`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec

from pydantic import SecretStr

from cli.serving import broker, processes, serve
from cli.serving.processes import Supervisor
from shared.settings import Settings

P = ParamSpec("P")

PORT_VARIABLE: Final = "CHAOS_REDIS_PORT"
"""Set where Redis is to be reached over TCP instead of a unix socket."""

START_SECONDS: Final = 600.0
"""On a busy machine loading a network takes minutes; the harness waits as long."""

REPLACED: Final = {
    "web.wsgi:app": "chaos.hurt_web:app",
    "worker.app": "chaos.hurt_worker",
    "worker.sweep": "chaos.hurt_sweep",
}


def _hurt(command: Callable[P, list[str]]) -> Callable[P, list[str]]:
    def replaced(*args: P.args, **kwargs: P.kwargs) -> list[str]:
        return [REPLACED.get(part, part) for part in command(*args, **kwargs)]

    return replaced


def _with_tcp_broker(settings: Settings, run_folder: Path, supervisor: Supervisor) -> Settings:
    """Start the same Redis with a TCP port as well, and make all programs use that."""
    port, redis = os.environ[PORT_VARIABLE], broker.EmbeddedRedis(settings.data_dir / "redis", run_folder)
    command = [*redis.command(), "--port", port, "--bind", "127.0.0.1"]
    redis.wait_until_ready(supervisor.start("redis", command, ask=redis.ask, before_start=redis.before_start))
    return settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})


def main() -> None:
    """Serve until SIGTERM."""
    # Treat each kill as the first: the restart backoff, which grows with consecutive crashes, is for real crash loops.
    parts: Any = processes
    parts.LONGEST_PAUSE = 1.0
    hurt: Any = serve
    for name in ("web_command", "worker_command", "sweep_command"):
        setattr(hurt, name, _hurt(getattr(hurt, name)))
    hurt.START_SECONDS = START_SECONDS
    if PORT_VARIABLE in os.environ:
        hurt._with_broker = _with_tcp_broker  # the one part of `serve` that differs
    serve.serve()


if __name__ == "__main__":
    main()
