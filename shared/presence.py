"""Presence: workers that have a network loaded say so on Redis, so that pages can tell "no worker" from "busy"."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shared.errors import BrokerAway
from shared.settings import Settings

if TYPE_CHECKING:
    from redis import Redis

BEAT_SECONDS: Final = 4.0
LOST_AFTER_SECONDS: Final = 15
_KEY: Final = "pneumoscreen:worker:"


@dataclass(frozen=True)
class Heard:
    """What a worker last said of itself."""

    worker: str
    model: str
    """`ModelSpec.version` of what it has loaded."""
    ready_seconds: float
    """How long it had been ready when it said so."""
    seconds_ago: float

    @property
    def model_name(self) -> str:
        """Return the name that jobs ask for."""
        return self.model.partition("@")[0]


class Presence:
    """Read and write who is at work. Nothing depends on it but what people are told."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.redis_url.get_secret_value()

    @cached_property
    def _redis(self) -> "Redis":
        from redis import Redis  # noqa: PLC0415  # takes 0.1 s, which the start of the pages need not wait for

        return Redis.from_url(self._url, socket_connect_timeout=1, socket_timeout=2, decode_responses=True)

    def announce(self, worker: str, model: str, ready_seconds: float) -> None:
        """Say that a worker has been ready with a model for so long; it holds for LOST_AFTER_SECONDS.

        Raises BrokerAway where Redis does not answer.
        """
        said = json.dumps({"model": model, "ready_seconds": round(ready_seconds, 1)})
        with _answered():
            self._redis.set(_KEY + worker, said, ex=LOST_AFTER_SECONDS)

    def leave(self, worker: str) -> None:
        """Take a worker's word back; raise BrokerAway where Redis does not answer."""
        with _answered():
            self._redis.delete(_KEY + worker)

    def workers(self) -> list[str]:
        """Name the workers that are ready; raise BrokerAway where Redis does not answer."""
        with _answered():
            return sorted(key.removeprefix(_KEY) for key in self._redis.scan_iter(match=_KEY + "*", count=1000))

    def heard(self) -> list[Heard]:
        """Return what each ready worker said last, by name; raise BrokerAway where Redis does not answer."""
        names = self.workers()
        with _answered(), self._redis.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.get(_KEY + name)
                pipeline.pttl(_KEY + name)
            answers = pipeline.execute()
        said = zip(names, answers[::2], answers[1::2], strict=True)
        # A word may have run out since its name was listed.
        return [
            Heard(name, **json.loads(word), seconds_ago=LOST_AFTER_SECONDS - left / 1000)
            for name, word, left in said
            if word is not None
        ]

    def server_version(self) -> str:
        """Name the version of the Redis server; raise BrokerAway where it does not answer."""
        with _answered():
            return str(self._redis.info("server")["redis_version"])

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


@contextmanager
def _answered() -> Iterator[None]:
    from redis.exceptions import RedisError  # noqa: PLC0415  # as above

    try:
        yield
    except (RedisError, OSError) as error:
        raise BrokerAway("Redis did not answer.") from error
