"""Charts drawn on the server: where each bar, line and point lies, in per cent of a frame that is as wide as its page.

Labels are text beside the drawing, so that they keep their size on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from shared.quality.statistics import Bin
from shared.quality.volume import Volume, typical_seconds
from web.base.numbers import count, duration, percent, share
from web.quality.figures import Figures
from web.quality.tables import group

_GAP: Final = 0.2
"""Between two bars, of the room of one."""


@dataclass(frozen=True)
class Bar:
    """A bar from the ground up; all but `kind` in per cent."""

    kind: str
    x: str
    width: str
    y: str
    height: str


@dataclass(frozen=True)
class Line:
    """A straight line, in per cent."""

    kind: str
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True)
class Point:
    """A point, in per cent."""

    kind: str
    x: str
    y: str


@dataclass(frozen=True)
class Chart:
    """One drawing, what stands beside and below it, and its legend by kind."""

    said: str
    """What it shows, for those who do not see it; the table below has the numbers."""
    heights: Sequence[str]
    """At the side: the top, the middle and the ground."""
    widths: Sequence[str]
    """Below, from left to right."""
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    points: Sequence[Point] = ()
    legend: dict[str, str] = field(default_factory=dict)


def draw_days(volume: Volume) -> Chart:
    """Draw the images of each day: those with a label, and on them those without."""
    days = volume.days
    top = _round_up(max((day.images for day in days), default=0))
    bars: list[Bar] = []
    for place, day in enumerate(days):
        labelled = day.labels.total() / top
        bars.append(_bar("first", place, len(days), low=0, high=labelled))
        bars.append(_bar("rest", place, len(days), low=labelled, high=day.images / top))
    said = f"X-rays sent on each of {len(days)} days, at most {max((day.images for day in days), default=0):,}"
    legend = {"first": "With a result", "rest": "Without"}
    return Chart(said, _counts(top), _days(volume), [bar for bar in bars if bar.height != share(0)], legend=legend)


def draw_flagged(volume: Volume) -> Chart:
    """Draw the flagged share of each day with its interval."""
    points, lines = [], []
    for place, day in enumerate(volume.days):
        if (value := day.flagged.value) is not None:
            x = (place + 0.5) / len(volume.days)
            low, high = day.flagged.interval
            points.append(Point("first", share(x), share(1 - value)))
            lines.append(Line("interval", share(x), share(1 - high), share(x), share(1 - low)))
    said = f"Share of X-rays flagged on each of {len(volume.days)} days, with its 95 % interval"
    return Chart(said, ("100%", "50%", "0%"), _days(volume), lines=lines, points=points)


def draw_times(volume: Volume) -> Chart:
    """Draw the median and the 95th percentile of the time to a result of each day."""
    typical = [typical_seconds(day) for day in volume.days]
    top = _round_up_seconds(max((late for _, late in typical if late is not None), default=0.0))
    points: list[Point] = []
    for place, both in enumerate(typical):
        x = share((place + 0.5) / len(typical))
        kinds = zip(("second", "first"), reversed(both), strict=True)
        points += [Point(kind, x, share(1 - value / top)) for kind, value in kinds if value is not None]
    said = f"Time from sent to a result on each of {len(typical)} days: the median, and what 95 % stay within"
    heights = (_seconds(top), _seconds(top / 2), "0 s")
    return Chart(said, heights, _days(volume), points=points, legend={"first": "Median", "second": "95 % within"})


def draw_calibration(bins: Sequence[Bin]) -> Chart:
    """Draw the share of pneumonia against suspicion; on the diagonal both are the same."""
    lines = [Line("diagonal", share(0), share(1), share(1), share(0))]
    points = []
    for one in bins:
        low, high = one.observed.interval
        x = share(one.predicted)
        lines.append(Line("interval", x, share(1 - high), x, share(1 - low)))
        points.append(Point("first", x, share(1 - (one.observed.value or 0))))
    said = "Share of pneumonia among reviewed X-rays by their suspicion, with 95 % intervals; the diagonal is perfect"
    legend = {"first": "X-rays of like suspicion", "diagonal": "As it should be"}
    widths = ("Suspicion 0", "50", "100")
    return Chart(said, ("100%", "50%", "0%"), widths, lines=lines, points=points, legend=legend)


def draw_suspicion(figures: Figures) -> Chart:
    """Draw how suspicion is distributed beside how it was before."""
    now, before = group(figures.suspicion), group(figures.suspicion_before)
    parts = [[images / max(1, sum(groups)) for images in groups] for groups in (now, before)]
    top = _round_up_share(max(map(max, parts)))
    bars = [
        _bar(kind, place + half / 2, len(now), low=0, high=some[place] / top, width=0.5 - _GAP / 2)
        for place in range(len(now))
        for half, (kind, some) in enumerate(zip(("second", "first"), reversed(parts), strict=True))
    ]
    heights = (percent(top), percent(top / 2), "0%")
    legend = {"first": "These days", "second": "The days before"}
    said = "Share of X-rays by suspicion, in these days and in as many days before"
    return Chart(said, heights, ("Suspicion 0", "50", "100"), bars, legend=legend)


def _bar(kind: str, place: float, places: int, *, low: float, high: float, width: float = 1 - _GAP) -> Bar:
    room = 1 / places
    x = (place + _GAP / 2) * room
    return Bar(kind, share(x), share(room * width), share(1 - high), share(high - low))


def _days(volume: Volume) -> tuple[str, ...]:
    days = [day.day for day in volume.days]
    shown = [days[0], days[len(days) // 2], days[-1]] if len(days) > 2 else days
    return tuple(f"{day.day} {day:%b}" for day in shown)


def _counts(top: float) -> tuple[str, str, str]:
    return count(round(top)), count(round(top / 2)), "0"


def _round_up(value: float) -> float:
    """Return the next of 2, 4, 6, 8, 10, 20, 40 and so on: its half is whole."""
    size = 10 ** math.floor(math.log10(max(value, 1)))
    return float(next(step * size for step in (2, 4, 6, 8, 10, 20) if step * size >= value))


def _round_up_share(value: float) -> float:
    return next(step for step in (0.1, 0.2, 0.4, 1.0) if step >= value)


def _round_up_seconds(value: float) -> float:
    steps = (1, 2, 4, 10, 20, 60, 120, 240, 600, 1200, 3600)
    return float(next((step for step in steps if step >= value), 3600 * _round_up(value / 3600)))


def _seconds(value: float) -> str:
    return duration(value) if value >= 1 else f"{value:g} s"
