"""The plots: drawn without a display, light and dark, the same each time, on the cases that break drawing code."""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation import plots
from evaluation.plots import DARK, LIGHT, render, write_training_plots

pytestmark = pytest.mark.lab

RNG = np.random.default_rng(4)
TRUTH = RNG.random(200) < 0.7
P = np.clip(RNG.normal(0.3 + 0.4 * TRUTH, 0.2), 0, 1)
SURE = TRUTH.astype(float)
JOURNAL = [
    {"epoch": float(n), "loss": 1 / n, "accuracy": 0.9, "val_loss": 1.2 / n, "val_accuracy": 0.8} for n in (1, 2)
]

DRAWINGS: dict[str, Callable[[], Figure]] = {
    "training": lambda: plots.draw_training(JOURNAL),
    "confusion": lambda: plots.draw_confusion(plots.count_confusion(TRUTH, P, 0.5)),
    "roc": lambda: plots.draw_roc(TRUTH, P, 0.5, 0.9),
    "roc of a perfect model": lambda: plots.draw_roc(TRUTH, SURE, 0.5, 1.0),
    "precision and recall": lambda: plots.draw_precision_recall(TRUTH, P, 0.5, 0.9),
    "precision where nothing is called": lambda: plots.draw_precision_recall(TRUTH, P * 0.4, 0.5, 0.9),
    "reliability": lambda: plots.draw_reliability(TRUTH, P, 0.1),
    "reliability of a single bin": lambda: plots.draw_reliability(TRUTH, np.full(200, 0.55), 0.1),
    "scores": lambda: plots.draw_scores(TRUTH, P, 0.5),
    "scores of 0 and 1 alone": lambda: plots.draw_scores(TRUTH, SURE, 0.1929),
}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", DRAWINGS)
def test_every_plot_is_an_svg_on_the_page_of_its_theme(name: str, theme: dict) -> None:
    content = render(DRAWINGS[name], theme)
    assert ET.fromstring(content).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    assert theme["figure.facecolor"] in content.decode()


def test_the_same_figure_is_the_same_file() -> None:
    assert render(DRAWINGS["roc"]) == render(DRAWINGS["roc"])


@pytest.mark.parametrize("name", DRAWINGS)
def test_every_axis_says_what_it_shows(name: str) -> None:
    axes = DRAWINGS[name]().axes
    assert all(one.get_ylabel() for one in axes)
    assert axes[-1].get_xlabel()


def _labels(journal: list[dict[str, float]]) -> list[list[str]]:
    figure = plots.draw_training(journal)
    return [[str(line.get_label()) for line in axes.lines] for axes in figure.axes]


def test_training_and_held_out_images_are_told_apart() -> None:
    both = ["training images", "held-out images"]
    assert _labels(JOURNAL) == [both, both]


def test_a_journal_that_only_measured_the_held_out_images_is_not_mistaken() -> None:
    journal = [{"epoch": 1.0, "loss": 0.5, "accuracy": 0.9}]
    assert _labels(journal) == [["training images"], ["held-out images"]]


def test_a_new_phase_is_marked_where_it_begins() -> None:
    journal = [{**JOURNAL[0], "epoch": epoch, "phase": phase} for epoch, phase in ((1, 1), (2, 1), (3, 2))]
    figure = plots.draw_training(journal)
    marks = [line for line in figure.axes[0].lines if "phase" in str(line.get_label())]
    assert [(line.get_xdata()[0], line.get_label()) for line in marks] == [(2.5, "phase 2 begins")]


@pytest.mark.parametrize(("journal", "first"), [(JOURNAL, ["training.png"]), ([], [])])
def test_a_training_leaves_small_pictures(tmp_path: Path, journal: list, first: list[str]) -> None:
    paths = write_training_plots(tmp_path / "model" / "plots", journal, TRUTH, P, 0.4)
    assert [path.name for path in paths] == [*first, "roc.png", "reliability.png", "confusion.png"]
    for path in paths:
        with Image.open(path) as image:
            assert image.width > 400
        assert path.stat().st_size < 60_000
