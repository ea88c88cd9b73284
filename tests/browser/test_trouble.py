"""What people see when something does not go as it should: no worker, no model, no network, no scripts."""

import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import func, select, update

from shared.db import now
from shared.models.folder import SPEC_FILE
from shared.refusals import Failure
from shared.states import State
from shared.tables import Screening
from tests.browser.conftest import Server, Visitor
from tests.conftest import DEFAULT_MODEL

pytestmark = pytest.mark.timeout(180)


def upload(page: Page, server: Server, images: Path) -> None:
    page.goto(server.url)
    page.locator("#files").set_input_files([str(images / "first.jpeg"), str(images / "second.jpeg")])
    page.get_by_role("button", name="Screen 2 files").click()


def job_id(page: Page) -> str:
    return page.url.rsplit("/", 1)[1]


def test_a_job_waits_and_says_why_then_is_cancelled_and_retried(
    quiet_server: Server, visitor: Visitor, images: Path
) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, images)
    page.wait_for_url("**/jobs/*")
    expect(page).to_have_title(re.compile("^0% "))
    with quiet_server.database.write() as session:
        session.execute(update(Screening).values(created_at=func.datetime("now", "-1 minute")))
    expect(page.get_by_text("Redis is unavailable.")).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel this job?")
    dialog.get_by_role("button", name="Keep screening").click()
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("link", name="Waiting 2")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_role("link", name="Cancelled 2")).to_be_visible()
    expect(page.locator("#job-head .state")).to_have_text("Cancelled, 0 of 2 screened")
    expect(page.locator(".job-percent")).to_have_text("0%")
    page.get_by_role("button", name="Retry 2 X-rays").click()
    expect(page.get_by_role("link", name="Waiting 2")).to_be_visible()


def test_an_open_page_follows_the_job_and_tells_its_end(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, images)
    page.wait_for_url("**/jobs/*")
    link = page.get_by_role("link", name="first.jpeg")
    link.focus()
    page.evaluate("document.getElementById('job-images').firstElementChild.dataset.kept = 'yes'")
    with quiet_server.database.write() as session:
        rows = update(Screening).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        session.execute(rows.values(state=State.FAILED, finished_at=now(), error_code=Failure.WORKER_LOST,
                                    error_details={"attempts": 3}))  # fmt: skip
    expect(page.locator("#announce")).to_contain_text(
        "The job has finished. 2 X-rays processed: 0 flagged, 0 not flagged, 2"
    )
    expect(page.get_by_text("The worker stopped or failed 3 times").first).to_be_visible()
    expect(link).to_be_focused()
    assert page.evaluate("document.getElementById('job-images').firstElementChild.dataset.kept") == "yes"
    assert not page.title().startswith("0%")


LOSE_THE_FIRST_ANSWER = """
const open = XMLHttpRequest.prototype.open;
let lost = false;
XMLHttpRequest.prototype.open = function (method, url, ...more) {
  if (!lost && String(url).endsWith("/images")) {
    lost = true;
    this.addEventListener("load", (event) => {
      event.stopImmediatePropagation();
      this.dispatchEvent(new ProgressEvent("error"));
    });
  }
  return open.call(this, method, url, ...more);
};
"""
"""The request arrives whole and is answered; the page hears of an error instead, as when the connection breaks then."""


def test_a_lost_request_is_sent_again_and_counts_once(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link())
    keys: list[str] = []
    page.on(
        "request", lambda sent: keys.append(sent.headers["idempotency-key"]) if sent.url.endswith("/images") else None
    )
    page.add_init_script(LOSE_THE_FIRST_ANSWER)
    page.reload()
    upload(page, quiet_server, images)
    expect(page.locator("#list li").first).to_contain_text("No answer. Trying again in")
    page.wait_for_url("**/jobs/*")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    expect(page.locator("table.images tbody tr")).to_have_count(2)


def test_a_full_disk_is_said_and_the_rest_can_be_sent_later(
    quiet_server: Server, visitor: Visitor, images: Path
) -> None:
    page = visitor.open(quiet_server.link())
    visitor.expected = ("507",)
    policy = {"Content-Security-Policy": "default-src 'self'"}
    full = {"title": "Insufficient Storage", "status": 507, "detail": "The image store has no room left."}
    page.route("**/images", lambda route: route.fulfill(status=507, json=full, headers=policy), times=1)
    upload(page, quiet_server, images)
    expect(page.locator("#trouble")).to_contain_text("The image store has no room left.")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.images tbody tr")).to_have_count(2)


def test_a_server_that_is_away_is_said_at_once_and_counted_down(
    quiet_server: Server, visitor: Visitor, images: Path
) -> None:
    page = visitor.open(quiet_server.link())
    visitor.expected = ("ERR_CONNECTION_REFUSED",)
    trouble = page.locator("#trouble")
    for address in ("**/api/v1/jobs", "**/close"):
        page.route(address, lambda route: route.abort("connectionrefused"), times=2)
        upload(page, quiet_server, images)
        expect(trouble).to_have_text("The server does not answer. Trying again in 1 s.", timeout=2_000)
        expect(trouble).to_have_text("The server does not answer. Trying again in 2 s.")
        expect(trouble).to_have_text("The server does not answer. Trying again in 1 s.")
        page.wait_for_url("**/jobs/*")
        expect(page.locator("table.images tbody tr")).to_have_count(2)


