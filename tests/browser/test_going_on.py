"""An upload whose tab was closed goes on from the page of its job: only what is missing is sent, and nothing twice."""

import hashlib
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select, update

from shared.db import now
from shared.tables import Image, Job, Screening
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor
from tests.conftest import draw, encode

pytestmark = pytest.mark.timeout(180)

IMAGES = 26
FIRST = 20
"""Of the upload page's first request; the tab is closed in the second."""


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    """A folder of more images than one request brings, and a text that is refused."""
    folder = tmp_path / "ward seven"
    folder.mkdir()
    seed = uuid.uuid4().int % 2**32
    for number in range(IMAGES - 1):
        (folder / f"{number:02}.jpeg").write_bytes(encode(draw(seed + number, (80, 80))))
    (folder / "00 text.jpeg").write_text("This is a text.")
    return folder


def begin(visitor: Visitor, server: Server, person: str, ward: Path) -> str:
    """Send the first request of a folder, close the tab in the second, let 15 seconds pass; return the job's page."""
    page = visitor.open(server.link(person))
    page.goto(server.url)
    page.locator("#folder").set_input_files(str(ward))
    sent: list[str] = []
    visitor.expected = ("ERR_CONNECTION_RESET",)

    def let_through_one(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) == 1:
            route.continue_()
        else:
            route.abort("connectionreset")

    page.route("**/images", let_through_one)
    page.get_by_role("button", name=f"Screen {IMAGES} files").click()
    expect(page.locator("#list")).to_contain_text("No answer. Trying again in")
    page.close()
    return let_time_pass(server, sent[0].split("/")[-2])


def let_time_pass(server: Server, job_id: str) -> str:
    """Let a job's last sign of life be 16 seconds old; return the address of its page."""
    key, earlier = uuid.UUID(job_id), now() - timedelta(seconds=16)
    with server.database.write() as session:
        session.execute(update(Job).where(Job.id == key).values(created_at=earlier, sent_at=earlier))
        session.execute(update(Screening).where(Screening.job_id == key).values(created_at=earlier))
    return f"{server.url}/jobs/{job_id}"


def rows(server: Server, address: str) -> list[tuple[str, str | None]]:
    """The names and contents of a job's images, by name."""
    with server.database.read() as session:
        query = select(Screening.file_name, Image.sha256).outerjoin(Image, Screening.image_id == Image.id)
        found = session.execute(query.where(Screening.job_id == uuid.UUID(address[-36:])))
        return sorted((name, sha256) for name, sha256 in found)


