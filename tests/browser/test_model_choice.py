"""What people choose where several models are there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Server, Visitor
from tests.conftest import DEFAULT_MODEL, ROOT, draw, encode

pytestmark = pytest.mark.timeout(180)
OTHER = "mobilenet-v2"


@pytest.fixture
def server_of_two(quiet_server: Server) -> Iterator[Server]:
    """Pages that have two models."""
    shutil.copytree(ROOT / "models" / OTHER, quiet_server.models / OTHER)
    yield quiet_server
    shutil.rmtree(quiet_server.models / OTHER)


def test_the_upload_page_sends_images_to_the_model_that_was_chosen(
    server_of_two: Server, visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.open(server_of_two.link())
    page.goto(server_of_two.url)
    choice = page.get_by_label("Model", exact=True)
    expect(choice).to_have_value(DEFAULT_MODEL)
    choice.select_option(OTHER)
    image = tmp_path / "image.jpeg"
    image.write_bytes(encode(draw(1)))
    page.locator("#files").set_input_files(str(image))
    page.get_by_role("button", name="Screen 1 file").click()
    page.wait_for_url(f"{server_of_two.url}/jobs/*")
    expect(page.locator("#live .mono", has_text=OTHER).first).to_be_visible()
