"""Charts drawn on the server: positions of bars, lines and points in per cent of a frame as wide as its page.

Labels are text next to the drawing, so that they keep their size on a phone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from babel.numbers import format_percent
from flask_babel import get_locale

from shared.quality.statistics import Bin
from shared.quality.volume import Volume, typical_seconds
from web.base.days import short_day
from web.base.numbers import count, duration, percent, share
from web.languages.text import _, decimal, plural
from web.quality.figures import Beside, Figures
from web.quality.tables import group, group_greys

_GAP: Final = 0.2
"""Gap between two bars, as a share of a bar's room."""


@dataclass(frozen=True)
class Bar:
    """A bar from the baseline up; all but `kind` in per cent."""

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
    """One drawing, its axis labels, and its legend by kind."""

    said: str
    """Text alternative; the table below has the numbers."""
    heights: Sequence[str]
    """Labels at the side: top, middle and baseline."""
    widths: Sequence[str]
    """Labels below, from left to right."""
    bars: Sequence[Bar] = ()
    lines: Sequence[Line] = ()
    points: Sequence[Point] = ()
    legend: dict[str, str] = field(default_factory=dict)


def draw_days(volume: Volume) -> Chart:
    """Draw the images of each day: those with a label, and stacked on them those without."""
    days = volume.days
    top = _round_up(max((day.images for day in days), default=0))
    bars: list[Bar] = []
    for place, day in enumerate(days):
        labelled = day.labels.total() / top
        bars.append(_bar("first", place, len(days), low=0, high=labelled))
        bars.append(_bar("rest", place, len(days), low=labelled, high=day.images / top))
    said = plural(
        len(days),
        "X-rays sent on %(count)s day, at most %(most)s",
        "X-rays sent on each of %(count)s days, at most %(most)s",
        most=count(max((day.images for day in days), default=0)),
    )
    legend = {"first": _("With a result"), "rest": _("Without a result")}
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
    said = plural(
        len(volume.days),
        "Share of X-rays flagged on %(count)s day, with its 95 %% interval",
        "Share of X-rays flagged on each of %(count)s days, with its 95 %% interval",
    )
    return Chart(said, _percents(), _days(volume), lines=lines, points=points)


def draw_times(volume: Volume) -> Chart:
    """Draw each day's median and 95th percentile of the time to a result."""
    typical = [typical_seconds(day) for day in volume.days]
    top = _round_up_seconds(max((late for _, late in typical if late is not None), default=0.0))
    points: list[Point] = []
    for place, both in enumerate(typical):
        x = share((place + 0.5) / len(typical))
        kinds = zip(("second", "first"), reversed(both), strict=True)
        points += [Point(kind, x, share(1 - value / top)) for kind, value in kinds if value is not None]
    said = plural(
        len(typical),
        "Time from sent to a result on %(count)s day: the median, and what 95 %% stay within",
        "Time from sent to a result on each of %(count)s days: the median, and what 95 %% stay within",
    )
    heights = (_seconds(top), _seconds(top / 2), _seconds(0))
    legend = {"first": _("Median"), "second": _("95 % within")}
    return Chart(said, heights, _days(volume), points=points, legend=legend)


def draw_calibration(bins: Sequence[Bin]) -> Chart:
    """Draw the share of pneumonia against suspicion; on the diagonal both are equal."""
    lines = [Line("diagonal", share(0), share(1), share(1), share(0))]
    points = []
    for one in bins:
        low, high = one.observed.interval
        x = share(one.predicted)
        lines.append(Line("interval", x, share(1 - high), x, share(1 - low)))
        points.append(Point("first", x, share(1 - (one.observed.value or 0))))
    said = _(
        "Share of pneumonia among reviewed X-rays by their suspicion, with 95 % intervals; the diagonal is perfect"
    )
    legend = {"first": _("X-rays of similar suspicion"), "diagonal": _("Perfect calibration")}
    return Chart(said, _percents(), _suspicions(), lines=lines, points=points, legend=legend)


