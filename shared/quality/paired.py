"""Compare two models on the same images: agreement of labels, difference of suspicion, and both against readers."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from shared.models.spec import Label
from shared.quality.readings import LABELS
from shared.quality.statistics import Kappa, Share, Z, cohens_kappa
from shared.tables import Image, Model, Prediction, ShadowScore

MOST_PAIRS: Final = 20_000
"""The most images that one page compares, the newest."""
BANDS: Final = 5
"""Of equal width, by the mean of both suspicions."""
_FEWEST: Final = 2


@dataclass(frozen=True)
class Pair:
    """The answers of two models for one image."""

    sha256: str
    first: float
    first_label: Label
    second: float
    second_label: Label
    """p(pneumonia) and label, each at the threshold in force at the time; the second is the shadow model's."""


@dataclass(frozen=True)
class Compared:
    """Images that both models answered, and how many only one did."""

    pairs: Sequence[Pair]
    is_cut: bool
    """There are more than were read."""
    waiting: int
    without: Mapping[str, int]
    """How many got no score from the shadow model, by code."""


def read_pairs(session: Session, shadow: str, other: str, most: int = MOST_PAIRS) -> Compared:
    """Read the newest images that a shadow model and another one both answered."""
    columns: tuple[Any, ...] = (Prediction.p_pneumonia, Prediction.label, ShadowScore.p_pneumonia, ShadowScore.label)
    both = (
        select(Image.sha256, *columns)
        .select_from(ShadowScore)
        .join(Prediction, Prediction.id == ShadowScore.prediction_id)
        .join(Model, Model.id == Prediction.model_id)
        .join(Image, Image.id == Prediction.image_id)
        .where(ShadowScore.model_name == shadow, Model.name == other, ShadowScore.label.is_not(None))
        .order_by(ShadowScore.prediction_id.desc())
        .limit(most + 1)
    )
    rows = [Pair(*row) for row in session.execute(both)]
    # One X-ray may have several answers of the same model, one for each threshold that was in force: the newest counts.
    pairs = list({pair.sha256: pair for pair in reversed(rows[:most])}.values())[::-1]
    own = ShadowScore.model_name == shadow
    waiting = session.scalar(
        select(func.count()).select_from(ShadowScore).where(own, ShadowScore.finished_at.is_(None))
    )
    codes = select(ShadowScore.error_code, func.count()).where(own, ShadowScore.error_code.is_not(None))
    without = {str(code): images for code, images in session.execute(codes.group_by(ShadowScore.error_code))}
    return Compared(pairs, len(rows) > most, waiting or 0, without)


@dataclass(frozen=True)
class Differences:
    """Differences of the second suspicion from the first (Bland and Altman 1986), each 0 to 1."""

    images: int
    mean: float
    interval: tuple[float, float]
    """Of the mean, 95 %."""
    limits: tuple[float, float]
    """Limits of agreement: 95 % of normally distributed differences lie between them."""


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of both labels."""

    table: tuple[tuple[int, int], tuple[int, int]]
    """The first model's label by row and the second's by column, in the order of LABELS."""

    @property
    def agreed(self) -> Share:
        """Return how many images get the same label from both."""
        return Share(self.table[0][0] + self.table[1][1], sum(map(sum, self.table)))

    @property
    def kappa(self) -> Kappa | None:
        """Return Cohen's kappa."""
        return cohens_kappa(self.table)


@dataclass(frozen=True)
class Judged:
    """How one model did on images whose true label readers have given."""

    sensitivity: Share
    specificity: Share


def agree_on_labels(pairs: Sequence[Pair]) -> LabelAgreement:
    """Count the labels of both."""
    counts = Counter((pair.first_label, pair.second_label) for pair in pairs)
    normal, pneumonia = ((counts[first, LABELS[0]], counts[first, LABELS[1]]) for first in LABELS)
    return LabelAgreement((normal, pneumonia))


def correlate(pairs: Sequence[Pair]) -> float | None:
    """Return Pearson's correlation of both suspicions; None where one of them does not vary."""
    n = len(pairs)
    # Checked by value: rounding leaves many equal numbers a spread, as their mean is not exactly theirs.
    if len({pair.first for pair in pairs}) < _FEWEST or len({pair.second for pair in pairs}) < _FEWEST:
        return None
    middle, beside = sum(p.first for p in pairs) / n, sum(p.second for p in pairs) / n
    spread = math.sqrt(sum((p.first - middle) ** 2 for p in pairs) * sum((p.second - beside) ** 2 for p in pairs))
    if spread == 0:
        return None
    return sum((p.first - middle) * (p.second - beside) for p in pairs) / spread


def measure_differences(pairs: Sequence[Pair]) -> Differences | None:
    """Measure how the second suspicion differs from the first; None for fewer than two images."""
    n = len(pairs)
    if n < _FEWEST:
        return None
    apart = [pair.second - pair.first for pair in pairs]
    mean = sum(apart) / n
    deviation = math.sqrt(sum((one - mean) ** 2 for one in apart) / (n - 1))
    error, half = Z * deviation / math.sqrt(n), Z * deviation
    return Differences(n, mean, (mean - error, mean + error), (mean - half, mean + half))


def measure_by_band(pairs: Sequence[Pair]) -> list[tuple[float, float, Differences | None]]:
    """Return the bounds of each band of the mean of both suspicions, and the differences in it."""
    held: dict[int, list[Pair]] = {}
    for pair in pairs:
        held.setdefault(min(int((pair.first + pair.second) / 2 * BANDS), BANDS - 1), []).append(pair)
    return [(place / BANDS, (place + 1) / BANDS, measure_differences(held.get(place, []))) for place in range(BANDS)]


def judge_both(pairs: Sequence[Pair], truth: Mapping[str, Label]) -> tuple[Judged, Judged]:
    """Judge both models on the images for which readers agree on one label, by sha256; the same images for both."""
    known = [(pair, truth[pair.sha256]) for pair in pairs if pair.sha256 in truth]
    first = [(pair.first_label, label) for pair, label in known]
    second = [(pair.second_label, label) for pair, label in known]
    return _judge(first), _judge(second)


def _judge(said: Sequence[tuple[Label, Label]]) -> Judged:
    counts = Counter(said)
    ill, well = Label.PNEUMONIA, Label.NORMAL
    return Judged(
        Share(counts[ill, ill], counts[ill, ill] + counts[well, ill]),
        Share(counts[well, well], counts[well, well] + counts[ill, well]),
    )
