"""What people see when something does not go as it should: no worker, no model, no network, no scripts."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import func, select, update

from shared import leases
from shared.db import now
from shared.modelspec import SPEC_FILE
from shared.states import State
from shared.tables import Screening
from tests.browser.conftest import Server, Visitor

pytestmark = pytest.mark.timeout(180)


def upload(page: Page, server: Server, films: Path) -> None:
    page.goto(server.url)
    page.locator("#files").set_input_files([str(films / "first.jpeg"), str(films / "second.jpeg")])
    page.get_by_role("button", name="Screen 2 files").click()


def job_id(page: Page) -> str:
    return page.url.rsplit("/", 1)[1]


def test_a_job_waits_and_says_why_then_is_cancelled_and_retried(
    quiet_server: Server, visitor: Visitor, films: Path
) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, films)
    page.wait_for_url("**/jobs/*")
    expect(page).to_have_title(re.compile("^0% "))
    with quiet_server.database.write() as session:
        session.execute(update(Screening).values(created_at=func.datetime("now", "-1 minute")))
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    dialog.get_by_role("button", name="Keep screening").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="Waiting 2")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("link", name="Cancelled 2")).to_be_visible()
    page.get_by_role("button", name="Retry 2 films").click()
    expect(page.get_by_role("link", name="Waiting 2")).to_be_visible()


def test_an_open_page_follows_the_job_and_tells_its_end(quiet_server: Server, visitor: Visitor, films: Path) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, films)
    page.wait_for_url("**/jobs/*")
    link = page.get_by_role("link", name="first.jpeg")
    link.focus()
    page.evaluate("document.getElementById('job-films').firstElementChild.dataset.kept = 'yes'")
    with quiet_server.database.write() as session:
        rows = update(Screening).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        session.execute(rows.values(state=State.FAILED, finished_at=now(), error_code=leases.LOST_CODE,
                                    error_message=leases.LOST_MESSAGE.format(attempts=3)))  # fmt: skip
    expect(page.locator("#announce")).to_contain_text("The job has finished. 2 films ended: 0 pneumonia, 0 normal, 2")
    expect(page.get_by_text("The worker stopped or failed 3 times").first).to_be_visible()
    expect(link).to_be_focused()
    assert page.evaluate("document.getElementById('job-films').firstElementChild.dataset.kept") == "yes"
    assert not page.title().startswith("0%")


def test_a_lost_request_is_sent_again_and_counts_once(quiet_server: Server, visitor: Visitor, films: Path) -> None:
    page = visitor.open(quiet_server.link())
    visitor.expected = ("ERR_FAILED", "ERR_CONNECTION_RESET")
    requests: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        requests.append(route.request.headers["idempotency-key"])
        if len(requests) == 1:
            route.fetch()  # it arrives, but its answer does not
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/films", lose_the_first_answer)
    upload(page, quiet_server, films)
    expect(page.locator("#list li").first).to_contain_text("No answer. Sent again in")
    page.wait_for_url("**/jobs/*")
    assert len(requests) == 2
    assert len(set(requests)) == 1
    expect(page.locator("table.films tbody tr")).to_have_count(2)


def test_a_full_disk_is_said_and_the_rest_can_be_sent_later(
    quiet_server: Server, visitor: Visitor, films: Path
) -> None:
    page = visitor.open(quiet_server.link())
    visitor.expected = ("507",)
    policy = {"Content-Security-Policy": "default-src 'self'"}
    full = {"title": "Insufficient Storage", "status": 507, "detail": "The image store has no room left."}
    page.route("**/films", lambda route: route.fulfill(status=507, json=full, headers=policy), times=1)
    upload(page, quiet_server, films)
    expect(page.locator("#trouble")).to_contain_text("The image store has no room left.")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.films tbody tr")).to_have_count(2)


def test_an_upload_can_be_cancelled(quiet_server: Server, visitor: Visitor, films: Path) -> None:
    page = visitor.open(quiet_server.link())
    page.route("**/films", lambda _: None)  # no answer ever comes
    upload(page, quiet_server, films)
    page.get_by_role("button", name="Cancel the upload").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#job")).to_have_attribute("data-state", "FINISHED")
    expect(page.get_by_text("2 films of the 2 announced did not arrive")).to_be_visible()
    with quiet_server.database.read() as session:
        films_kept = select(func.count()).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        assert session.scalar(films_kept) == 0


def test_without_a_model_every_page_says_so(quiet_server: Server, visitor: Visitor) -> None:
    page = visitor.open(quiet_server.link())
    spec = quiet_server.models / "compact-cnn" / SPEC_FILE
    kept = spec.read_bytes()
    spec.unlink()
    try:
        for path in ("/", "/jobs", "/history", "/help"):
            page.goto(quiet_server.url + path)
            expect(page.get_by_role("alert")).to_contain_text("No model.")
    finally:
        spec.write_bytes(kept)
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_everything_works_without_scripts(quiet_server: Server, visitor: Visitor, films: Path) -> None:
    page = visitor.open(quiet_server.link(), scripts=False)
    page.goto(quiet_server.url)
    page.get_by_label("Choose files").set_input_files(str(films / "first.jpeg"))
    page.get_by_role("button", name="Screen", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("first.jpeg")
    assert page.locator('noscript > meta[http-equiv="refresh"]').count() == 1
    expect(page.locator("time").first).to_contain_text("UTC")
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_role("link", name=re.compile("^Cancelled 1"))).to_be_visible()
    page.goto(f"{quiet_server.url}/history?text=first&state=CANCELLED")
    expect(page.locator("table.films tbody tr")).to_have_count(1)


def test_another_persons_job_is_not_there(quiet_server: Server, visitor: Visitor, films: Path) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, films)
    page.wait_for_url("**/jobs/*")
    address = page.url
    visitor.expected = ("404",)
    other = visitor.open(quiet_server.link())
    other.goto(address)
    expect(other.get_by_role("heading", name="This page is not here")).to_be_visible()
    other.get_by_role("link", name="Go to the start").click()
    expect(other.get_by_role("heading", name="Screen chest X-rays")).to_be_visible()
