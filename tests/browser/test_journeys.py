"""What people come to do, in a real browser, on the whole product."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import FileChooser, Page, expect

from tests.browser.conftest import Server, Visitor

pytestmark = pytest.mark.timeout(180)

READY = re.compile(r"Screen \d+ files?$")


def wait_for_end(page: Page) -> None:
    expect(page.locator("#job[data-state=FINISHED]")).to_be_visible(timeout=30_000)


def send(page: Page, server: Server, images: Path) -> None:
    """Send three images and a text by the file picker, and wait for the job's end."""
    page.goto(server.url)
    page.locator("#files").set_input_files([str(path) for path in sorted(images.rglob("*.jp*g"))])
    page.get_by_role("button", name=READY).click()
    page.wait_for_url(f"{server.url}/jobs/*")
    wait_for_end(page)


def test_a_one_time_link_signs_in_once(server: Server, visitor: Visitor) -> None:
    link = server.link()
    page = visitor.open(link)
    expect(page.get_by_role("heading", name="Set a password")).to_be_visible()
    page.get_by_role("link", name="Skip for now").click()
    expect(page.get_by_role("heading", name="Screen chest X-rays")).to_be_visible()

    visitor.expected = ("410",)
    other = visitor.open(link)
    expect(other.get_by_role("heading", name="This link no longer works")).to_be_visible()


