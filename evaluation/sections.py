"""The sections of the HTML report, each built from the assessment."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

import numpy as np

from evaluation.assessment import FIGURES, Assessment
from evaluation.markup import image_uri, paragraph, plot, table, terms, text
from evaluation.metrics import RESAMPLES
from evaluation.operating_points import operating_points, short_thresholds
from evaluation.plots import (
    DARK,
    Draw,
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_roc,
    draw_scores,
    draw_training,
    render,
)
from shared.models.spec import Label

LIMITS: Final = "Decision support, not a diagnosis."
WORST: Final = 12
"""Images shown of each kind of error."""

_HEADLINE: Final = ("recall", "specificity", "auc", "accuracy", "ece")
_COUNTS: Final = ("true_positive", "false_positive", "false_negative", "true_negative")

Parts = tuple[str, ...]
"""HTML in order; empty where there is nothing to show."""


def counted(images: dict[str, int]) -> str:
    """Return the number of images of each class as text."""
    return f"{images[Label.NORMAL]:,} normal and {images[Label.PNEUMONIA]:,} pneumonia images"


def date(figures: dict[str, Any]) -> str:
    """Return the date of the figures as text."""
    return f"{datetime.fromisoformat(figures['evaluated_at']):%Y-%m-%d %H:%M} UTC"


def headline(figures: dict[str, Any]) -> str:
    """Return the key figures, in large type."""
    titles = {key: title for key, title, _ in FIGURES}
    cards = (
        f"<div>{text(titles[key])}<b>{figures[key]:.4f}</b><small>{_span(figures['intervals_95'][key])}</small></div>"
        for key in _HEADLINE
    )
    return f'<div class="headline">{"".join(cards)}</div>'


def _span(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def about(assessment: Assessment) -> Parts:
    """Say what was measured, by which model, when and where."""
    figures, spec = assessment.figures, assessment.spec
    rows = [
        ("Model", f"{figures['model']}: {spec.description}"),
        ("Threshold", f"{spec.threshold:g}. {spec.threshold_rule}"),
        ("Made for", spec.intended_population),
        ("Trained on", spec.training_data),
        ("Folder", figures["folder"]),
        ("Images", f"{counted(figures['images'])}; {len(figures['refused']):,} files got no label"),
        ("Computed by", figures["backend"]),
        ("Measured at", date(figures)),
    ]
    return (terms(rows),)


def all_figures(figures: dict[str, Any]) -> Parts:
    """List every figure with its interval, and the recall of each cause."""
    rows = [
        (title, f"{figures[key]:.4f}", _span(figures["intervals_95"][key]), meaning) for key, title, meaning in FIGURES
    ]
    return (
        paragraph(f"Intervals: 95 %, bootstrap over {RESAMPLES:,} draws by {figures['intervals_by']}."),
        table(("figure", "value", "95 % interval", "what it is"), rows, kind="meanings"),
        *_by_cause(figures["by_cause"]),
    )


def _by_cause(causes: dict[str, dict[str, Any]]) -> Parts:
    rows = [
        (cause.capitalize(), f"{row['images']:,}", f"{row['recall']:.4f}", _span(row["interval_95"]))
        for cause, row in causes.items()
    ]
    title = "<h3>By cause of the pneumonia, as the file names say it</h3>"
    return (title, table(("cause", "images", "recall", "95 % interval"), rows)) if rows else ()


def errors(figures: dict[str, Any]) -> Parts:
    """Show the confusion matrix."""
    tp, fp, fn, tn = (figures["confusion"][key] for key in _COUNTS)
    words = (
        f"Of {tp + fn:,} pneumonia images {tp:,} were found and {fn:,} missed; of {tn + fp:,} normal images {tn:,} "
        f"were called normal and {fp:,} raised a false alarm."
    )
    matrix = partial(draw_confusion, figures["confusion"])
    return (
        paragraph(words),
        _plot(matrix, words, "Images, and their share of the row."),
    )


def _plot(draw: Draw, described: str, caption: str, *, is_wide: bool = False) -> str:
    return plot(render(draw), render(draw, DARK), described, caption, is_wide=is_wide)


def curves(assessment: Assessment) -> Parts:
    """Draw ROC and precision-recall curves."""
    figures, truth, p = assessment.figures, assessment.images.truth, assessment.p_pneumonia
    auc, pr_auc, threshold = figures["auc"], figures["pr_auc"], figures["threshold"]
    roc = _plot(
        partial(draw_roc, truth, p, threshold, auc),
        f"ROC curve with AUC {auc:.4f}",
        "What each threshold finds against the false alarms it raises; the upper left corner enlarged.",
    )
    precision = _plot(
        partial(draw_precision_recall, truth, p, threshold, pr_auc),
        f"Precision-recall curve with PR-AUC {pr_auc:.4f}",
        "How pure the flagged images are, against how many of the pneumonia images are among them.",
    )
    return (f'<div class="plots">{roc}{precision}</div>',)


def probabilities(assessment: Assessment) -> Parts:
    """Draw reliability and the histogram of the probabilities."""
    figures, truth, p = assessment.figures, assessment.images.truth, assessment.p_pneumonia
    ece, threshold = figures["ece"], figures["threshold"]
    reliability = _plot(
        partial(draw_reliability, truth, p, ece),
        f"Reliability diagram with a calibration error of {ece:.4f}",
        "Of the images given about 0.8, do about 80 % show pneumonia? Below: the images of each bin. "
        "Bins of a few images say little.",
    )
    scores = _plot(
        partial(draw_scores, truth, p, threshold),
        f"Histogram of the probabilities of both classes with the threshold {threshold:g}",
        "Right of the line images are called PNEUMONIA. Both axes are stretched so that rare and extreme images show.",
        is_wide=True,
    )
    return (f'<div class="plots">{reliability}{scores}</div>',)


def thresholds(assessment: Assessment) -> Parts:
    """List the results of each threshold: a short table, and the whole one collapsed."""
    figures, own = assessment.figures, assessment.figures["threshold"]
    stated = figures["operating_points"]
    short = operating_points(
        assessment.images.truth, assessment.p_pneumonia, short_thresholds(own), stated["prevalences"]
    )
    whole = stated["rows"]
    of_images = " (that of these images)" if stated["prevalence_is_of_these_images"] else ""
    named = ", ".join(_percent(prevalence) for prevalence in stated["prevalences"])
    return (
        paragraph(
            "The table that WHO's toolkit for calibrating computer-aided detection asks for. The counts are of these "
            f"images; predictive values and images per case hold at a prevalence of {named}{of_images}. Images per "
            "case: images flagged for each true case found, 1 / PPV. The marked row is the model's threshold."
        ),
        _threshold_table(short, own),
        f"<details><summary>All {len(whole):,} rows: {text(stated['thresholds'])}</summary>",
        _threshold_table(whole, own),
        "</details>",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.4g}%"


def _threshold_table(rows: Sequence[dict[str, Any]], own: float) -> str:
    at = [entry["prevalence"] for entry in rows[0]["at_prevalence"]]
    by_prevalence = [
        f"{name} at {_percent(prevalence)}" for prevalence in at for name in ("PPV", "NPV", "images per case")
    ]
    headings = ("threshold", "TP", "FP", "FN", "TN", "sensitivity", "specificity", *by_prevalence)
    marked = next(place for place, row in enumerate(rows) if row["threshold"] == own)
    return table(headings, [_threshold_cells(row) for row in rows], marked=marked, kind="numbers")


def _threshold_cells(row: dict[str, Any]) -> list[str]:
    cells = [f"{row['threshold']:.4f}", *(f"{row[key]:,}" for key in _COUNTS)]
    cells += [f"{row['sensitivity']:.4f}", f"{row['specificity']:.4f}"]
    for entry in row["at_prevalence"]:
        cells += [
            _or_dash(entry["ppv"], ".4f"),
            _or_dash(entry["npv"], ".4f"),
            _or_dash(entry["images_per_case"], ",.2f"),
        ]
    return cells


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def worst(assessment: Assessment) -> Parts:
    """Show the most confident errors as images."""
    truth, p = assessment.images.truth, assessment.p_pneumonia
    called = p >= assessment.spec.threshold
    missed = np.flatnonzero(truth & ~called)
    alarms = np.flatnonzero(~truth & called)
    return (
        paragraph("As the network saw them, the surest errors first. A wrong label looks like an error too."),
        _sheet("Pneumonia that was missed", assessment, missed[np.argsort(p[missed], kind="stable")]),
        _sheet("Normal images that were flagged", assessment, alarms[np.argsort(-p[alarms], kind="stable")]),
    )


def _sheet(title: str, assessment: Assessment, rows: np.ndarray) -> str:
    shown = rows[:WORST].tolist()
    counted = f"{len(rows):,}" if len(rows) <= WORST else f"{WORST} of {len(rows):,}"
    images = "".join(_image(assessment, row) for row in shown)
    return f"<h3>{text(title)}: {counted}</h3>" + (f'<div class="images">{images}</div>' if shown else "")


def _image(assessment: Assessment, row: int) -> str:
    name = text(assessment.images.names[row])
    return (
        f'<figure><img src="{image_uri(assessment.images.pixels[row])}" alt="Image {name}">'
        f"<figcaption><b>p {assessment.p_pneumonia[row]:.4f}</b><br>{name}</figcaption></figure>"
    )


def training(journal: Sequence[dict[str, float]]) -> Parts:
    """Draw the training curves, where the journal is known."""
    if not journal:
        return ()
    words = f"Loss and accuracy over the {len(journal):,} epochs of the training"
    return (_plot(partial(draw_training, journal), words, f"{words}, from the model's metrics.json.", is_wide=True),)


def refused(files: dict[str, str]) -> Parts:
    """List the files that got no label, with the reason for each."""
    if not files:
        return (paragraph("Every file got a label."),)
    words = f"{len(files):,} files were left out of every figure:"
    return (
        paragraph(words),
        table(("file", "why"), list(files.items()), kind="words"),
    )


def reading(figures: dict[str, Any]) -> Parts:
    """Explain what the figures mean and do not mean."""
    return (
        paragraph(
            "The figures hold for images like these: the same kind of patients, machines and share of pneumonia. "
            f"An image at or above the threshold {figures['threshold']:g} is called PNEUMONIA. A wide interval says "
            "the images are few; it knows nothing of other hospitals. On images that it was trained on a model looks "
            "better than it is."
        ),
        paragraph(
            "A threshold that is chosen in the table above looks better on these images than it will on the next ones: "
            "check it on images that took no part in the choice."
        ),
        paragraph("This page holds images and file names. Keep it where you keep the images."),
    )
