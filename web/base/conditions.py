"""The words for how everything stands: one vocabulary for /readyz, metrics, pages and docs."""

from enum import StrEnum
from typing import Final


class Condition(StrEnum):
    """How a part stands; the value is the word in /readyz, metrics, pages and docs."""

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
        """Return the id under which the status page explains it, which ends the type of a problem (RFC 9457)."""
        return self.value.replace(" ", "-")


class Check(StrEnum):
    """What is looked at."""

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
"""Without these nothing can be kept, nor shown."""
