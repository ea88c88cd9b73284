"""What people see when the queue or the disk is full, and on the page that says how everything stands."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from shared.states import State
from shared.tables import Role, Screening
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.conftest import draw, encode

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages and API alone, and a queue that holds three images."""
    with pages_alone(tmp_path_factory.mktemp("small"), max_backlog="3", interactive_reserve="0") as server:
        yield server


def settle(server: Server) -> None:
    """End every image that waits, as a worker would."""
    with server.database.write() as session:
        waiting = update(Screening).where(Screening.state == State.QUEUED)
        session.execute(waiting.values(state=State.CANCELLED))


@pytest.fixture
def many(images: Path) -> list[str]:
    """Forty images, more than one batch of the upload page."""
    folder = images / "many"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number:02}.jpeg").write_bytes(encode(draw(number)))
    return sorted(str(path) for path in folder.iterdir())


def test_an_upload_waits_for_room_and_goes_on_by_itself(
    small_server: Server, visitor: Visitor, many: list[str]
) -> None:
    settle(small_server)
    page = visitor.open(small_server.link())
    visitor.expected = ("429",)
    page.clock.install()
    page.goto(small_server.url)
    page.locator("#files").set_input_files(many)
    page.get_by_role("button", name="Screen 40 files").click()
    held = page.locator("#held")
    expect(held).to_have_text(
        re.compile(
            r"Queue full\. The upload is waiting and resumes by itself at \d\d:\d\d:\d\d; leave this page open\. "
            "Files received so far are kept and screened."
        )
    )
    expect(page.locator("#list li").nth(25)).to_contain_text("Waiting for room in the queue")
    expect(page.locator("#trouble")).to_be_hidden()
    page.clock.run_for(31_000)
    expect(held).to_be_visible()
    settle(small_server)
    for _ in range(20):  # a request may be under way while the clock is put forward
        page.clock.run_for(31_000)
        page.wait_for_timeout(500)
        if "/jobs/" in page.url:
            break
    expect(page.locator("table.images tbody tr")).to_have_count(40)
    settle(small_server)


def test_a_job_that_cannot_be_opened_waits_too_and_can_be_given_up(
    small_server: Server, visitor: Visitor, many: list[str]
) -> None:
    settle(small_server)
    page = visitor.open(small_server.link())
    visitor.expected = ("429",)
    send_without_scripts(small_server, visitor, many[:5])
    open_until_said(page, small_server.url, "Queue full. The queue has reached its limit.")
    page.locator("#files").set_input_files(many[5:15])
    page.get_by_role("button", name="Screen 10 files").click()
    expect(page.locator("#held")).to_contain_text("Queue full. The upload is waiting and resumes by itself at")
    page.get_by_role("button", name="Cancel the upload").click()
    expect(page.locator("#drop")).to_be_visible()
    expect(page.locator("#held")).to_be_hidden()
    settle(small_server)
    page.wait_for_timeout(1_500)  # the server counts once a second
    page.locator("#files").set_input_files(many[5:15])
    page.get_by_role("button", name="Screen 10 files").click()
    page.wait_for_url("**/jobs/*")
    expect(page.locator("table.images tbody tr")).to_have_count(10)
    settle(small_server)


def open_until_said(page: Page, url: str, words: str) -> None:
    """Open a page until it says so: on a busy machine Redis may answer too late for one measurement."""
    note = page.locator(".note-warn", has_text=words)
    for _ in range(20):
        page.goto(url)
        if note.is_visible():
            return
        page.wait_for_timeout(1_000)
    expect(note).to_be_visible()


def send_without_scripts(server: Server, visitor: Visitor, images: list[str]) -> Page:
    page = visitor.open(server.link(), scripts=False)
    page.goto(server.url)
    page.get_by_label("Choose files").set_input_files(images)
    page.get_by_role("button", name="Screen", exact=True).click()
    return page


def test_without_scripts_a_page_says_what_to_do(small_server: Server, visitor: Visitor, many: list[str]) -> None:
    settle(small_server)
    visitor.expected = ("429",)
    send_without_scripts(small_server, visitor, many[:5])
    page = send_without_scripts(small_server, visitor, many[5:])
    expect(page.get_by_role("heading", level=1)).to_have_text("Queue full")
    expect(page.get_by_text("5 X-rays are waiting, and the limit is 3.")).to_be_visible()
    expect(page.get_by_text("What to do:")).to_be_visible()
    page.get_by_role("link", name="Status").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Status")
    settle(small_server)


def test_the_status_page_follows_what_happens(small_server: Server, visitor: Visitor, many: list[str]) -> None:
    settle(small_server)
    page = visitor.open(small_server.link(role=Role.ADMIN))
    page.goto(f"{small_server.url}/status")
    queue = page.locator(".status-parts > div", has_text="Queue")
    expect(queue).to_contain_text("Works")
    expect(page.locator("#status-queue")).to_contain_text("0 of at most 3")
    send_without_scripts(small_server, visitor, many[:5])
    expect(queue).to_contain_text("Queue full")
    expect(page.locator("#announce")).to_contain_text("Queue full.")
    expect(page.locator("#status-queue")).to_contain_text("5 of at most 3")
    expect(page.locator(".status-parts > div", has_text="Broker")).to_contain_text("Redis unavailable")
    expect(page.locator("#status-workers")).to_contain_text("Redis does not answer")
    settle(small_server)


@pytest.mark.parametrize("width", [400, 1280])
def test_the_status_page_fits_its_window(small_server: Server, visitor: Visitor, width: int) -> None:
    page = visitor.open(small_server.link(role=Role.ADMIN), width=width, dark=width == 400)
    page.goto(f"{small_server.url}/status#disk-low")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    expect(page.locator("#disk-low")).to_be_in_viewport()
