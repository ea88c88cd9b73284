"""Quality figures as tables: the same rows on the page and as CSV."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any, Final

from shared.models.spec import Label
from shared.quality.readings import LABELS
from shared.quality.statistics import Share
from shared.quality.suspicion import STEPS
from shared.quality.volume import typical_seconds
from shared.refusals import explain
from shared.spreadsheet import neutral
from shared.states import State
from web.base.suspicion import COUNTED_FLAGS
from web.frame.words import COUNTED
from web.languages.text import N_, NC_
from web.quality.figures import Beside, Figures

GROUPS: Final = 20
"""Of equal width, in which suspicion is shown."""
GREYS: Final = 256
GREY_GROUPS: Final = 16
"""Of equal width, in which brightness and contrast are shown."""
MODEL_LABELS: Final = {Label.NORMAL: N_("Model: not flagged"), Label.PNEUMONIA: N_("Model: flagged")}
READER_LABELS: Final = {Label.NORMAL: N_("Reader: no pneumonia"), Label.PNEUMONIA: N_("Reader: pneumonia")}


class Kind(StrEnum):
    """How a column's values are formatted on the page."""

    DAY = "day"
    COUNT = "count"
    PERCENT = "percent"
    SUSPICION = "suspicion"
    SECONDS = "seconds"
    TEXT = "text"
    CODE = "code"


@dataclass(frozen=True)
class Column:
    """A heading for the page, where it is translated, and the name in the CSV file."""

    heading: str
    name: str
    kind: Kind


