"""Presence: workers that have a network loaded say so on Redis, so that pages can tell "no worker" from "busy"."""

from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from shared.errors import BrokerAway
from shared.settings import Settings

BEAT_SECONDS: Final = 4.0
LOST_AFTER_SECONDS: Final = 15
_KEY: Final = "pneumoscreen:worker:"


class Presence:
    """Read and write who is at work. Nothing depends on it but what people are told."""

    def __init__(self, settings: Settings) -> None:
        self._redis = Redis.from_url(
            settings.redis_url.get_secret_value(), socket_connect_timeout=1, socket_timeout=2, decode_responses=True
        )

    def announce(self, worker: str) -> None:
        """Say that a worker is ready, for the next LOST_AFTER_SECONDS; raise BrokerAway where Redis does not answer."""
        try:
            self._redis.set(_KEY + worker, "ready", ex=LOST_AFTER_SECONDS)
        except (RedisError, OSError) as error:
            raise BrokerAway("Redis did not answer.") from error

    def leave(self, worker: str) -> None:
        """Take a worker's word back; raise BrokerAway where Redis does not answer."""
        try:
            self._redis.delete(_KEY + worker)
        except (RedisError, OSError) as error:
            raise BrokerAway("Redis did not answer.") from error

    def workers(self) -> list[str]:
        """Name the workers that are ready; raise BrokerAway where Redis does not answer."""
        try:
            return sorted(key.removeprefix(_KEY) for key in self._redis.scan_iter(match=_KEY + "*", count=1000))
        except (RedisError, OSError) as error:
            raise BrokerAway("Redis did not answer.") from error

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()