def expected(ward: Path) -> list[tuple[str, str | None]]:
    files = sorted(ward.iterdir())
    hashes = (None if "text" in file.name else hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    return [(f"ward seven/{file.name}", sha256) for file, sha256 in zip(files, hashes, strict=True)]


def choose_again(page: Page, ward: Path) -> None:
    form = page.get_by_role("form", name="Continue the upload")
    expect(form).to_be_visible()
    form.get_by_label("Choose a folder").set_input_files(str(ward))


def test_a_tab_closed_in_the_middle_of_an_upload_loses_and_doubles_nothing(
    server: Server, visitor: Visitor, ward: Path
) -> None:
    address = begin(visitor, server, "tina", ward)
    assert len(rows(server, address)) == FIRST
    page = visitor.open(server.link("tina"))
    page.goto(address)
    expect(page.locator("#job-waiting")).to_contain_text("The upload has stopped.")
    choose_again(page, ward)
    expect(page.locator("#summary")).to_contain_text(
        f"{FIRST} of {IMAGES} files have already been received. 6 files will be sent"
    )
    page.get_by_role("button", name="Send 6 files").click()
    expect(page.locator("#job[data-state=FINISHED]")).to_be_visible()
    expect(page.get_by_role("form", name="Continue the upload")).to_have_count(0)
    assert rows(server, address) == expected(ward)
    with server.database.read() as session:
        job = session.get_one(Job, uuid.UUID(address[-36:]))
        assert job.closed_at is not None
        assert (job.expected_images, job.next_position) == (IMAGES, IMAGES)


def test_another_file_of_the_same_name_and_size_is_sent(quiet_server: Server, visitor: Visitor, ward: Path) -> None:
    address = begin(visitor, quiet_server, "tina", ward)
    changed = ward / "05.jpeg"
    data = bytearray(changed.read_bytes())
    data[-3] ^= 1
    changed.write_bytes(data)
    page = visitor.open(quiet_server.link("tina"))
    page.goto(address)
    choose_again(page, ward)
    said = f"{FIRST - 1} of {IMAGES} files have already been received. 7 files will be sent"
    expect(page.locator("#summary")).to_contain_text(said)
    assert list(check(page, address, is_open=True)) == []
    page.get_by_role("button", name="Clear").click()
    (ward / "new").mkdir()
    (ward / "new" / "x.jpeg").write_bytes(encode(draw(1, (80, 80))))
    choose_again(page, ward / "new")
    expect(page.locator("#summary")).to_contain_text(
        "The chosen file has not been received yet. Does it belong to this job?"
    )


def go_on_in_two_tabs(visitor: Visitor, server: Server, address: str, ward: Path) -> list[Page]:
    """Choose the folder again in two tabs of one person, before either sends."""
    pages = [visitor.open(server.link("tina")) for _ in range(2)]
    for page in pages:
        page.goto(address)
        choose_again(page, ward)
        expect(page.locator("#summary")).to_contain_text(f"{FIRST} of {IMAGES} files have already been received.")
    return pages


def test_two_tabs_that_send_the_same_rest_add_it_once(quiet_server: Server, visitor: Visitor, ward: Path) -> None:
    address = begin(visitor, quiet_server, "tina", ward)
    first, second = go_on_in_two_tabs(visitor, quiet_server, address, ward)
    held: list[Route] = []
    first.route("**/close", lambda route: held.append(route))  # noqa: PLW0108  # Playwright marks what it is given
    with first.expect_request("**/close"):
        first.get_by_role("button", name="Send 6 files").click()
    assert rows(quiet_server, address) == expected(ward)
    second.get_by_role("button", name="Send 6 files").click()
    expect(second.locator("#job[data-state=SCREENING]")).to_be_visible()
    held[0].continue_()
    expect(first.locator("#job[data-state=SCREENING]")).to_be_visible()
    assert rows(quiet_server, address) == expected(ward)


def test_a_tab_that_comes_after_the_end_says_what_is_missing(
    quiet_server: Server, visitor: Visitor, ward: Path
) -> None:
    address = begin(visitor, quiet_server, "tina", ward)
    first, second = go_on_in_two_tabs(visitor, quiet_server, address, ward)
    whole = expected(ward)
    (ward / "late").mkdir()
    # More than gunicorn lets lie unread: the refusal is to be seen, not a connection that breaks.
    (ward / "late" / "x.jpeg").write_bytes(encode(draw(1, (80, 80))) + bytes(2**20))
    third = visitor.open(quiet_server.link("tina"))
    third.goto(address)
    choose_again(third, ward / "late")
    expect(third.locator("#summary")).to_contain_text("The chosen file has not been received yet.")
    first.get_by_role("button", name="Send 6 files").click()
    expect(first.locator("#job[data-state=SCREENING]")).to_be_visible()
    visitor.expected = ("409",)
    second.get_by_role("button", name="Send 6 files").click()
    expect(second.locator("#upload")).to_have_count(0)
    third.get_by_role("button", name="Send 1 file").click()
    said = "This upload was ended elsewhere, and 1 file is not in it. Send it as a new job."
    expect(third.locator("#trouble")).to_have_text(said)
    expect(third.locator("#list")).to_contain_text("Not sent yet")
    expect(third.get_by_role("button", name="Try again")).to_be_hidden()
    third.get_by_role("button", name="Stop sending").click()
    expect(third.locator("#upload")).to_have_count(0)
    assert rows(quiet_server, address) == whole


def test_when_all_is_here_only_the_end_is_missing(quiet_server: Server, visitor: Visitor, ward: Path) -> None:
    for file in sorted(ward.iterdir())[FIRST:]:
        file.unlink()
    page = visitor.open(quiet_server.link("tina"))
    page.goto(quiet_server.url)
    page.locator("#folder").set_input_files(str(ward))
    visitor.expected = ("ERR_CONNECTION_RESET",)
    page.route("**/close", lambda route: route.abort("connectionreset"))
    with page.expect_request("**/close") as closing:
        page.get_by_role("button", name=f"Screen {FIRST} files").click()
    expect(page.locator("#trouble")).to_contain_text("Trying again")
    page.close()
    address = let_time_pass(quiet_server, closing.value.url.split("/")[-2])
    page = visitor.open(quiet_server.link("tina"))
    page.goto(address)
    choose_again(page, ward)
    expect(page.locator("#summary")).to_have_text(f"All {FIRST} files have already been received.")
    page.get_by_role("button", name="End the upload").click()
    expect(page.locator("#job[data-state=SCREENING]")).to_be_visible()
    assert len(rows(quiet_server, address)) == FIRST
