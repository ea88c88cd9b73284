"""The page of an evaluation: whole, alone, and safe with whatever files are called."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from evaluation import metrics
from evaluation.assessment import FIGURES, Assessment, assess
from evaluation.labelled import LabelledImages
from evaluation.report import read_training, report_page
from shared.errors import ModelUnavailable
from shared.models.folder import read_spec
from shared.models.spec import ImageClass
from tests.conftest import ROOT

pytestmark = pytest.mark.lab

HOSTILE = 'NORMAL/<img src=x onerror="alert(1)"> & \x1b[31m\udcff.jpeg'
JOURNAL = [{"epoch": 1, "loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.7}]
VOID = {"meta", "link", "img", "br", "source"}


@pytest.fixture(scope="module")
def images() -> LabelledImages:
    rng = np.random.default_rng(8)
    truth = np.arange(40) % 2 == 1
    return LabelledImages(
        pixels=rng.integers(0, 256, (40, 64, 64, 1), dtype=np.uint8),
        truth=truth,
        names=tuple(HOSTILE if n == 0 else f"image {n}.jpeg" for n in range(40)),
        refused={HOSTILE: "The file is <empty>."},
        groups=tuple(str(n // 4) for n in range(40)),
        causes=tuple((ImageClass.VIRAL if n % 4 == 1 else ImageClass.BACTERIAL) if n % 2 else None for n in range(40)),
        named=40,
        digests=tuple(map(str, range(40))),
    )


@pytest.fixture(scope="module")
def found(images: LabelledImages) -> Iterator[Assessment]:
    """Of 20 normal images 18 are flagged, the hostile name first; of 20 pneumonia images one is missed."""
    p = np.linspace(0.99, 0.5, 40)
    p[[1, 36, 38]] = 0.1, 0.2, 0.3
    spec = read_spec(ROOT / "models" / "compact-cnn").model_copy(update={"threshold": 0.4})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "RESAMPLES", 50)
        yield assess(spec, images, p, folder="/images", backend="openvino", prevalences=(0.1, 0.01))


@pytest.fixture(scope="module")
def page(found: Assessment) -> str:
    return report_page(found, JOURNAL)


class Reader(HTMLParser):
    """Collects tags and their attributes, and checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.seen if name in attributes]


def _read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_from_outside_and_no_script(page: str) -> None:
    reader = _read(page)
    links = [value for name in ("src", "href", "srcset") for value in reader.values(name)]
    assert links
    assert [link[:40] for link in links if not link.startswith(("data:", "#"))] == []
    tags = {tag for tag, _ in reader.seen}
    assert tags.isdisjoint({"script", "iframe", "object"})
    assert not any(name.startswith("on") for _, attributes in reader.seen for name in attributes)
    assert "url(" not in page.partition("</style>")[0]


def test_every_line_of_the_contents_leads_to_a_section(page: str) -> None:
    reader = _read(page)
    sections = [attributes["id"] for tag, attributes in reader.seen if tag == "section"]
    skip, *links = [link[1:] for link in reader.values("href") if link.startswith("#")]
    assert links == sections
    assert skip in reader.values("id")
    assert len(sections) == len(set(sections)) == 10


def test_hostile_names_are_text(page: str) -> None:
    assert page.encode()  # a name that is no UTF-8 must not stop the writing
    assert "<img src=x" not in page
    assert "\x1b" not in page
    # On the contact sheet in its caption and as the image's description, and among the files without a label.
    assert page.count("&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; \N{REPLACEMENT CHARACTER}[31m") == 3
    assert "The file is &lt;empty&gt;." in page


def test_every_figure_stands_with_its_interval(found: Assessment, page: str) -> None:
    for key, title, _ in FIGURES:
        low, high = found.figures["intervals_95"][key]
        cells = f"{title}</th><td>{found.figures[key]:.4f}</td><td>{low:.4f} to {high:.4f}</td>"
        assert cells in page
    for words in (
        found.figures["model"],
        found.spec.threshold_rule.partition(":")[0],
        "/images",
        "Decision support, not a diagnosis.",
        "Viral",
    ):
        assert words in page


def test_the_own_threshold_is_marked_in_the_short_and_in_the_whole_table(page: str) -> None:
    rows = re.findall(r'<tr class="own"><th scope="row">([\d.]+)</th>', page)
    assert rows == ["0.4000", "0.4000"]


def test_the_worst_errors_come_first(page: str) -> None:
    shown = re.findall(r"<b>p ([\d.]+)</b>", page)
    assert shown[:1] == ["0.1000"]
    assert shown[1] == "0.9900"
    assert shown[1:] == sorted(shown[1:], reverse=True)
    assert "Normal images that were flagged: 12 of 18" in page


def test_a_model_without_a_journal_has_no_training_section(found: Assessment) -> None:
    assert 'id="training"' not in report_page(found)


def test_the_figures_are_json_and_state_their_prevalences(found: Assessment) -> None:
    figures = json.loads(json.dumps(found.figures))
    assert figures["operating_points"]["prevalences"] == [0.1, 0.01]
    assert figures["intervals_by"] == "patient"
    assert figures["by_cause"]["viral"] == {
        "images": 10,
        "recall": 0.9,
        "interval_95": pytest.approx([0.7, 1.0], abs=0.1),
    }
    assert figures["by_cause"]["bacterial"]["recall"] == 1.0


def test_without_a_stated_prevalence_it_is_that_of_the_images(found: Assessment) -> None:
    images = found.images
    points = assess(found.spec, images, np.linspace(0, 1, 40), folder="/images", backend="openvino").figures[
        "operating_points"
    ]
    assert points["prevalences"] == [0.5]
    assert points["prevalence_is_of_these_images"]


@pytest.mark.parametrize("content", ["{", "[]", '{"journal": 3}', '{"journal": [3]}'])
def test_a_damaged_metrics_file_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(ModelUnavailable, match="damaged metrics"):
        read_training(tmp_path)


@pytest.mark.parametrize(
    ("content", "journal"),
    [
        (None, []),
        ("{}", []),
        ('{"journal": [{"epoch": 1, "loss": 0.5, "note": "x"}]}', [{"epoch": 1, "loss": 0.5}]),
    ],
)
def test_the_journal_is_read_where_there_is_one(tmp_path: Path, content: str | None, journal: list) -> None:
    if content is not None:
        (tmp_path / "metrics.json").write_text(content)
    assert read_training(tmp_path) == journal
