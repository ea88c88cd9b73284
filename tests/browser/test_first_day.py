"""The first day: from the first start to the first review, and a folder of originals among which some are damaged."""

import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from shared.db import Database
from shared.states import State
from shared.tables import Review, ReviewOutcome, Screening
from tests.browser.conftest import START_SECONDS, Server, Visitor, running
from tests.conftest import ROOT
from tests.integration.conftest import free_port, wait_until

pytestmark = [pytest.mark.timeout(600), pytest.mark.long]

DAMAGED = ("3_truncated-60.jpeg", "2_zeroed-block.jpeg")
END = 300_000
"""Milliseconds; on two slow cores 300 originals take two minutes."""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Everything in a folder of its own, with the gate as it is delivered, and the link that its first start prints."""
    folder, port = tmp_path_factory.mktemp("first"), free_port()
    log = folder / "serve.log"
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--workers", "1"]
    with running(command, folder, log, gate_ignores="") as process:
        wait_until(lambda: "is ready at" in log.read_text() or process.poll() is not None, START_SECONDS, "the server")
        printed = re.search(r"Sign in once with this link: (\S+)", log.read_text())
        assert printed is not None, log.read_text()
        database = Database(f"sqlite:///{folder / 'pneumoscreen.db'}")
        yield Server(f"http://127.0.0.1:{port}", database, ROOT / "models"), printed[1]
        database.close()


def wait_for_end(page: Page) -> None:
    expect(page.locator("#job[data-state=FINISHED]")).to_be_visible(timeout=END)


def test_the_first_start_leads_to_the_first_review(started: tuple[Server, str], visitor: Visitor) -> None:
    server, link = started
    page = visitor.open(link)
    page.get_by_role("link", name="Skip for now").click()
    page.goto(server.url)
    page.get_by_role("button", name="Screen the 20 synthetic sample X-rays").click()
    wait_for_end(page)
    page.get_by_role("link", name="Most suspicious first").click()
    page.locator("table.images tbody tr .file a.name").first.click()
    expect(page.get_by_role("heading", name="Your review")).to_be_visible()
    with page.expect_navigation():
        page.get_by_role("button", name="Agree").click()
    with server.database.read() as session:
        assert [review.outcome for review in session.scalars(select(Review))] == [ReviewOutcome.AGREE]


def test_300_originals_are_screened_and_bad_files_among_them_are_named(
    started: tuple[Server, str], visitor: Visitor, data_folder: Path, tmp_path: Path
) -> None:
    server, _ = started
    folder = tmp_path / "night shift"
    folder.mkdir()
    for original in sorted((data_folder / "originals").rglob("*.jpeg")):
        shutil.copy(original, folder)
    for name in DAMAGED:
        shutil.copy(data_folder / "corrupt" / name, folder)
    (folder / "letter.jpeg").write_text("To whom it may concern")
    page = visitor.open(server.link("noor"))
    page.goto(server.url)
    page.locator("#folder").set_input_files(str(folder))
    page.get_by_role("button", name="Screen 303 files").click()
    page.wait_for_url(f"{server.url}/jobs/*", timeout=END)
    # Some of it is shown before all of it has ended.
    page.wait_for_function("() => /^[1-9][0-9]?$/.test(document.querySelector('#job').dataset.percent)", timeout=END)
    wait_for_end(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("night shift")
    expect(page.locator("#job")).to_contain_text("303 of 303 X-rays processed")
    with server.database.read() as session:
        job = page.url.rsplit("/", 1)[1]
        rows = [row for row in session.scalars(select(Screening)) if str(row.job_id) == job]
        states, refused = Counter(row.state for row in rows), {row.file_name for row in rows if row.error_code}
    assert {"night shift/letter.jpeg", *(f"night shift/{name}" for name in DAMAGED)} <= refused
    assert states[State.FAILED] == 0
    # At most 1 % of real paediatric frontal images may be refused (docs/gate.md).
    assert states[State.DONE] >= 297
    page.get_by_role("link", name=re.compile("^Refused")).click()
    expect(page.get_by_role("row").filter(has_text="letter.jpeg")).to_contain_text("This is not a JPEG")