@dataclass(frozen=True)
class Table:
    """Rows of raw values, with texts in English as in the CSV file; None for a missing value."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]


def days_table(figures: Figures) -> Table:
    """List the counts of each day."""
    columns = (
        Column(N_("Day"), "day", Kind.DAY),
        Column(N_("X-rays"), "images", Kind.COUNT),
        Column(N_("With a result"), "labelled", Kind.COUNT),
        Column(COUNTED[State.REJECTED], "refused", Kind.COUNT),
        Column(COUNTED[State.FAILED], "failed", Kind.COUNT),
        Column(COUNTED[State.CANCELLED], "cancelled", Kind.COUNT),
        Column(N_("Not ended"), "not_ended", Kind.COUNT),
    )
    rows = [
        (
            *(day.day, day.images, day.labels.total(), day.refused, day.states[State.FAILED]),
            *(day.states[State.CANCELLED], day.states[State.QUEUED] + day.states[State.RUNNING]),
        )
        for day in figures.volume.days
    ]
    return Table(N_("X-rays a day"), columns, rows)


def flagged_table(figures: Figures) -> Table:
    """List the flagged share of each day."""
    columns = (
        Column(N_("Day"), "day", Kind.DAY),
        Column(N_("With a result"), "labelled", Kind.COUNT),
        Column(COUNTED_FLAGS[Label.PNEUMONIA], "flagged", Kind.COUNT),
        *_share_columns(N_("Share"), "flagged_share"),
    )
    rows = [(day.day, day.flagged.whole, day.flagged.part, *_share(day.flagged)) for day in figures.volume.days]
    return Table(N_("Flagged share"), columns, rows)


def times_table(figures: Figures) -> Table:
    """List the time to a result of each day."""
    columns = (
        Column(N_("Day"), "day", Kind.DAY),
        Column(NC_("a number of X-rays", "Screened"), "screened", Kind.COUNT),
        Column(N_("Median"), "median_seconds", Kind.SECONDS),
        Column(N_("95 % within"), "percentile_95_seconds", Kind.SECONDS),
    )
    rows = [(day.day, day.seconds.total(), *typical_seconds(day)) for day in figures.volume.days]
    return Table(N_("Time to a result"), columns, rows)


def refusals_table(figures: Figures) -> Table:
    """List why X-rays got no result, the most frequent reason first."""
    columns = (
        Column(N_("Reason"), "reason", Kind.TEXT),
        Column(N_("Code"), "code", Kind.CODE),
        Column(N_("X-rays"), "images", Kind.COUNT),
        *_share_columns(N_("Of all sent"), "share_of_all"),
    )
    sent = figures.volume.total.images
    rows = [
        (explain(code).name, code, images, *_share(Share(images, sent)))
        for code, images in figures.volume.reasons.most_common()
    ]
    return Table(N_("Refused and failed"), columns, rows)


def agreement_table(figures: Figures) -> Table:
    """Tabulate readers' labels against the model's."""
    columns = (
        Column(N_("Reader"), "reader", Kind.TEXT),
        *(Column(MODEL_LABELS[label], f"model_{label.lower()}", Kind.COUNT) for label in LABELS),
    )
    rows = [(READER_LABELS[label], *row) for label, row in zip(LABELS, figures.agreement.table, strict=True)]
    return Table(N_("Readers and the model"), columns, rows)


def calibration_table(figures: Figures) -> Table:
    """Tabulate suspicion against the share of pneumonia, in ten bins."""
    columns = (
        Column(N_("Suspicion from"), "suspicion_from", Kind.SUSPICION),
        Column(N_("Suspicion to"), "suspicion_to", Kind.SUSPICION),
        Column(N_("X-rays"), "images", Kind.COUNT),
        Column(N_("Mean suspicion"), "mean_p_pneumonia", Kind.SUSPICION),
        Column(N_("Pneumonia"), "pneumonia", Kind.COUNT),
        *_share_columns(N_("Share"), "pneumonia_share"),
    )
    rows = [
        (one.low, one.high, one.observed.whole, one.predicted, one.observed.part, *_share(one.observed))
        for one in figures.bins
    ]
    return Table(N_("Calibration on reviewed X-rays"), columns, rows)


def suspicion_table(figures: Figures) -> Table:
    """Tabulate the suspicion of the period against that of the period before."""
    columns = (
        Column(N_("Suspicion from"), "suspicion_from", Kind.SUSPICION),
        Column(N_("Suspicion to"), "suspicion_to", Kind.SUSPICION),
        Column(N_("This period"), "images", Kind.COUNT),
        Column(N_("Share"), "share", Kind.PERCENT),
        Column(N_("Previous period"), "images_before", Kind.COUNT),
        Column(N_("Share in the previous period"), "share_before", Kind.PERCENT),
    )
    now, before = group(figures.suspicion), group(figures.suspicion_before)
    rows = [(n / GROUPS, (n + 1) / GROUPS, now[n], _part(now, n), before[n], _part(before, n)) for n in range(GROUPS)]
    return Table(N_("Suspicion"), columns, rows)


def brightness_table(figures: Figures) -> Table:
    """Tabulate the brightness of the period against that of the training images."""
    columns = (
        Column(N_("Brightness from"), "brightness_from", Kind.COUNT),
        Column(N_("Brightness to"), "brightness_to", Kind.COUNT),
    )
    return _exposure_table(N_("Brightness"), columns, figures.exposure.brightness if figures.exposure else None)


def contrast_table(figures: Figures) -> Table:
    """Tabulate the contrast of the period against that of the training images."""
    columns = (
        Column(N_("Contrast from"), "contrast_from", Kind.COUNT),
        Column(N_("Contrast to"), "contrast_to", Kind.COUNT),
    )
    return _exposure_table(N_("Contrast"), columns, figures.exposure.contrast if figures.exposure else None)


def _exposure_table(title: str, greys: Sequence[Column], beside: Beside | None) -> Table:
    columns = (
        *greys,
        Column(N_("This period"), "images", Kind.COUNT),
        Column(N_("Share"), "share", Kind.PERCENT),
        Column(N_("Training images"), "training_images", Kind.COUNT),
        Column(N_("Share in training"), "training_share", Kind.PERCENT),
    )
    now, training = group_greys(beside.now if beside else {}), group_greys(beside.training if beside else {})
    width = GREYS // GREY_GROUPS
    rows = [
        (n * width, (n + 1) * width - 1, now[n], _part(now, n), training[n], _part(training, n))
        for n in range(GREY_GROUPS)
    ]
    return Table(title, columns, rows)


def group_greys(counts: Mapping[int, int]) -> list[int]:
    """Sum counts by grey level into GREY_GROUPS of equal width."""
    groups = [0] * GREY_GROUPS
    for grey, images in counts.items():
        groups[grey * GREY_GROUPS // GREYS] += images
    return groups


def group(counts: dict[int, int]) -> list[int]:
    """Sum counts by step into GROUPS of equal width."""
    groups = [0] * GROUPS
    for step, images in counts.items():
        groups[min(step * GROUPS // STEPS, GROUPS - 1)] += images
    return groups


def _part(groups: Sequence[int], place: int) -> float | None:
    return Share(groups[place], sum(groups)).value


def _share_columns(heading: str, name: str) -> tuple[Column, Column, Column]:
    return (
        Column(heading, name, Kind.PERCENT),
        Column(N_("95 % from"), f"{name}_low", Kind.PERCENT),
        Column(N_("95 % to"), f"{name}_high", Kind.PERCENT),
    )


def _share(share: Share) -> tuple[float | None, float | None, float | None]:
    return (share.value, *(share.interval if share.whole else (None, None)))


TABLES: Final[dict[str, Callable[[Figures], Table]]] = {
    "days": days_table,
    "flagged": flagged_table,
    "times": times_table,
    "refusals": refusals_table,
    "agreement": agreement_table,
    "calibration": calibration_table,
    "suspicion": suspicion_table,
    "brightness": brightness_table,
    "contrast": contrast_table,
}
"""By their names in addresses."""


def write_csv(table: Table) -> str:
    """Write a table as CSV."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([column.name for column in table.columns])
    writer.writerows([[_cell(value) for value in row] for row in table.rows])
    return out.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat() if isinstance(value, date) else neutral(str(value))
