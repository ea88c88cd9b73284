"""All figures of the quality page, counted in one transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy.orm import Session

from shared.models.exposures import read_exposure
from shared.quality.exposure import Exposures, count_exposures
from shared.quality.readings import Agreement, Reviewed, compare_readers, read_reviews, reviewed_of_most
from shared.quality.statistics import Bin, Gap, compare_counts, reliability
from shared.quality.suspicion import count_suspicion, find_answering
from shared.quality.volume import Volume, count_days
from shared.tables import User
from web.quality.selection import Selection

CHANCE: Final = 0.01
"""Below this p-value a gap is not attributed to chance alone."""
LARGE_GAP: Final = 0.10
"""From this distance on, a gap counts as drift: with thousands of images far smaller ones are significant, too."""
FEWEST: Final = 100
"""X-rays needed to compare with training images: with fewer, chance alone makes gaps of 0.16 and more."""


@dataclass(frozen=True)
class Beside:
    """The distribution of one measure of exposure, and that among the training images."""

    now: Mapping[int, int]
    training: Mapping[int, int]
    """Empty where it is unknown. Both are counts by grey level, 0 to 255."""

    @property
    def gap(self) -> Gap | None:
        """Return the outcome of the test; None where one of them is too small for it."""
        return compare_counts(self.training, self.now) if sum(self.now.values()) >= FEWEST else None

    @property
    def has_drifted(self) -> bool:
        """Tell whether the distribution differs from training by more than chance explains."""
        return _is_drift(self.gap)


@dataclass(frozen=True)
class ExposureDrift:
    """Exposure of the X-rays that one model answered, beside that of its training images."""

    found: Exposures
    others: int
    """X-rays answered by other models or other weights."""
    brightness: Beside
    contrast: Beside

    @property
    def is_training_known(self) -> bool:
        """Tell whether the exposure of the training images is known."""
        return bool(self.brightness.training)

    @property
    def can_tell(self) -> bool:
        """Tell whether the test has an outcome."""
        return self.brightness.gap is not None

    @property
    def has_drifted(self) -> bool:
        """Tell whether either measure has drifted."""
        return self.brightness.has_drifted or self.contrast.has_drifted


@dataclass(frozen=True)
class Figures:
    """The figures of one period and, for comparison, of the one before."""

    volume: Volume
    suspicion: Counter[int]
    suspicion_before: Counter[int]
    others: int
    """X-rays of the period answered by another model or calibration than most: their suspicion is not compared."""
    gap: Gap | None
    exposure: ExposureDrift | None
    """None where no X-ray has a result."""
    agreement: Agreement
    blind: Agreement
    """Of readers who had seen neither the model's answer nor another reader's."""
    reviewed: Reviewed
    """Of the calibration that answered most of them."""
    reviewed_others: int
    """Reviewed X-rays answered by another model or calibration."""
    bins: list[Bin]
    reviews_cut: bool

    @property
    def has_drifted(self) -> bool:
        """Tell whether the distribution of suspicion differs from the period before by more than chance explains."""
        return _is_drift(self.gap)


def _is_drift(gap: Gap | None) -> bool:
    return gap is not None and gap.p_value < CHANCE and gap.distance >= LARGE_GAP


def count_figures(db: Session, selection: Selection, models_dir: Path, blind_for: User | None) -> Figures:
    """Count all figures of a selection, except what is hidden from `blind_for`, who reads blind.

    The exposure of training images is read from `models_dir`.
    """
    period, model = selection.period, selection.model
    answering, others = find_answering(db, period.span, model, blind_for=blind_for)
    now, before = (count_suspicion(db, some.span, answering, blind_for=blind_for) for some in (period, period.before))
    readings = read_reviews(db, period.span, blind_for=blind_for)
    reviewed, reviewed_others = reviewed_of_most(db, readings, model)
    return Figures(
        volume=count_days(db, period, model, blind_for=blind_for),
        suspicion=now,
        suspicion_before=before,
        others=others,
        gap=compare_counts(before, now),
        exposure=_compare_exposure(count_exposures(db, period.span, model), models_dir),
        agreement=compare_readers(readings, model),
        blind=compare_readers(readings, model, blind_alone=True),
        reviewed=reviewed,
        reviewed_others=reviewed_others,
        bins=reliability(reviewed.pairs),
        reviews_cut=readings.is_cut,
    )


def _compare_exposure(every: Sequence[Exposures], models_dir: Path) -> ExposureDrift | None:
    """Compare the X-rays of the weights that answered most with the same model's training images, framed alike."""
    if not every:
        return None
    found, *others = every
    training = read_exposure(models_dir / found.model, found.weights)
    return ExposureDrift(
        found,
        others=sum(one.images + one.unknown for one in others),
        brightness=Beside(found.brightness, _by_grey(training.brightness if training else ())),
        contrast=Beside(found.contrast, _by_grey(training.contrast if training else ())),
    )


def _by_grey(counts: Sequence[int]) -> dict[int, int]:
    return dict(enumerate(counts))
