"""The days and the model that quality figures cover, as given in the address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Any, Final, Self

from shared.quality.period import MOST_DAYS, Period
from web.base.paging import FilterError
from web.languages.text import N_, _, plural

USUAL_DAYS: Final = 30
CHOICES: Final = (7, USUAL_DAYS, 90)
"""Preset lengths in days."""
NAMES: Final = {"since": N_("First day"), "until": N_("Last day"), "model": N_("Model")}
_LONGEST_NAME: Final = 64


@dataclass(frozen=True)
class Selection:
    """The days that figures cover, and the model where one is named."""

    period: Period
    model: str | None = None

    @classmethod
    def from_args(cls, args: Mapping[str, str], zone: tzinfo) -> Self:
        """Parse a query string: the last USUAL_DAYS where it names no day; raise FilterError."""
        until = _day("until", args) or datetime.now(zone).date()
        try:
            since = _day("since", args) or until - timedelta(days=USUAL_DAYS - 1)
            before = Period(since, until, zone).before if since <= until else None
        except OverflowError as error:
            raise FilterError("until", _("Give a later day.")) from error
        if before is None:
            said = _(
                "Give a day that is not after the last one, %(last)s. Received: %(first)s.", last=until, first=since
            )
            raise FilterError("since", said)
        if (until - since).days >= MOST_DAYS or until == date.max:
            raise FilterError("since", _too_many(since, until))
        model = args.get("model", "").strip()
        if len(model) > _LONGEST_NAME or "\0" in model:
            raise FilterError("model", _("Give the name of a model."))
        return cls(Period(since, until, zone), model or None)

    def to_args(self) -> dict[str, Any]:
        """Return the arguments of its address."""
        days = {"since": self.period.since.isoformat(), "until": self.period.until.isoformat()}
        return {**days, "model": self.model} if self.model else days


def _day(name: str, args: Mapping[str, str]) -> date | None:
    given = args.get(name, "").strip()
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError as error:
        said = _("Give a day as YYYY-MM-DD. Received: '%(value)s'.", value=given[:20])
        raise FilterError(name, said) from error


def _too_many(since: date, until: date) -> str:
    return plural(
        MOST_DAYS,
        "Give at most %(count)s day. Received: %(first)s to %(last)s.",
        "Give at most %(count)s days. Received: %(first)s to %(last)s.",
        first=since,
        last=until,
    )
