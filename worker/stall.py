"""Stalls: tell what has not changed for a while, by the watcher's own monotonic clock.

Wall clocks jump and differ between machines, so a time that another process wrote says nothing of how long ago that
was. That it does not change any more does: Kubernetes elects leaders so (client-go, tools/leaderelection).
"""

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class StallWatch(Generic[K, V]):
    """Watch values that live things change."""

    def __init__(self, seconds: float, longest_look: float) -> None:
        """Call still what keeps its value for `seconds`.

        Between two looks at most `longest_look` seconds count: while the watcher could not look, because the database
        was away or its process was stopped, the watched could not write either.
        """
        self._seconds = seconds
        self._longest_look = longest_look
        self._still: dict[K, tuple[V, float]] = {}
        self._looked_at: float | None = None

    def look(self, values: Mapping[K, V], at: float) -> list[K]:
        """Take the present values, at `at` seconds of a monotonic clock, and return the keys that have been still."""
        passed = 0.0 if self._looked_at is None else min(at - self._looked_at, self._longest_look)
        self._looked_at = at
        self._still = {key: (value, self._age(key, value, passed)) for key, value in values.items()}
        return [key for key, (_, still) in self._still.items() if still >= self._seconds]

    def _age(self, key: K, value: V, passed: float) -> float:
        """Return for how many seconds a key has had this value, as far as was seen."""
        known = self._still.get(key)
        return known[1] + passed if known is not None and known[0] == value else 0.0
