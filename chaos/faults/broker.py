"""Faults of Redis, which carries nothing but tickets and heartbeats."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from chaos.errors import ChaosFailed, NotHere
from chaos.scene import Scene
from chaos.waiting import wait_until
from shared.queue.heartbeats import DROPPED_KEY, LOST_AFTER_SECONDS
from shared.queue.tickets import queue_name
from shared.settings import Settings

SLOW_SECONDS: Final = 6.0
PAUSE_MILLISECONDS: Final = 400
HANG_SECONDS: Final = 12.0
"""Longer than the timeout of any of our connections (shared/queue/tickets.py: 10 s)."""
FULL_SECONDS: Final = 6.0
POLLUTED_SECONDS: Final = 120.0
STRANGE: Final = (b"garbage", b"[1,2]", b"null", b'{"headers": {"task": "other"}}', b"[" * 10_000)


@dataclass(frozen=True)
class RedisKilled:
    """Redis is killed by SIGKILL and restarted by the supervisor."""

    name: str = "Redis killed and restarted"
    family: str = "broker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Kill Redis; the fault ends when the next one answers."""
        server = scene.stack.redis_server()
        server.kill()
        server.wait(10)
        scene.stack.wait_for_redis()


@dataclass(frozen=True)
class RedisFlushed:
    """Redis loses every ticket and every heartbeat."""

    name: str = "Redis flushed"
    family: str = "broker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Flush all keys."""
        with scene.stack.redis() as redis:
            redis.flushall()


@dataclass(frozen=True)
class RedisSlow:
    """Redis keeps its clients waiting most of the time."""

    name: str = f"Redis slow ({PAUSE_MILLISECONDS} ms per answer)"
    family: str = "broker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Pause all clients again and again."""
        until = time.monotonic() + SLOW_SECONDS
        with scene.stack.redis() as redis:
            while time.monotonic() < until:
                redis.execute_command("CLIENT", "PAUSE", PAUSE_MILLISECONDS, "ALL")
                time.sleep(PAUSE_MILLISECONDS / 1000)


@dataclass(frozen=True)
class RedisHangs:
    """Redis keeps its connections open but does not answer."""

    name: str = f"Redis hangs for {HANG_SECONDS:.0f} s"
    family: str = "broker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Stop the process, then continue it."""
        server = scene.stack.redis_server()
        server.suspend()
        try:
            time.sleep(HANG_SECONDS)
        finally:
            server.resume()


@dataclass(frozen=True)
class RedisUnreachable:
    """The socket file of Redis is deleted, as by a clean-up of /tmp: open connections go on, new ones fail."""

    name: str = "Redis socket removed"
    family: str = "broker"
    is_random: bool = True

    def hurt(self, scene: Scene) -> None:
        """Remove the file; the fault ends when the supervisor has restarted Redis."""
        if not scene.stack.redis_url.startswith("unix://"):
            raise NotHere("Redis is reached over TCP")
        Path(scene.stack.redis_url.removeprefix("unix://")).unlink(missing_ok=True)
        scene.stack.wait_for_redis()


class RedisFull:
    """Redis has no memory for another ticket: it answers OOM to every write."""

    name: ClassVar = f"Redis out of memory for {FULL_SECONDS:.0f} s"
    family: ClassVar = "broker"
    is_random: ClassVar = True

    def hurt(self, scene: Scene) -> None:
        """Set the memory limit to one byte, then remove it."""
        with scene.stack.redis() as redis:
            redis.config_set("maxmemory", 1)
            try:
                time.sleep(FULL_SECONDS)
            finally:
                redis.config_set("maxmemory", 0)


class RedisPolluted:
    """Malformed entries are written where tickets and heartbeats are read."""

    name: ClassVar = "malformed messages on Redis"
    family: ClassVar = "broker"
    is_random: ClassVar = False

    def hurt(self, scene: Scene) -> None:
        """Write them; raise ChaosFailed where the worker exits because of them."""
        worker = scene.stack.worker()
        queue = queue_name(Settings.model_fields["model"].default)
        with scene.stack.redis() as redis:
            dropped = int(redis.get(DROPPED_KEY) or 0)
            for number, message in enumerate(STRANGE):
                redis.lpush(queue, message)
                redis.set(f"pneumoscreen:worker:strange-{number}", message, ex=LOST_AFTER_SECONDS)
            due = dropped + len(STRANGE)
            wait_until(lambda: int(redis.get(DROPPED_KEY) or 0) >= due, POLLUTED_SECONDS, "the messages to be dropped")
        if not worker.is_running():
            raise ChaosFailed("A malformed message ended a worker.")


FAULTS: Final = (
    RedisKilled(),
    RedisFlushed(),
    RedisSlow(),
    RedisHangs(),
    RedisUnreachable(),
    RedisFull(),
    RedisPolluted(),
)
