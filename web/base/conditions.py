"""The vocabulary of health: one set of words for /readyz, metrics, pages and docs."""

from enum import StrEnum
from typing import Final


class Condition(StrEnum):
    """The condition of a part; the value is the word in /readyz, metrics, pages and docs."""

    OK = "ok"
    IDLE = "idle"
    UNKNOWN = "unknown"
    QUEUE_FULL = "queue full"
    BROKER_AWAY = "broker away"
    NO_MODEL = "no model"
    NO_WORKER = "no worker"
    MODEL_NOT_SERVED = "model not served"
    NO_PROGRESS = "no progress"
    DISK_LOW = "disk low"
    STORE_AWAY = "store away"
    DATABASE_AWAY = "database away"

    @property
    def anchor(self) -> str:
        """Return its id on the status page, also the fragment of a problem's type (RFC 9457)."""
        return self.value.replace(" ", "-")


class Check(StrEnum):
    """The parts that are checked."""

    DATABASE = "database"
    STORE = "store"
    DISK = "disk"
    QUEUE = "queue"
    BROKER = "broker"
    MODEL = "model"
    WORKERS = "workers"
    SCREENING = "screening"


GOOD: Final = frozenset({Condition.OK, Condition.IDLE})
SHUT: Final = frozenset({Condition.DATABASE_AWAY, Condition.STORE_AWAY})
"""Without these nothing can be stored or shown."""
