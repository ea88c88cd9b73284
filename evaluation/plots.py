"""The plots of evaluation and training, drawn without a display, light or dark."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from evaluation.metrics import confusion as count_confusion
from evaluation.metrics import measure, reliability
from shared.models.spec import Label

mpl.use("Agg")

Theme = Any
"""Settings of matplotlib by name; its releases disagree on the type of a name."""

# Blue and orange of Okabe and Ito 2008 ("Color Universal Design"), safe for common colour blindness; C0 is NORMAL and
# the held-out images, C1 PNEUMONIA and the training images, C2 the reference lines.
_BOTH: Final[dict[str, Any]] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "savefig.dpi": 110,
    "svg.hashsalt": "pneumoscreen",
    "svg.fonttype": "path",
    "figure.constrained_layout.use": True,
}


def _theme(page: str, ink: str, grid: str, colours: tuple[str, str, str], shades: str) -> Theme:
    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor")
    return {
        **_BOTH,
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), page),
        **dict.fromkeys(inked, ink),
        "grid.color": grid,
        "axes.prop_cycle": cycler(color=list(colours)),
        "image.cmap": shades,
    }


LIGHT: Final = _theme("#ffffff", "#15202a", "#dfe5ea", ("#0072b2", "#d55e00", "#6b7783"), "Blues")
DARK: Final = _theme("#172027", "#e3eaf0", "#2d3a44", ("#56b4e9", "#e69f00", "#93a1ad"), "mako")

WIDE: Final = (7.2, 3.2)
SQUARE: Final = (4.6, 4.4)
TAILS: Final = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
"""Ticks of a log-odds scale, on which 0.001 and 0.999 are equally far from 0.5."""

Draw = Callable[[], Figure]


def render(draw: Draw, theme: Theme = LIGHT, form: str = "svg") -> bytes:
    """Draw a figure in a theme and return it as `form`, `svg` or `png`; the same figure gives the same bytes."""
    without = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[form]
    with mpl.rc_context(theme):
        out = io.BytesIO()
        draw().savefig(out, format=form, metadata=without)
        return out.getvalue()


def write_training_plots(
    folder: Path, journal: Sequence[dict[str, float]], truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float
) -> list[Path]:
    """Write training, ROC, reliability and confusion plots as PNG of 25 to 45 KB into `folder`; return their paths.

    `journal` has one row for each epoch; where it is empty the first plot is left out. `truth` is bool and
    `p_pneumonia` float, both (images,), of the held-out images.
    """
    figures = measure(truth, p_pneumonia, threshold)
    drawings: dict[str, Draw] = {
        **({"training": lambda: draw_training(journal)} if journal else {}),
        "roc": lambda: draw_roc(truth, p_pneumonia, threshold, figures["auc"]),
        "reliability": lambda: draw_reliability(truth, p_pneumonia, figures["ece"]),
        "confusion": lambda: draw_confusion(count_confusion(truth, p_pneumonia, threshold)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in drawings]
    for path, draw in zip(paths, drawings.values(), strict=True):
        path.write_bytes(render(draw, form="png"))
    return paths


def _panel(size: tuple[float, float], title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size)
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    return figure, axes


def draw_training(journal: Sequence[dict[str, float]]) -> Figure:
    """Draw loss and accuracy by epoch, as far as the journal has them, and where each new phase begins."""
    figure = Figure(figsize=WIDE)
    epochs = [row.get("epoch", place + 1) for place, row in enumerate(journal)]
    phases = [row.get("phase") for row in journal]
    for axes, quantity in zip(figure.subplots(1, 2), ("Loss", "Accuracy"), strict=True):
        for colour, (images, key) in zip(("C1", "C0"), _curves(quantity.lower(), journal), strict=True):
            points = [(epoch, row[key]) for epoch, row in zip(epochs, journal, strict=True) if key in row]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=images)
        for place in range(1, len(phases)):
            if phases[place] != phases[place - 1]:
                axes.axvline(epochs[place] - 0.5, color="C2", linestyle=":", label=f"phase {phases[place]:g} begins")
        axes.set(title=f"{quantity} by epoch", xlabel="Epoch", ylabel=quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if axes.lines:
            axes.legend()
    return figure


def _curves(quantity: str, journal: Sequence[dict[str, float]]) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return the key and name of each curve; early journals have held-out `accuracy` and no `val_` keys."""
    own = f"val_{quantity}"
    if quantity == "accuracy" and not any(own in row for row in journal):
        return ("training images", ""), ("held-out images", quantity)
    return ("training images", quantity), ("held-out images", own)


def draw_confusion(confusion: dict[str, int]) -> Figure:
    """Draw the confusion matrix: counts, and the share of each true class."""
    counts = np.array(
        [confusion[key] for key in ("true_negative", "false_positive", "false_negative", "true_positive")]
    )
    shares = (counts.reshape(2, 2) / counts.reshape(2, 2).sum(axis=1, keepdims=True)).ravel()
    words = [f"{count:,}\n{share:.1%}" for count, share in zip(counts, shares, strict=True)]
    figure, axes = _panel(SQUARE, "Confusion matrix", "", "")
    labels = [str(label) for label in Label]
    sns.heatmap(
        shares.reshape(2, 2),
        annot=np.array(words).reshape(2, 2),
        fmt="",
        cmap=mpl.rcParams["image.cmap"],
        vmin=0,
        vmax=1.25,  # keeps the darkest and brightest shades of the colour map out of a large area
        square=True,
        cbar=False,
        linewidths=2,
        linecolor=mpl.rcParams["figure.facecolor"],
        annot_kws={"fontsize": 14},
        xticklabels=labels,
        yticklabels=labels,
        ax=axes,
    )
    axes.set(xlabel="Called by the model", ylabel="Is, as labelled")
    axes.tick_params(length=0)
    return figure


