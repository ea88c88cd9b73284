"""The pages for whoever answers for a department, as they are used: quality figures, and what a threshold would do."""

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from shared.models.folder import read_spec
from shared.tables import ReviewOutcome, Role
from tests.browser.accessibility import problems_of
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.conftest import DEFAULT_MODEL
from tests.site_history import History

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages with forty days of work behind them."""
    with pages_alone(tmp_path_factory.mktemp("department")) as server:
        fill(server)
        yield server


def fill(server: Server) -> None:
    """Have ten X-rays sent on each day, darker than in training, of which a reader reviews three."""
    draw = random.Random(1)  # noqa: S311  # no secret
    with server.database.write() as session:
        history = History(session, read_spec(server.models / DEFAULT_MODEL))
        for back in range(40, 0, -1):
            day = datetime.now(UTC) - timedelta(days=back)
            job = history.job(day)
            is_ill = [draw.random() < 0.4 for _ in range(10)]
            sent = [
                history.screen(
                    *(job, day, draw.betavariate(5, 1) if ill else draw.betavariate(1, 5)),
                    exposure=(round(draw.gauss(112, 18)), round(min(255, draw.gauss(185, 27)))),
                )
                for ill in is_ill
            ]
            history.refuse(job, day, "not_chest")
            history.review_truthfully(sent[:3], day, is_ill[:3])
            history.review(sent[3], day, ReviewOutcome.INADEQUATE)


def check_everywhere(page: Page) -> None:
    for width in (1440, 820, 320):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            assert problems_of(page) == [], (page.url, width, scheme)
    page.set_viewport_size({"width": 1440, "height": 900})


def test_a_chief_looks_at_a_week_and_takes_the_numbers_along(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("chief", Role.READER))
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Quality").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Quality")
    expect(page.locator("#days")).to_contain_text("X-rays sent from")
    expect(page.get_by_role("img", name="Share of X-rays flagged on each of 30 days")).to_be_visible()
    page.get_by_role("link", name="7 days").click()
    expect(page.locator("#days")).to_contain_text("66 X-rays sent from")
    section = page.locator("#agreement")
    expect(section).to_contain_text("Cohen's kappa")
    expect(section).to_contain_text("None of these reviews was blind")
    expect(page.locator("#brightness")).to_contain_text("60 X-rays are too few to tell")
    page.locator("#days summary").click()
    table = page.get_by_role("region", name="X-rays a day, table")
    expect(table.get_by_role("row")).to_have_count(8)
    check_everywhere(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="X-rays a day as CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.splitlines()[0].startswith("day,images,labelled")
    assert sum(int(line.split(",")[1]) for line in text.splitlines()[1:]) == 66


def test_a_chief_sees_that_x_rays_come_darker_than_those_of_training(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("chief", Role.READER))
    page.goto(f"{department.url}/quality")
    expect(page.locator("#brightness")).to_contain_text("Brightness has drifted against the 5,725 images that")
    expect(page.locator("#contrast")).to_contain_text("No drift of contrast")
    expect(page.get_by_role("img", name="Share of X-rays by brightness")).to_be_visible()
    page.locator("#brightness summary").click()
    expect(page.get_by_role("region", name="Brightness, table").get_by_role("row")).to_have_count(17)
    check_everywhere(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Brightness as CSV").click()
    rows = [line.split(",") for line in Path(download.value.path()).read_text().splitlines()]
    assert rows[0][:3] == ["brightness_from", "brightness_to", "images"]
    assert (sum(int(row[2]) for row in rows[1:]), sum(int(row[4]) for row in rows[1:])) == (290, 5725)


def test_without_script_days_are_chosen_in_the_form(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("plain", Role.ADMIN), scripts=False)
    page.goto(f"{department.url}/quality")
    first, last = (datetime.now(UTC).date() - timedelta(days=back) for back in (3, 2))
    page.get_by_label("First day").fill(first.isoformat())
    page.get_by_label("Last day").fill(last.isoformat())
    page.get_by_label("Model", exact=True).select_option(DEFAULT_MODEL)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#days")).to_contain_text("22 X-rays sent from")
    page.get_by_label("First day").fill("2020-01-01")
    page.get_by_label("Last day").fill("2020-01-02")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#days")).to_contain_text("No X-ray was sent in this period for")
    expect(page.locator("#suspicion")).to_contain_text("A running worker fills this")


def test_a_chief_tries_a_threshold_on_what_was_screened_here(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("chief"))
    page.goto(f"{department.url}/quality")
    page.get_by_role("link", name="Models").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")
    check_everywhere(page)
    page.get_by_role("link", name=DEFAULT_MODEL, exact=True).click()
    expect(page.locator("#facts")).to_contain_text("Has screened here as")
    expect(page.locator("#card")).to_contain_text("Intended use")
    page.get_by_label("Threshold to try").fill("15")
    page.get_by_label("Pneumonia among all (%)").fill("25")
    page.get_by_role("button", name="Show").click()
    table = page.get_by_role("region", name="Thresholds, table", exact=True)
    tried = table.get_by_role("row").filter(has_text="tried")
    expect(tried.get_by_role("cell").last).to_have_text(re.compile(r"^\d\d\.\d%$"))
    in_force = table.get_by_role("row").filter(has_text="in force")
    expect(in_force.get_by_role("cell").first).to_have_text(re.compile(r"^\d\d\.\d%$"))
    expect(page.locator("#rule-out")).to_contain_text("never applied")
    rule_out = page.get_by_role("region", name="Rule-out thresholds, table").get_by_role("row").filter(has_text="tried")
    expect(rule_out).to_contain_text(" of ")
    check_everywhere(page)


def test_a_technician_is_not_led_there(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("tom"))
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Quality")).to_have_count(0)
