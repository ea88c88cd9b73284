"""The page of `pneumoscreen evaluate --report` in a real browser: from a file, without scripts, on desk and phone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page

from evaluation.assessment import assess
from evaluation.labelled import LabelledImages
from evaluation.report import report_page
from shared.models.folder import read_spec
from shared.models.spec import ImageClass
from tests.browser.accessibility import problems_of
from tests.conftest import ROOT

pytestmark = pytest.mark.lab

LONG = "<img src=x onerror=alert(1)>" + "a-name-without-any-break-" * 8 + ".jpeg"


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on thirty noise images, with errors of both kinds, a file that cannot be read and a training."""
    rng = np.random.default_rng(6)
    truth = np.arange(30) % 2 == 1
    images = LabelledImages(
        pixels=rng.integers(0, 256, (30, 96, 96, 1), dtype=np.uint8),
        truth=truth,
        names=(LONG,) * 30,
        refused={LONG: "The file is empty. Copy it again from its source."},
        groups=tuple(map(str, range(30))),
        causes=tuple(ImageClass.VIRAL if is_sick else None for is_sick in truth),
        named=30,
        digests=tuple(map(str, range(30))),
    )
    found = assess(
        read_spec(ROOT / "models" / "compact-cnn"),
        images,
        rng.random(30),
        folder="/screenings/" + "a-folder-" * 20,
        backend="openvino",
        prevalences=(0.01, 0.1, 0.5),
    )
    journal = [{"epoch": n, "loss": 1 / n, "accuracy": 0.9, "val_loss": 1.1 / n, "val_accuracy": 0.8} for n in (1, 2)]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(found, journal))
    return path


@contextmanager
def opened(chromium: Browser, report_file: Path, **options: object) -> Iterator[Page]:
    """Open the report; it may neither complain nor ask anything of the world."""
    context = chromium.new_context(**options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on(
        "request", lambda request: None if request.url.startswith(("data:", "file:")) else wrong.append(request.url)
    )
    page.goto(report_file.as_uri())
    yield page
    context.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_the_report_is_readable_everywhere(chromium: Browser, report_file: Path, width: int, scheme: str) -> None:
    viewport = {"width": width, "height": 900}
    with opened(chromium, report_file, viewport=viewport, color_scheme=scheme) as page:
        assert problems_of(page) == []
        widths = page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
        assert len(widths) > 10
        assert min(widths) > 0


def test_without_scripts_the_contents_lead_on_and_the_whole_table_unfolds(chromium: Browser, report_file: Path) -> None:
    with opened(chromium, report_file, java_script_enabled=False) as page:
        page.get_by_role("navigation", name="Contents").get_by_role("link", name="Every threshold").click()
        assert page.url.endswith("#thresholds")
        tables = page.locator("#thresholds table")
        assert not tables.nth(1).is_visible()
        page.get_by_text("All 31 rows").click()
        assert tables.nth(1).is_visible()
