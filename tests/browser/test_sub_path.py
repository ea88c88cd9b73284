"""The pages behind nginx, below a path: a browser signs in, sends images, follows the job and never leaves the path."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, update

from shared.db import now
from shared.states import State
from shared.tables import Screening
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.browser.test_trouble import job_id
from tests.integration.test_proxies import PREFIX, nginx_before

pytestmark = [pytest.mark.timeout(180), pytest.mark.long]


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Server]:
    """Pages and API behind nginx."""
    (tmp_path / "nginx").mkdir()
    with pages_alone(tmp_path, trusted_proxies="1") as server, nginx_before(server.url, tmp_path / "nginx") as address:
        yield Server(address, server.database, server.models)


def test_a_browser_stays_below_the_path(behind: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(behind.link())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(f"{behind.url}/")
    page.locator("#files").set_input_files([str(images / "first.jpeg"), str(images / "second.jpeg")])
    page.get_by_role("button", name="Screen 2 files").click()
    page.wait_for_url(f"**{PREFIX}/jobs/*")
    with behind.database.write() as session:
        rows = update(Screening).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        session.execute(rows.values(state=State.CANCELLED, finished_at=now()))
    expect(page.locator("#announce")).to_contain_text("2 X-rays processed")
    page.get_by_role("link", name="first.jpeg").click()
    page.wait_for_url(f"**{PREFIX}/screenings/*")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(re.compile(f"{PREFIX}/sign-in"))
    assert any(path.endswith("/fragment") for path in asked)
    assert [path for path in asked if not path.startswith(f"{PREFIX}/")] == []