def draw_roc(truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float, auc: float) -> Figure:
    """Draw the receiver operating characteristic with the model's own operating point, and its corner enlarged."""
    false_alarms, found, _ = roc_curve(truth, p_pneumonia)
    called = p_pneumonia >= threshold
    point = (called[~truth].mean(), called[truth].mean())
    figure, axes = _panel(
        SQUARE, f"ROC curve, AUC {auc:.4f}", "False alarms: 1 - specificity", "Pneumonia found: sensitivity"
    )
    axes.plot([0, 1], [0, 1], color="C2", linestyle="--", linewidth=1, label="chance")
    # The corner is where a screening model works, and too small to see in the whole curve.
    corner = axes.inset_axes((0.36, 0.2, 0.6, 0.56), xlim=(-0.005, 0.25), ylim=(0.75, 1.005))
    corner.tick_params(labelsize=8)
    for place in (axes, corner):
        place.plot(false_alarms, found, color="C0", label="model")
        place.plot(*point, "o", color="C1", markersize=8, label=f"threshold {threshold:.4f}")
    axes.indicate_inset_zoom(corner, edgecolor="C2")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower right", fontsize=8, ncols=3, columnspacing=1, handlelength=1.2)
    return figure


def draw_precision_recall(truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float, pr_auc: float) -> Figure:
    """Draw precision against recall with the model's own operating point and the share of pneumonia as baseline."""
    precision, recall, _ = precision_recall_curve(truth, p_pneumonia, drop_intermediate=True)
    called = p_pneumonia >= threshold
    figure, axes = _panel(SQUARE, f"Precision and recall, PR-AUC {pr_auc:.4f}", "Recall", "Precision")
    axes.axhline(truth.mean(), color="C2", linestyle="--", linewidth=1, label="share of pneumonia")
    axes.step(recall, precision, where="post", color="C0", label="model")
    if called.any():
        axes.plot(
            called[truth].mean(),
            truth[called].mean(),
            "o",
            color="C1",
            markersize=8,
            label=f"threshold {threshold:.4f}",
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.legend(loc="lower left")
    return figure


def draw_reliability(truth: np.ndarray, p_pneumonia: np.ndarray, ece: float) -> Figure:
    """Draw how often images of each probability show pneumonia, and how many images there are of each."""
    bins = reliability(truth, p_pneumonia)
    figure = Figure(figsize=SQUARE)
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color="C2", linestyle="--", linewidth=1, label="perfect calibration")
    axes.plot([b["predicted"] for b in bins], [b["observed"] for b in bins], "o-", color="C0", label="model")
    axes.set(title=f"Reliability, ECE {ece:.4f}", ylabel="Share with pneumonia", ylim=(-0.03, 1.03))
    axes.legend(loc="upper left")
    bars = counts.bar(
        [b["from"] for b in bins], [b["images"] for b in bins], width=0.1, align="edge", color="C0", alpha=0.7
    )
    counts.bar_label(bars, fontsize=7, padding=1)
    counts.set(xlabel="Predicted p(pneumonia)", ylabel="Images", xlim=(-0.02, 1.02))
    counts.margins(y=0.3)
    return figure


def draw_scores(truth: np.ndarray, p_pneumonia: np.ndarray, threshold: float) -> Figure:
    """Draw a histogram of each class's probabilities by log odds, so that both tails can be read."""
    odds = _log_odds(np.clip(p_pneumonia, TAILS[0], TAILS[-1]))
    tails = _log_odds(np.array(TAILS)).tolist()
    edges = np.linspace(tails[0], tails[-1], 41)
    figure = Figure(figsize=(7.2, 4.2))
    panels = figure.subplots(2, 1, sharex=True)
    for axes, label, colour, is_sick in zip(panels, Label, ("C0", "C1"), (False, True), strict=True):
        sns.histplot(x=odds[truth == is_sick], bins=edges, color=colour, alpha=0.8, linewidth=0.4, ax=axes)
        axes.axvline(
            float(_log_odds(np.array(threshold))), color="C2", linestyle="--", label=f"threshold {threshold:.4f}"
        )
        axes.set_title(f"Images that are {label}")
        axes.set_yscale("symlog", linthresh=1)  # a single error beside hundreds of images must stay visible
        axes.yaxis.set_major_locator(FixedLocator([0, 1, 10, 100, 1000, 10_000]))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.margins(y=0.2)
        axes.set_ylabel("Images")
    panels[0].legend(loc="upper right")
    panels[1].xaxis.set_major_locator(FixedLocator(tails))
    ticks = [f"{tail:g}" for tail in TAILS]
    panels[1].xaxis.set_major_formatter(FixedFormatter([f"≤ {ticks[0]}", *ticks[1:-1], f"≥ {ticks[-1]}"]))
    panels[1].set_xlabel("Predicted p(pneumonia), by log odds")
    return figure


def _log_odds(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(p / (1 - p)))
