"""Readers' reviews against the model's answers: agreement, and probabilities beside readers' true labels."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from shared.db import in_parts
from shared.models.calibrations import what_gives_probabilities
from shared.models.spec import Label
from shared.quality.period import Span
from shared.quality.statistics import Kappa, Share, cohens_kappa
from shared.reviews.blind import has_said
from shared.reviews.standing import standing
from shared.reviews.truth import LeftOut, label_of, truth_of
from shared.tables import Image, Model, Review, User

MOST_REVIEWS: Final = 20_000
"""The most reviews that one page reads, the newest of the period."""
LABELS: Final = (Label.NORMAL, Label.PNEUMONIA)
Said = list[Any]
"""Rows of reviews of one image."""


@dataclass(frozen=True)
class Readings:
    """The reviews of a period by image."""

    by_image: dict[str, Said]
    """All reviews, up to the end of the period, of images with a review in it."""
    is_cut: bool
    """There are more than were read."""
    first: uuid.UUID | None = None
    """The smallest id of a review in it; None for all time."""

    @property
    def images(self) -> int:
        """Return how many images have standing reviews."""
        return sum(bool(standing(said)) for said in self.by_image.values())


def read_reviews(session: Session, span: Span | None, most: int = MOST_REVIEWS, *, blind_for: User | None) -> Readings:
    """Read the newest reviews of a period, or of all time, as they stood at its end.

    Reviews of X-rays that `blind_for`, who reads blind, has not read are left out.
    """
    columns: tuple[Any, ...] = (
        *(Review.id, Review.image_sha256, Review.number, Review.user_id, Review.outcome, Review.finding),
        *(Review.is_blind, Review.model_name, Review.model_version, Review.label, Review.p_pneumonia),
    )
    query = select(*columns).order_by(Review.id.desc())
    if blind_for is not None:
        query = query.where(has_said(blind_for, Review.image_sha256))
    first, after = (None, None) if span is None else span.ids
    within = () if first is None or after is None else (Review.id >= first, Review.id < after)
    rows = session.execute(query.where(*within).limit(most + 1)).all()
    by_image: dict[str, Said] = {}
    for row in rows[:most]:
        by_image.setdefault(row.image_sha256, []).append(row)
    if first is not None:
        _add_earlier(session, query.where(Review.id < first), by_image)
    return Readings(by_image, len(rows) > most, first)


def _add_earlier(session: Session, query: Select[Any], by_image: dict[str, Said]) -> None:
    """Add earlier reviews of these images: the first day of a period may separate readers who differ."""
    images = list(by_image)
    for some in in_parts(images):
        for row in session.execute(query.where(Review.image_sha256.in_(some))):
            by_image[row.image_sha256].append(row)


@dataclass(frozen=True)
class Agreement:
    """Agreement of readers' labels with the model's, counting each reader's newest review of an image once."""

    table: tuple[tuple[int, int], tuple[int, int]]
    """Readers' label by row and the model's by column, in the order of LABELS."""
    left_out: Counter[LeftOut]

    @property
    def reviews(self) -> int:
        """Return how many reviews are compared."""
        return sum(map(sum, self.table))

    @property
    def agreed(self) -> Share:
        """Return how many agree with the model's label."""
        return Share(self.table[0][0] + self.table[1][1], self.reviews)

    @property
    def kappa(self) -> Kappa | None:
        """Return Cohen's kappa."""
        return cohens_kappa(self.table)


def compare_readers(readings: Readings, model_name: str | None = None, *, blind_alone: bool = False) -> Agreement:
    """Compare each standing review with the model's answer for the image at the time."""
    counts: Counter[tuple[Label, Label]] = Counter()
    left_out: Counter[LeftOut] = Counter()
    for said in readings.by_image.values():
        for review in standing(said):
            is_earlier = readings.first is not None and review.id < readings.first
            if is_earlier or review.label is None or not _is_meant(review, model_name):
                continue
            if blind_alone and not review.is_blind:
                continue
            label = label_of(review)
            if isinstance(label, LeftOut):
                left_out[label] += 1
            else:
                counts[label, review.label] += 1
    normal, pneumonia = ((counts[reader, LABELS[0]], counts[reader, LABELS[1]]) for reader in LABELS)
    return Agreement((normal, pneumonia), left_out)


def _is_meant(review: Any, model_name: str | None) -> bool:
    return model_name is None or review.model_name == model_name


