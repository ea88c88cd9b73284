"""All figures of the quality page, counted in one transaction."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from shared.quality.readings import Agreement, Reviewed, compare_readers, read_reviews, reviewed_images
from shared.quality.statistics import Bin, Gap, compare_counts, reliability
from shared.quality.suspicion import count_suspicion
from shared.quality.volume import Volume, count_days
from web.quality.asked import Asked

CHANCE: Final = 0.01
"""Below this p-value chance alone is not taken for the reason of a gap."""
LARGE_GAP: Final = 0.10
"""From this distance on a gap is called drift: with thousands of images far smaller ones are not by chance either."""


@dataclass(frozen=True)
class Figures:
    """What the page shows of one period and, for comparison, of the one before."""

    volume: Volume
    suspicion: Counter[int]
    suspicion_before: Counter[int]
    gap: Gap | None
    agreement: Agreement
    blind: Agreement
    """Of readers who had seen neither the model's answer nor another's."""
    reviewed: Reviewed
    bins: list[Bin]
    reviews_cut: bool

    @property
    def has_drifted(self) -> bool:
        """Tell whether suspicion is distributed otherwise than before, by what chance does not make."""
        return self.gap is not None and self.gap.p_value < CHANCE and self.gap.distance >= LARGE_GAP


def count_figures(db: Session, asked: Asked) -> Figures:
    """Count everything that is asked for."""
    period, model = asked.period, asked.model
    now, before = (count_suspicion(db, some.span, model) for some in (period, period.before))
    readings = read_reviews(db, period.span)
    reviewed = reviewed_images(readings, model)
    return Figures(
        volume=count_days(db, period, model),
        suspicion=now,
        suspicion_before=before,
        gap=compare_counts(before, now),
        agreement=compare_readers(readings, model),
        blind=compare_readers(readings, model, blind_alone=True),
        reviewed=reviewed,
        bins=reliability(reviewed.pairs),
        reviews_cut=readings.is_cut,
    )
