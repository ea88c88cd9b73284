"""Detect stalls: values that have not changed for a while, by the watcher's own monotonic clock.

Wall clocks jump and differ between machines, so a timestamp written by another process does not tell its age. That it
stops changing does: Kubernetes elects leaders this way (client-go, tools/leaderelection).
"""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class StallWatch(Generic[K, V]):
    """Watch values that live processes keep changing."""

    def __init__(self, seconds: float, longest_look: float) -> None:
        """Treat a key as stalled once it keeps its value for `seconds`.

        Between two looks at most `longest_look` seconds count: while the watcher could not look, because the database
        was unavailable or its process was stopped, the watched processes could not write either.
        """
        self._seconds = seconds
        self._longest_look = longest_look
        self._still: dict[K, tuple[V, float]] = {}
        self._looked_at: float | None = None

    def look(self, values: Mapping[K, V], at: float) -> list[K]:
        """Record the current values at `at` seconds of a monotonic clock; return the keys that have stalled."""
        passed = 0.0 if self._looked_at is None else min(at - self._looked_at, self._longest_look)
        self._looked_at = at
        self._still = {key: (value, self._age(key, value, passed)) for key, value in values.items()}
        return [key for key, (_, still) in self._still.items() if still >= self._seconds]

    def _age(self, key: K, value: V, passed: float) -> float:
        """Return for how many observed seconds a key has had this value."""
        known = self._still.get(key)
        return known[1] + passed if known is not None and known[0] == value else 0.0