@dataclass(frozen=True)
class Reviewed:
    """Images whose true label readers have given: p(pneumonia), and whether it is pneumonia."""

    pairs: list[tuple[float, bool]]
    left_out: Counter[LeftOut]


def reviewed_images(
    readings: Readings, model_name: str | None = None, model_versions: Collection[str] | None = None
) -> Reviewed:
    """Return the images for which readers agree on one label, with a model's newest prediction for each.

    `model_versions` are values of `ModelSpec.identity` that the prediction may come from.
    """
    pairs: list[tuple[float, bool]] = []
    left_out: Counter[LeftOut] = Counter()
    for said in readings.by_image.values():
        answered = [
            review
            for review in standing(said)
            if review.p_pneumonia is not None
            and _is_meant(review, model_name)
            and (model_versions is None or review.model_version in model_versions)
        ]
        if not answered:
            continue
        truth = truth_of(said)
        if isinstance(truth, LeftOut):
            left_out[truth] += 1
        elif truth is not None:
            pairs.append((answered[-1].p_pneumonia, truth is Label.PNEUMONIA))
    return Reviewed(pairs, left_out)


def reviewed_of_most(session: Session, readings: Readings, model_name: str | None = None) -> tuple[Reviewed, int]:
    """Return the reviewed images of the calibration that answered most of them, and how many others answered.

    Suspicions of two calibrations are on two scales; calibrations that differ only by threshold share one.
    """
    every = reviewed_images(readings, model_name)
    each = [reviewed_images(readings, model_name, alike) for alike in _alike(session, readings)]
    chosen = max(each, key=lambda some: len(some.pairs), default=every)
    return chosen, len(every.pairs) - len(chosen.pairs)


def _alike(session: Session, readings: Readings) -> list[set[str]]:
    """Group what answered the images, by `ModelSpec.identity`, into sets that give the same probabilities."""
    versions = {review.model_version for said in readings.by_image.values() for review in said}
    alike: dict[tuple[object, ...], set[str]] = {}
    for identity, spec in session.execute(select(Model.sha256, Model.spec).where(Model.sha256.in_(versions))):
        alike.setdefault(what_gives_probabilities(spec), set()).add(identity)
    unknown = versions.difference(*alike.values())
    return [*alike.values(), *({version} for version in unknown)]


@dataclass(frozen=True)
class NamedLabels:
    """The label on which readers agree for each image, whatever a model answered."""

    labels: dict[str, Label]
    """By sha256."""
    blind: int
    """Images none of whose readers had seen the model's answer."""
    left_out: Counter[LeftOut]


def name_labels(readings: Readings) -> NamedLabels:
    """Return the label of each image for which readers agree on one, and count the others by why they have none."""
    labels: dict[str, Label] = {}
    left_out: Counter[LeftOut] = Counter()
    blind = 0
    for sha256, said in readings.by_image.items():
        truth = truth_of(said)
        if isinstance(truth, LeftOut):
            left_out[truth] += 1
        elif truth is not None:
            labels[sha256] = truth
            blind += all(review.is_blind for review in standing(said))
    return NamedLabels(labels, blind, left_out)


def find_patients(session: Session, sha256s: Collection[str]) -> dict[str, str]:
    """Return the patient's pseudonym of each image, by sha256, where it is known."""
    found: dict[str, str] = {}
    for part in in_parts(sha256s):
        known = Image.sha256.in_(part), Image.patient.is_not(None)
        rows = session.execute(select(Image.sha256, Image.patient).where(*known))
        found.update({sha256: patient for sha256, patient in rows if patient is not None})
    return found


@dataclass(frozen=True)
class AtThreshold:
    """The results that a threshold would have had on reviewed images."""

    sensitivity: Share
    specificity: Share
    npv: Share
    """Share of the images below it that show no pneumonia."""
    below: Share


def judge_threshold(pairs: Sequence[tuple[float, bool]], threshold: float) -> AtThreshold:
    """Count the results that a threshold would have had on images whose true label is known."""
    table = _table(pairs, threshold)
    missed, found = table[True, False], table[True, True]
    cleared, alarms = table[False, False], table[False, True]
    return AtThreshold(
        Share(found, found + missed),
        Share(cleared, cleared + alarms),
        Share(cleared, cleared + missed),
        Share(cleared + missed, len(pairs)),
    )


def _table(pairs: Iterable[tuple[float, bool]], threshold: float) -> Counter[tuple[bool, bool]]:
    return Counter((is_ill, p >= threshold) for p, is_ill in pairs)
