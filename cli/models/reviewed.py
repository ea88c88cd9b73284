"""This site's own reviews as labels, for `evaluate --reviewed` and `calibrate --reviewed`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from cli.actor import operating_user
from cli.database import database_refused, open_database
from cli.errors import CommandFailed
from cli.settings import read_settings
from shared.models.spec import Label, ModelSpec

if TYPE_CHECKING:
    from evaluation.labelled import LabelledImages
    from evaluation.labelled import Progress as ReportProgress
    from shared.quality.readings import NamedLabels

REVIEWED: Final = click.option(
    "--reviewed", is_flag=True, help="Take the X-rays that readers have reviewed here, in place of DIR."
)
SOURCE: Final = "reviews of this site"
"""Shown in place of a folder's name."""
MOST_REVIEWS: Final = 1_000_000
_LEFT_OUT: Final = {
    "inadequate": "technically inadequate",
    "second_reader": "waiting for a second reader",
    "other": "with another finding",
    "differ": "on which readers differ",
}


@dataclass(frozen=True)
class Reviewed:
    """Images with the labels that readers gave, and how many were left out."""

    images: "LabelledImages"
    counts: Mapping[str, Any]
    """As in the JSON, with the threshold in force here, 0 to 1."""
    own_threshold: float
    """The threshold in the model's folder, 0 to 1, at which figures are measured."""

    @property
    def said(self) -> str:
        """Describe the labels, what was left out, and any figures not at the threshold in force."""
        left = ", ".join(f"{count:,} {_LEFT_OUT[reason]}" for reason, count in self.counts["left_out"].items())
        return (
            f"Labels are what readers said of {self.counts['images']:,} X-rays, {self.counts['blind']:,} of them "
            f"without having seen the model's answer; the others favour the model. Left out: {left or 'none'}. "
            "Readers often read the most suspicious first, so these X-rays do not represent all X-rays."
            f"{self._threshold_said}"
        )

    @property
    def _threshold_said(self) -> str:
        chosen = self.counts["threshold_in_force"]
        if chosen == self.own_threshold:
            return ""
        return (
            f" Figures are at the threshold of the model's folder, {self.own_threshold:g}; in force here is "
            f"{chosen:g}, which was chosen for this calibration and ends with it."
        )


def check_source(folder: Path | None, *, reviewed: bool) -> None:
    """Raise UsageError unless exactly one source of labels is given."""
    if reviewed == (folder is not None):
        raise click.UsageError("Name a folder of labelled images, or say --reviewed, and not both.")


def read_reviews(data_dir: Path | None, spec: ModelSpec, command: str, report_progress: "ReportProgress") -> Reviewed:
    """Read every reviewed image of this site as a model sees it, and record that in the audit trail.

    Raises CommandFailed where nothing was reviewed, DataUnusable where one of the labels is missing.
    """
    from evaluation.labelled import ReviewedImage, read_reviewed
    from shared.store.store import open_store

    named, patients, threshold = _read_labels(data_dir, spec, command)
    if not named.labels:
        raise CommandFailed(
            "No review here names a label yet. Readers review X-rays on the page of each; then come back."
        )
    store = open_store(read_settings(data_dir))
    images = [
        ReviewedImage(sha256, label, partial(store.get, sha256), patients.get(sha256))
        for sha256, label in sorted(named.labels.items())
    ]
    found = read_reviewed(images, spec, report_progress)
    left_out = {str(reason): count for reason, count in sorted(named.left_out.items())}
    counts = {
        "images": len(named.labels),
        "blind": named.blind,
        "left_out": left_out,
        "threshold_in_force": threshold,
    }
    return Reviewed(found, counts, spec.threshold)


def _read_labels(
    data_dir: Path | None, spec: ModelSpec, command: str
) -> tuple["NamedLabels", Mapping[str, str], float]:
    """Return the labels, the images' patients where known, and the model's threshold in force."""
    from sqlalchemy.exc import DBAPIError

    from shared.activations.in_force import spec_in_force
    from shared.audit.record import Action, record
    from shared.quality import readings

    database = open_database(read_settings(data_dir))
    try:
        with database.write() as session:
            named = readings.name_labels(readings.read_reviews(session, None, MOST_REVIEWS, blind_for=None))
            patients = readings.find_patients(session, named.labels)
            threshold = spec_in_force(session, spec).threshold
            counts = {label.lower(): str(sum(own is label for own in named.labels.values())) for label in Label}
            detail = {"command": command, **counts}
            record(session, Action.REVIEWS_READ, user_id=None, actor=operating_user(), detail=detail)
    except DBAPIError as error:
        raise database_refused(error) from error
    finally:
        database.close()
    return named, patients, threshold
