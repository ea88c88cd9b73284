"""Throttle refused sign-ins: per account, whatever the address, and per address, whatever the account.

Counted in the database, next to the audit trail that every refusal writes to anyway: so it holds for all web processes
and while Redis is down.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from flask import current_app
from limits import RateLimitItem, parse_many
from sqlalchemy import delete
from sqlalchemy.orm import Session

from shared.db import insert_new, now
from shared.errors import PneumoScreenError
from shared.network_addresses import origin_of
from shared.settings import PREFIX
from shared.tables import SignInFailure, User
from web.base.services import services

FREE_ATTEMPTS: Final = 5
"""Refused attempts on one account without a delay; each further one doubles the delay."""
LONGEST_WAIT: Final = timedelta(minutes=5)
"""At most 288 guesses a day on one account, from all addresses together."""
FORGOTTEN_AFTER: Final = timedelta(days=1)


class LimitMalformed(PneumoScreenError):
    """Say that the setting of the limit cannot be read."""


@dataclass(frozen=True)
class Counter:
    """A key under which refused attempts are counted."""

    key: str
    limit: RateLimitItem | None = None
    """So many in so long; without a limit, the delay doubles."""

    def wait(self, row: SignInFailure, present: datetime) -> timedelta:
        """Return how long the next attempt has to wait; zero or less where it may be made now."""
        if self.limit is not None:
            until = row.since + self._window()
            return until - present if row.failures >= self.limit.amount else timedelta()
        if row.failures < FREE_ATTEMPTS or self._is_over(row, present):
            return timedelta()
        doublings = min(row.failures - FREE_ATTEMPTS, 16)  # 2 ** 16 s is far beyond the longest wait
        return row.latest_at + min(timedelta(seconds=2**doublings), LONGEST_WAIT) - present

    def count(self, row: SignInFailure, present: datetime) -> None:
        """Add a refused attempt."""
        if self._is_over(row, present):
            row.failures, row.since = 0, present
        row.failures += 1
        row.latest_at = present

    def _window(self) -> timedelta:
        return timedelta(seconds=self.limit.get_expiry()) if self.limit is not None else FORGOTTEN_AFTER

    def _is_over(self, row: SignInFailure, present: datetime) -> bool:
        start = row.since if self.limit is not None else row.latest_at
        return start + self._window() <= present


def of_account(name: str) -> list[Counter]:
    """Return the counters for the account of a name, whether it exists or not."""
    return [Counter(_key("account", name))]


def of_device(device_id: str, name: str) -> list[Counter]:
    """Return the counter for one account in a browser in which it has signed in before."""
    return [Counter(_key("device", f"{device_id} {name}"))]


def of_password_change(user: User) -> list[Counter]:
    """Return the counter for the current password as entered by a signed-in person."""
    return [Counter(_key("password change", user.id.hex))]


def of_address(kind: str, address: str | None) -> list[Counter]:
    """Return counters for one address, or network, by the setting `sign_in_limit`; each kind of attempt separately."""
    limits = read_limits(services().settings.sign_in_limit)
    return [Counter(_key(f"{kind} {limit}", origin_of(address) if address else "unknown"), limit) for limit in limits]


def read_limits(text: str) -> list[RateLimitItem]:
    """Parse limits such as `10 per minute; 100 per day`; raise LimitMalformed where there is none."""
    try:
        return list(parse_many(text))
    except ValueError as error:
        raise LimitMalformed(
            f"{PREFIX}SIGN_IN_LIMIT is read as '10 per minute; 100 per day'. Received: '{text}'"
        ) from error


def seconds_to_wait(db: Session, counters: list[Counter]) -> int:
    """Return how many whole seconds the next attempt has to wait; 0 where it may be made now."""
    present = now()
    rows = [(counter, db.get(SignInFailure, counter.key)) for counter in counters]
    waits = [counter.wait(row, present) for counter, row in rows if row is not None]
    return max(0, ceil(max(waits, default=timedelta()).total_seconds()))


def count_refusal(db: Session, counters: list[Counter]) -> None:
    """Count one refused attempt, and delete outdated counts."""
    present = now()
    db.execute(delete(SignInFailure).where(SignInFailure.latest_at <= present - FORGOTTEN_AFTER))
    for counter in sorted(counters, key=lambda counter: counter.key):  # in one order, to avoid deadlocks
        insert_new(db, SignInFailure, [{"key": counter.key, "failures": 0, "since": present, "latest_at": present}])
        row = db.get_one(SignInFailure, counter.key, with_for_update=True, populate_existing=True)
        counter.count(row, present)


def forget(db: Session, counters: list[Counter]) -> None:
    """Reset the counters after a successful attempt."""
    keys = [counter.key for counter in counters if counter.limit is None]
    db.execute(delete(SignInFailure).where(SignInFailure.key.in_(keys)))


def _key(kind: str, value: str) -> str:
    secret = str(current_app.config["SECRET_KEY"]).encode()
    return hmac.new(secret, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
