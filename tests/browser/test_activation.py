"""An administrator moves a threshold, chooses the model of new jobs and compares a shadow model, as it is done."""

import random
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from shared.models.folder import read_spec
from shared.models.spec import Label
from shared.tables import Role, ShadowScore
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.browser.test_quality import check_everywhere, fill
from tests.conftest import DEFAULT_MODEL, ROOT
from tests.site_history import History

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

OTHER = "compact-cnn"


@pytest.fixture(scope="module")
def department(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages with forty days of work behind them, and a second model that has read some of it in the shadow."""
    with pages_alone(tmp_path_factory.mktemp("department")) as server:
        shutil.copytree(ROOT / "models" / OTHER, server.models / OTHER)
        fill(server)
        shadow(server)
        yield server


def shadow(server: Server) -> None:
    """Have forty more X-rays answered by both models and reviewed."""
    draw = random.Random(2)  # noqa: S311  # no secret
    with server.database.write() as session:
        history = History(session, read_spec(server.models / DEFAULT_MODEL), made=10_000)
        history.people = {}
        history.person("shadow-sender")
        at = datetime.now(UTC)
        history.people["sender"] = history.person("shadow-technician", Role.TECHNICIAN)
        job = history.job(at)
        is_ill = [draw.random() < 0.4 for _ in range(40)]
        screenings = [
            history.screen(job, at, draw.betavariate(5, 1) if ill else draw.betavariate(1, 5)) for ill in is_ill
        ]
        history.review_truthfully(screenings, at, is_ill, by="rita-too")
        for screening in screenings:
            p = min(1.0, max(0.0, (screening.p_pneumonia or 0) + draw.gauss(0, 0.15)))
            score = ShadowScore(prediction_id=screening.prediction_id, model_name=OTHER, finished_at=at, threshold=0.3)
            score.p_pneumonia, score.label = p, Label.PNEUMONIA if p >= 0.3 else Label.NORMAL
            session.add(score)


def move(page: Page, server: Server) -> None:
    """Try a threshold, look at what it would have done, put it in force, and put the one before back."""
    page.goto(f"{server.url}/models/{DEFAULT_MODEL}")
    facts = page.locator("#facts")
    before = facts.get_by_text(re.compile(r"^Suspicion ")).inner_text().split()[1].rstrip(".")
    page.get_by_label("Threshold to try").fill("15")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="Set the threshold to 15").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set the threshold to 15?")
    told = re.compile(r"Of the last 30 days' \d+ X-rays, (\d+) instead of (\d+) would have been flagged\.")
    expect(page.locator(".told")).to_have_text(told)
    found = told.search(page.locator(".told").inner_text())
    assert found is not None
    assert int(found[1]) > int(found[2]), "a lower threshold flags more"
    page.get_by_role("button", name="Set it to 15").click()
    expect(page.get_by_role("status").or_(page.get_by_role("alert")).first).to_contain_text("is now 15.")
    expect(facts).to_contain_text("Suspicion 15. Chosen by hand")
    facts.get_by_role("link", name=f"Set the threshold back to {before}").click()
    page.get_by_role("button", name=f"Set it to {before}").click()
    expect(facts).to_contain_text(f"Suspicion {before}.")
    expect(facts).to_contain_text("Chosen here")
    expect(facts.get_by_role("link", name=re.compile("Set the threshold back"))).to_have_count(0)


@pytest.mark.parametrize("scripts", [True, False])
def test_an_admin_moves_a_threshold_and_puts_it_back(department: Server, visitor: Visitor, scripts: bool) -> None:
    move(visitor.open(department.link("ada", Role.ADMIN), scripts=scripts), department)


def test_the_page_of_a_threshold_can_be_read_everywhere(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("ada", Role.ADMIN))
    for address in ("threshold?threshold=15", "threshold", "threshold?threshold=95"):
        page.goto(f"{department.url}/models/{DEFAULT_MODEL}/{address}")
        check_everywhere(page)
    visitor.expected = ("422",)
    page.goto(f"{department.url}/models/{DEFAULT_MODEL}/threshold?threshold=0")
    expect(page.get_by_role("alert")).to_contain_text("Give a number above 0 and below 100.")
    check_everywhere(page)


def test_an_admin_chooses_the_model_of_new_jobs_and_takes_it_back(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("ada", Role.ADMIN))
    page.goto(f"{department.url}/models/{OTHER}")
    page.get_by_role("link", name="Use it for new jobs").click()
    expect(page.get_by_text(f"are screened by {OTHER} instead of {DEFAULT_MODEL}")).to_be_visible()
    check_everywhere(page)
    page.get_by_role("button", name=f"Use {OTHER} for new jobs").click()
    expect(page.get_by_role("row").filter(has_text="Used for new jobs.")).to_contain_text(OTHER)
    page.get_by_role("link", name=DEFAULT_MODEL, exact=True).click()
    page.get_by_role("link", name="Use it for new jobs").click()
    page.get_by_role("button", name=f"Use {DEFAULT_MODEL} for new jobs").click()
    expect(page.get_by_role("row").filter(has_text="Used for new jobs.")).to_contain_text(DEFAULT_MODEL)


def test_an_admin_compares_a_shadow_model(department: Server, visitor: Visitor) -> None:
    page = visitor.open(department.link("ada", Role.ADMIN))
    page.goto(f"{department.url}/models/{OTHER}")
    page.get_by_role("link", name="Use it as shadow model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Compare {OTHER} with {DEFAULT_MODEL}?")
    check_everywhere(page)
    page.get_by_role("button", name=f"Compare {OTHER}").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"{OTHER} compared with {DEFAULT_MODEL}")
    expect(page.locator("#count")).to_contain_text("40 X-rays that both answered.")
    expect(page.locator("#labels")).to_contain_text("Cohen's kappa 0.")
    expect(page.locator("#suspicion")).to_contain_text("Pearson's correlation is 0.")
    expect(page.get_by_role("region", name="Both against reviews, table").get_by_role("row")).to_have_count(3)
    check_everywhere(page)
    page.get_by_role("button", name="End the comparison").click()
    expect(page.get_by_text(f"{OTHER} is no shadow model now")).to_be_visible()
