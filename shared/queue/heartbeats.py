"""Heartbeats in Redis of workers that have a network loaded, so that pages can tell "no worker" from "busy"."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from shared.errors import BrokerAway
from shared.queue.broker import Broker
from shared.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 4.0
LOST_AFTER_SECONDS: Final = 15
DROPPED_KEY: Final = "pneumoscreen:dropped_messages"
"""The counter of `shared.queue.received_tickets`."""
_MOST_DIGITS: Final = 18
_KEY: Final = "pneumoscreen:worker:"
_LONGEST: Final = 256
"""The longest name of a worker or a model, in characters."""
_MOST_BYTES: Final = 4096
"""The largest heartbeat; ours have 60 bytes."""
_MOST_WORKERS: Final = 10_000
_LONGEST_LIFE: Final = 1e9
"""Seconds: thirty years."""


@dataclass(frozen=True)
class Heartbeat:
    """A worker's latest heartbeat."""

    worker: str
    model: str
    """`ModelSpec.version` of its loaded model."""
    ready_seconds: float
    """How long it had been ready at the time."""
    seconds_ago: float

    @property
    def model_name(self) -> str:
        """Return the model name that jobs ask for."""
        return self.model.partition("@")[0]


class Heartbeats:
    """Read and write the heartbeats of workers; they only serve to inform people."""

    def __init__(self, settings: Settings) -> None:
        self._broker = Broker.of(settings)

    @cached_property
    def _redis(self) -> "Redis":
        return self._broker.connect(socket_connect_timeout=1, socket_timeout=2)

    def announce(self, worker: str, model: str, ready_seconds: float) -> None:
        """Write that a worker has been ready with a model for so long; this expires after LOST_AFTER_SECONDS.

        Raises BrokerAway where Redis does not answer.
        """
        said = json.dumps({"model": model, "ready_seconds": round(ready_seconds, 1)})
        with _answered():
            self._redis.set(_KEY + worker, said, ex=LOST_AFTER_SECONDS)

    def leave(self, worker: str) -> None:
        """Remove a worker's heartbeat; raise BrokerAway where Redis does not answer."""
        with _answered():
            self._redis.delete(_KEY + worker)

    def workers(self) -> list[str]:
        """Return the names of ready workers; raise BrokerAway where Redis does not answer."""
        return [heartbeat.worker for heartbeat in self.latest()]

    def latest(self) -> list[Heartbeat]:
        """Return the latest heartbeat of each ready worker, by name; raise BrokerAway where Redis does not answer.

        Unreadable entries are skipped, as anyone with access to Redis can write anything there.
        """
        with _answered():
            keys = sorted(islice(self._redis.scan_iter(match=_KEY + "*", count=1000), _MOST_WORKERS))
        with _answered(), self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.getrange(key, 0, _MOST_BYTES - 1)
                pipeline.pttl(key)
            answers = pipeline.execute(raise_on_error=False)
        said = [_understand(*each) for each in zip(keys, answers[::2], answers[1::2], strict=True)]
        unread = sum(heartbeat is None for heartbeat in said)
        if unread:
            log.debug("%d heartbeats ran out or cannot be read.", unread)
        return [heartbeat for heartbeat in said if heartbeat is not None]

    def served_models(self) -> frozenset[str] | None:
        """Return the names of models that ready workers serve; None where Redis does not answer."""
        try:
            return frozenset(heartbeat.model_name for heartbeat in self.latest())
        except BrokerAway as error:
            log.debug("Which models are served cannot be told. %s", error)
            return None

    def dropped_messages(self) -> int | None:
        """Return how many messages were dropped as no tickets since Redis was last emptied; None where unreadable.

        Raises BrokerAway where Redis does not answer.
        """
        with _answered():
            counted = self._redis.getrange(DROPPED_KEY, 0, _MOST_DIGITS - 1)
        if not counted:
            return 0
        return int(counted) if isinstance(counted, bytes) and counted.isdigit() else None

    def server_version(self) -> str:
        """Return the version of the Redis server; raise BrokerAway where it does not answer."""
        with _answered():
            return str(self._redis.info("server").get("redis_version", "unknown"))

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


def _understand(key: bytes, value: object, left: object) -> Heartbeat | None:
    """Parse one heartbeat; None where it expired, never expires or is malformed. Unknown fields are ignored."""
    if not isinstance(value, bytes) or not isinstance(left, int) or left < 0:
        return None
    try:
        name, said = key.removeprefix(_KEY.encode()).decode(), json.loads(value)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not _is_name(name) or not _is_name(said.get("model")):
        return None
    seconds_ago = max(0.0, LOST_AFTER_SECONDS - left / 1000)
    return Heartbeat(name, said["model"], _seconds(said.get("ready_seconds")), seconds_ago)


def _seconds(value: Any) -> float:
    """Return a valid time in seconds; 0, as for a worker that has just started, where there is none."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LONGEST_LIFE else 0.0


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


@contextmanager
def _answered() -> Iterator[None]:
    from redis.exceptions import RedisError  # noqa: PLC0415  # see shared.queue.broker

    try:
        yield
    except (RedisError, OSError) as error:
        raise BrokerAway("Redis did not answer.") from error