def test_an_upload_goes_on_after_a_sign_in_in_another_tab(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    name = f"person-{uuid.uuid4().hex[:8]}"
    page = visitor.open(quiet_server.link(name))
    visitor.expected = ("401", "403")
    page.goto(quiet_server.url)
    page.context.clear_cookies()
    page.locator("#files").set_input_files([str(images / "first.jpeg"), str(images / "second.jpeg")])
    page.get_by_role("button", name="Screen 2 files").click()
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text("You have been signed out. Sign in in another tab, then press Try again.")
    again = page.get_by_role("button", name="Try again")
    again.click()
    expect(trouble).to_contain_text("You have been signed out.")
    tab = page.context.new_page()
    tab.goto(quiet_server.link(name))
    with tab.expect_navigation():
        tab.get_by_role("button", name="Sign in").click()
    again.click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.images tbody tr")).to_have_count(2)


def test_a_page_older_than_its_session_gets_a_fresh_token(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    name = f"person-{uuid.uuid4().hex[:8]}"
    page = visitor.open(quiet_server.link(name))
    visitor.expected = ("403",)
    page.goto(quiet_server.url)
    tab = page.context.new_page()
    tab.goto(quiet_server.link(name))
    with tab.expect_navigation():
        tab.get_by_role("button", name="Sign in").click()
    page.locator("#files").set_input_files([str(images / "first.jpeg"), str(images / "second.jpeg")])
    page.get_by_role("button", name="Screen 2 files").click()
    expect(page.locator("#trouble")).to_contain_text("You have signed in again since this page was loaded.")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.images tbody tr")).to_have_count(2)


def test_images_keep_the_order_in_which_they_were_chosen(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link())
    page.goto(quiet_server.url)
    # Two batches, 20 files and 30; the first has the most bytes and would arrive last beside the other.
    names = [f"{number:02}.jpeg" for number in range(50)]
    image = (images / "first.jpeg").read_bytes()
    payloads = [image + bytes([number]) * (300_000 if number < 20 else 1) for number in range(50)]
    folder = images / "many"
    folder.mkdir()
    for name, data in zip(names, payloads, strict=True):
        (folder / name).write_bytes(data)
    page.locator("#files").set_input_files([str(folder / name) for name in names])
    page.get_by_role("button", name="Screen 50 files").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.images tbody td.file a.name")).to_have_text(names)


def test_an_empty_folder_is_said(quiet_server: Server, visitor: Visitor) -> None:
    page = visitor.open(quiet_server.link())
    page.goto(quiet_server.url)
    page.evaluate(
        """() => {
            const folder = {isFile: false, isDirectory: true, name: "empty",
                createReader: () => ({readEntries: (found) => found([])})};
            const drop = new DragEvent("drop", {bubbles: true, cancelable: true});
            const items = [{kind: "file", webkitGetAsEntry: () => folder}];
            Object.defineProperty(drop, "dataTransfer", {value: {types: ["Files"], items}});
            document.getElementById("drop").dispatchEvent(drop);
        }"""
    )
    expect(page.locator("#summary")).to_have_text("This folder holds no files.")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#drop")).to_be_visible()


def test_an_upload_can_be_cancelled(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link())
    page.route("**/images", lambda _: None)  # no answer ever comes
    upload(page, quiet_server, images)
    page.get_by_role("button", name="Cancel the upload").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#job")).to_have_attribute("data-state", "FINISHED")
    expect(page.locator("#job-head .state")).to_have_text("Incomplete, 2 of 2 X-rays were not received")
    expect(page.locator("#job-waiting .note-bad")).to_contain_text("2 of 2 X-rays were not received")
    expect(page.locator(".job-percent")).to_have_text("0%")
    with quiet_server.database.read() as session:
        images_kept = select(func.count()).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        assert session.scalar(images_kept) == 0


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_a_double_click_that_begins_an_upload_does_not_cancel_it(
    quiet_server: Server, visitor: Visitor, images: Path, way: str
) -> None:
    page = visitor.open(quiet_server.link())
    page.goto(quiet_server.url)
    page.set_input_files("#files", [images / "first.jpeg", images / "second.jpeg"])
    button = page.get_by_role("button", name="Screen 2 files")
    if way == "mouse":
        button.dblclick()
    else:
        button.focus()
        for _ in range(2):  # pressed, and held
            page.keyboard.down("Enter")
        page.keyboard.up("Enter")
    page.wait_for_url("**/jobs/*")
    expect(page.locator("#job-head .state")).not_to_contain_text("Incomplete")
    with quiet_server.database.read() as session:
        images_kept = select(func.count()).where(Screening.job_id == func.replace(job_id(page), "-", ""))
        assert session.scalar(images_kept) == 2


def test_without_a_model_every_page_says_so(quiet_server: Server, visitor: Visitor) -> None:
    page = visitor.open(quiet_server.link())
    spec = quiet_server.models / DEFAULT_MODEL / SPEC_FILE
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


def test_everything_works_without_scripts(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link(), scripts=False)
    page.goto(quiet_server.url)
    page.get_by_label("Choose files").set_input_files(str(images / "first.jpeg"))
    page.get_by_role("button", name="Screen", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("first.jpeg")
    assert page.locator('noscript > meta[http-equiv="refresh"]').count() == 1
    expect(page.locator("time").first).to_contain_text("UTC")
    page.get_by_role("button", name="Cancel").first.click()
    expect(page.get_by_role("link", name=re.compile("^Cancelled 1"))).to_be_visible()
    page.goto(f"{quiet_server.url}/history?text=first&state=CANCELLED")
    expect(page.locator("table.images tbody tr")).to_have_count(1)


def test_another_persons_job_is_not_there(quiet_server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(quiet_server.link())
    upload(page, quiet_server, images)
    page.wait_for_url("**/jobs/*")
    address = page.url
    visitor.expected = ("404",)
    other = visitor.open(quiet_server.link())
    other.goto(address)
    expect(other.get_by_role("heading", name="Page not found")).to_be_visible()
    other.get_by_role("link", name="Go to the start").click()
    expect(other.get_by_role("heading", name="Screen chest X-rays")).to_be_visible()