def draw_suspicion(figures: Figures) -> Chart:
    """Draw the distribution of suspicion beside that of the period before."""
    now, before = group(figures.suspicion), group(figures.suspicion_before)
    legend = {"second": _("Previous period"), "first": _("This period")}
    said = _("Share of X-rays by suspicion, in this period and in the one before")
    return _draw_beside(now, before, said, legend, _suspicions())


def draw_brightness(beside: Beside) -> Chart:
    """Draw the distribution of brightness beside that of the training images."""
    said = _("Share of X-rays by brightness, in this period and among the training images")
    # Translators: the beginning of an axis that goes on with 128 and 255.
    return _draw_exposure(beside, said, (_("Brightness 0"), count(128), count(255)))


def draw_contrast(beside: Beside) -> Chart:
    """Draw the distribution of contrast beside that of the training images."""
    said = _("Share of X-rays by contrast, in this period and among the training images")
    # Translators: the beginning of an axis that goes on with 128 and 255.
    return _draw_exposure(beside, said, (_("Contrast 0"), count(128), count(255)))


def _draw_exposure(beside: Beside, said: str, widths: Sequence[str]) -> Chart:
    legend = {**({"second": _("Training images")} if beside.training else {}), "first": _("This period")}
    return _draw_beside(group_greys(beside.now), group_greys(beside.training), said, legend, widths)


def _draw_beside(
    now: Sequence[int], other: Sequence[int], said: str, legend: dict[str, str], widths: Sequence[str]
) -> Chart:
    """Draw the shares of two sets of counts as pairs of bars, this period on the right."""
    parts = [[images / max(1, sum(groups)) for images in groups] for groups in (now, other)]
    top = _round_up_share(max(map(max, parts)))
    width = (1 - _GAP) / 2
    bars = [
        _bar(kind, place + half * width, len(now), low=0, high=some[place] / top, width=width)
        for place in range(len(now))
        for half, (kind, some) in enumerate(zip(("second", "first"), reversed(parts), strict=True))
    ]
    heights = (percent(top), percent(top / 2), _whole_percent(0))
    return Chart(said, heights, widths, bars, legend=legend)


def _bar(kind: str, place: float, places: int, *, low: float, high: float, width: float = 1 - _GAP) -> Bar:
    room = 1 / places
    x = (place + _GAP / 2) * room
    return Bar(kind, share(x), share(room * width), share(1 - high), share(high - low))


def _days(volume: Volume) -> tuple[str, ...]:
    days = [day.day for day in volume.days]
    shown = [days[0], days[len(days) // 2], days[-1]] if len(days) > 2 else days
    return tuple(short_day(day) for day in shown)


def _suspicions() -> tuple[str, str, str]:
    # Translators: the beginning of an axis that goes on with 50 and 100.
    return _("Suspicion 0"), count(50), count(100)


def _percents() -> tuple[str, str, str]:
    return _whole_percent(1), _whole_percent(0.5), _whole_percent(0)


def _whole_percent(value: float) -> str:
    return format_percent(value, locale=get_locale() or "en")


def _counts(top: float) -> tuple[str, str, str]:
    return count(round(top)), count(round(top / 2)), count(0)


def _round_up(value: float) -> float:
    """Round up to the next of 2, 4, 6, 8, 10, 20, 40 and so on, half of which is whole."""
    size = 10 ** math.floor(math.log10(max(value, 1)))
    return float(next(step * size for step in (2, 4, 6, 8, 10, 20) if step * size >= value))


def _round_up_share(value: float) -> float:
    return next(step for step in (0.1, 0.2, 0.4, 1.0) if step >= value)


def _round_up_seconds(value: float) -> float:
    steps = (1, 2, 4, 10, 20, 60, 120, 240, 600, 1200, 3600)
    return float(next((step for step in steps if step >= value), 3600 * _round_up(value / 3600)))


def _seconds(value: float) -> str:
    if value in {0, 0.5}:  # half of a second, the middle of the shortest axis
        return _("%(seconds)s s", seconds=decimal(value, 1 if value else 0))
    return duration(value)
