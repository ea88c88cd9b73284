"""Storage of upload rate limits: that of `limits` in Redis, loaded with the first counted request."""

from functools import cached_property
from typing import Any, Final, cast

from limits.storage import Storage, storage_from_string

from shared.queue.broker import Broker

_LATER: Final = "later+"


def counted_in(broker: Broker) -> str:
    """Return the address of the storage for Flask-Limiter."""
    return _LATER + broker.limits_address()


class RedisLater(Storage):
    """The storage of `limits` for Redis, created on first use: the client takes a tenth of the web's startup."""

    STORAGE_SCHEME = [_LATER + scheme for scheme in ("redis", "rediss", "redis+unix", "redis+sentinel")]  # noqa: RUF012  # as limits reads it

    def __init__(self, uri: str, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        self._uri, self._options = uri.removeprefix(_LATER), options

    @cached_property
    def _redis(self) -> Storage:
        return cast("Storage", storage_from_string(self._uri, **self._options))

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Return the exceptions that Redis raises."""
        return self._redis.base_exceptions

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count a request; `expiry` in seconds."""
        return self._redis.incr(key, expiry, amount)

    def get(self, key: str) -> int:
        """Return a count."""
        return self._redis.get(key)

    def get_expiry(self, key: str) -> float:
        """Return when a count expires, in seconds of Unix time."""
        return self._redis.get_expiry(key)

    def check(self) -> bool:
        """Tell whether Redis answers."""
        return self._redis.check()

    def reset(self) -> int | None:
        """Delete all counts."""
        return self._redis.reset()

    def clear(self, key: str) -> None:
        """Delete one count."""
        self._redis.clear(key)
