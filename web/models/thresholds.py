"""The effect of thresholds: by held-out figures, by the last month's probabilities, and by this site's reviews."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from sqlalchemy.orm import Session

from shared.db import now
from shared.models.calibrations import gives_same_probabilities
from shared.models.spec import ModelSpec
from shared.quality.period import Span
from shared.quality.readings import AtThreshold, Reviewed, judge_threshold, read_reviews, reviewed_images
from shared.quality.statistics import Share, predictive_values
from shared.quality.suspicion import count_a_day, count_flags
from shared.tables import Model
from web.base.blind import blind_reader
from web.base.concurrency import Turns
from web.base.paging import FilterError
from web.languages.text import N_, _, decimal
from web.models.figures import Called, HeldOut

MONTH: Final = 30
GRID: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""As in `pneumoscreen evaluate`: fine at both ends, where screening thresholds lie."""
USUAL_PREVALENCE: Final = 0.1
DECIMALS: Final = 6
"""Of a threshold, 0 to 1; a model's own has four."""
_AT_ONCE: Final = 2
counting: Final = Turns(_AT_ONCE, 10, N_("Figures of other models are being calculated."))
"""Each may read a million rows; others wait ten seconds for their turn."""
NAMES: Final = {"threshold": N_("Threshold"), "prevalence": N_("Prevalence"), "figures": N_("Held-out images")}


@dataclass(frozen=True)
class Tried:
    """A threshold and a prevalence to try, 0 to 1."""

    threshold: float | None = None
    prevalence: float = USUAL_PREVALENCE
    figures: str | None = None
    """Name of a set of held-out images."""

    @classmethod
    def from_args(cls, args: Mapping[str, str], sets: Sequence[HeldOut]) -> Self:
        """Parse it from a query string, in numbers from 0 to 100; raise FilterError."""
        names = [some.name for some in sets]
        figures = args.get("figures", "").strip() or None
        if figures is not None and figures not in names:
            said = _("Give one of: %(names)s.", names=", ".join(names)) if names else _("There are no held-out images.")
            raise FilterError("figures", said)
        prevalence = read_hundredth("prevalence", args)
        return cls(read_hundredth("threshold", args), USUAL_PREVALENCE if prevalence is None else prevalence, figures)


def read_hundredth(name: str, args: Mapping[str, str]) -> float | None:
    """Parse a number from 0 to 100 as one from 0 to 1; None where none is given. Raises FilterError."""
    given = args.get(name, "").strip()
    if not given:
        return None
    try:
        value = round(float(given) / 100, DECIMALS)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise FilterError(name, _("Give a number above 0 and below 100. Received: '%(value)s'.", value=given[:20]))
    return value


def of_100(value: float) -> str:
    """Format a number from 0 to 1 as one from 0 to 100, with at most two decimals."""
    shown = f"{round(value * 100, 2):g}"
    return decimal(float(shown), len(shown.partition(".")[2]))


@dataclass(frozen=True)
class Row:
    """One threshold."""

    threshold: float
    is_own: bool
    is_tried: bool
    called: Called | None
    """On the held-out images; None where that was not measured."""
    ppv: float | None
    npv: float | None
    flagged: Share
    """Among the last month's images."""
    here: AtThreshold
    """On this site's reviews."""

    @property
    def below(self) -> Share:
        """Return the share of the last month's images below it."""
        return Share(self.flagged.whole - self.flagged.part, self.flagged.whole)


@dataclass(frozen=True)
class Thresholds:
    """Rows by rising threshold, and the numbers behind them."""

    rows: Sequence[Row]
    reviewed: Reviewed
    images: int
    """With a probability of this model in the last month."""
    images_a_day: float
    """With a result of any model, in the last month or since the first image."""

    @property
    def own(self) -> Row:
        """Return the row of the threshold in force."""
        return next(row for row in self.rows if row.is_own)

    @property
    def tried(self) -> Row | None:
        """Return the row of the threshold to try."""
        return next((row for row in self.rows if row.is_tried), None)

    @property
    def rule_out(self) -> list[Row]:
        """Return the thresholds up to the model's own, below which an image might be ruled out."""
        return [row for row in self.rows if row.threshold <= self.own.threshold]


def try_thresholds(
    db: Session, spec: ModelSpec, used: Sequence[Model], held: HeldOut | None, tried: Tried
) -> Thresholds:
    """Compute the effect of thresholds; nothing is predicted again and nothing is changed.

    For a blind reader, X-rays whose result is hidden are not counted.
    """
    wanted = sorted({*GRID, spec.threshold, *(() if tried.threshold is None else (tried.threshold,))})
    # Probabilities do not depend on the threshold, so those given under an earlier one count, too.
    same = [model for model in used if model.sha256 == spec.identity or gives_same_probabilities(spec, model.spec)]
    end = now()
    month, blind_for = Span(end - timedelta(days=MONTH), end + timedelta(minutes=1)), blind_reader()
    flags = count_flags(db, month, [model.id for model in same], wanted, blind_for=blind_for)
    readings = read_reviews(db, None, blind_for=blind_for)
    reviewed = reviewed_images(readings, spec.name, {spec.identity, *(model.sha256 for model in same)})
    rows = []
    for threshold in wanted:
        called = held.thresholds.get(threshold) if held else None
        ppv, npv = _predictive_values(called, tried.prevalence)
        rows.append(
            Row(
                threshold=threshold,
                is_own=threshold == spec.threshold,
                is_tried=threshold == tried.threshold,
                called=called,
                ppv=ppv,
                npv=npv,
                flagged=Share(flags.flagged[threshold], flags.images),
                here=judge_threshold(reviewed.pairs, threshold),
            )
        )
    return Thresholds(rows, reviewed, flags.images, count_a_day(db, month, blind_for=blind_for))


def _predictive_values(called: Called | None, prevalence: float) -> tuple[float | None, float | None]:
    return (None, None) if called is None else predictive_values(called.sensitivity, called.specificity, prevalence)