def test_a_password_opens_the_door_again(server: Server, visitor: Visitor) -> None:
    page = visitor.open(server.link("paula"))
    page.get_by_label("New password", exact=True).fill("correct horse battery")
    page.get_by_label("New password again").fill("correct horse battery")
    page.get_by_role("button", name="Save the password").click()
    expect(page.get_by_role("status").filter(has_text="The password is set")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Name").fill("paula")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("link", name="paula technician")).to_be_visible()


def test_good_and_bad_files_end_on_the_job_page_and_in_the_history(
    server: Server, visitor: Visitor, images: Path
) -> None:
    page = visitor.open(server.link())
    send(page, server, images)
    assert "%" not in page.title()
    expect(page.locator("#job-images .badge")).to_have_count(3)
    refused = page.get_by_role("row").filter(has_text="not an image.jpg")
    expect(refused).to_contain_text("This is not a JPEG")
    expect(page.get_by_role("link", name=re.compile("^Refused 1"))).to_be_visible()
    picture = page.locator("#job-images .thumb-box img").first
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0

    page.get_by_role("link", name="History", exact=True).click()
    page.get_by_label("File name contains").fill("SECOND")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("table.images tbody tr")).to_have_count(1)
    page.get_by_role("link", name="File name contains: SECOND").click()
    expect(page.locator("table.images tbody tr")).to_have_count(4)

    page.get_by_role("link", name="second.jpeg").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("second.jpeg")
    expect(page.get_by_text("Decision support, not a diagnosis.")).to_be_visible()
    image = page.locator("#image-view img").first
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 256
    expect(page.locator("#viewer")).to_have_attribute("data-shown", "canvas")
    page.keyboard.press("z")
    expect(page.get_by_role("button", name="Actual size")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", level=1)).to_have_text("not an image.jpg")
    page.wait_for_load_state()  # by then its script listens for keys
    page.keyboard.press("k")
    expect(page.get_by_role("heading", level=1)).to_have_text("second.jpeg")
    page.get_by_role("link", name="Newest first").click()
    expect(page.get_by_role("heading", name="History")).to_be_visible()


def test_a_drop_is_checked_before_it_is_sent(server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(server.link())
    page.goto(server.url)
    limit = int(page.locator("#upload").get_attribute("data-max-image") or 0)
    page.evaluate(
        """([image, limit]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(image)], "dropped.jpeg", {type: "image/jpeg"}));
            transfer.items.add(new File([], "empty.jpeg"));
            transfer.items.add(new File([new Blob([new Uint8Array(limit + 1)])], "huge.tif"));
            transfer.items.add(new File(["x"], ".DS_Store"));
            document.getElementById("drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [list((images / "first.jpeg").read_bytes()), limit],
    )
    expect(page.locator("#summary")).to_contain_text("1 file left out")
    refused = page.locator("#refused")
    expect(refused).to_contain_text("1 file cannot be sent")
    expect(refused).to_contain_text("huge.tif: 64.0 MiB, over the limit of 64.0 MiB")
    expect(page.locator("#list li")).to_have_count(2)
    page.get_by_role("button", name="Screen 2 files").click()
    page.wait_for_url(f"{server.url}/jobs/*")
    wait_for_end(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("2 files")
    expect(page.locator("#job")).to_contain_text("2 of 2 X-rays processed")
    expect(page.get_by_role("row").filter(has_text="empty.jpeg")).to_contain_text("Refused")


def test_what_a_disc_adds_to_its_images_is_left_out_and_counted(
    server: Server, visitor: Visitor, images: Path, tmp_path: Path
) -> None:
    disc = tmp_path / "disc"
    (disc / "VIEWER").mkdir(parents=True)
    (disc / "IM000001").write_bytes((images / "first.jpeg").read_bytes())
    for name in ("DICOMDIR", "AUTORUN.INF", "VIEWER/viewer.exe", "VIEWER/index.html"):
        (disc / name).write_bytes(b"x")
    page = visitor.open(server.link())
    page.goto(server.url)
    page.locator("#folder").set_input_files(str(disc))
    expect(page.locator("#summary")).to_contain_text("4 files left out")
    expect(page.locator("#list li")).to_have_count(1)
    page.get_by_role("button", name="Screen 1 file").click()
    expect(page.get_by_text("IM000001").first).to_be_visible(
        timeout=30_000
    )  # in the job, or open where it ended meanwhile


def test_a_folder_keeps_its_paths_and_names_the_job(server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(server.link())
    page.goto(server.url)
    page.locator("#folder").set_input_files(str(images))
    page.get_by_role("button", name=READY).click()
    page.wait_for_url(f"{server.url}/jobs/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("ward three")
    expect(page.get_by_role("link", name="ward three/inside/ third.jpeg")).to_be_visible()
    wait_for_end(page)
    expect(page.locator("#job-images .badge")).to_have_count(3)


def test_the_samples_are_one_click_away(server: Server, visitor: Visitor) -> None:
    page = visitor.open(server.link())
    page.goto(server.url)
    page.get_by_role("button", name="Screen the 20 synthetic sample X-rays").click()
    wait_for_end(page)
    page.get_by_role("link", name="Most suspicious first").click()
    expect(page.get_by_role("link", name="Job: Synthetic samples")).to_be_visible()
    numbers = [float(text.strip("<>")) for text in page.locator("table.images td.p .suspicion b").all_text_contents()]
    assert len(numbers) == 20
    assert numbers == sorted(numbers, reverse=True)


def test_what_is_filtered_is_what_is_exported(server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(server.link())
    send(page, server, images)
    page.goto(f"{server.url}/history?state=DONE&text=first")
    with page.expect_download() as csv:
        page.get_by_role("link", name="Export CSV").click()
    head, *lines = csv.value.path().read_text().splitlines()
    assert head.startswith("file_name,state,label,confidence,p_pneumonia,model,error")
    assert [line.split(",")[:2] for line in lines] == [["first.jpeg", "DONE"]]
    with page.expect_download() as exported:
        page.get_by_role("link", name="Export JSON").click()
    assert [row["file_name"] for row in json.loads(exported.value.path().read_text())["predictions"]] == ["first.jpeg"]


def test_history_has_its_first_row_high_and_a_search_that_keeps_the_filters(
    server: Server, visitor: Visitor, images: Path
) -> None:
    page = visitor.open(server.link())
    send(page, server, images)
    page.set_viewport_size({"width": 1280, "height": 720})
    page.goto(f"{server.url}/history?state=DONE&order=suspicious")
    box = page.locator("table.images tbody tr").first.bounding_box()
    assert box is not None
    assert box["y"] < 720 / 2
    page.get_by_role("searchbox", name="File name contains").fill("first")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    for filtered in ("State: Done", "File name contains: first"):
        expect(page.get_by_role("list", name="Active filters")).to_contain_text(filtered)
    assert "order=suspicious" in page.url
    page.get_by_text("Filter", exact=True).click()
    expect(page.get_by_role("button", name="Apply")).to_be_visible()


def test_the_keyboard_alone_sends_an_image(server: Server, visitor: Visitor, images: Path) -> None:
    page = visitor.open(server.link())
    choosers: list[FileChooser] = []
    # Listening from the start: a chooser that opens before the browser was told to hand it over is lost for good.
    page.on("filechooser", lambda chooser: choosers.append(chooser))  # noqa: PLW0108  # Playwright marks its handlers
    page.goto(server.url)
    page.bring_to_front()
    page.wait_for_function("document.hasFocus()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "files":
            break
    expect(page.locator("#files")).to_be_focused()
    assert page.locator('label[for="files"]').evaluate("label => getComputedStyle(label).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    for _ in range(300):
        if choosers:
            break
        page.wait_for_timeout(100)
    choosers[0].set_files(str(images / "first.jpeg"))
    expect(page.get_by_role("button", name="Screen 1 file")).to_be_focused()
    page.keyboard.press("Enter")
    # A job of one image opens that image as soon as it ended, which may be before its own page was seen.
    page.wait_for_url(f"{server.url}/screenings/*", timeout=60_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("first.jpeg")
