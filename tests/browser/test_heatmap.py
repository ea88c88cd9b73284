"""The heat map on an image's page: by mouse, by key, enlarged, and without JavaScript."""

import time
import uuid

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from shared.intake.accept import Received
from shared.models.heatmap import encode
from shared.tables import Role
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor
from tests.browser.screened import PNEUMONIA, keep, screen

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def images(quiet_server: Server) -> tuple[str, list[str]]:
    """An account, and the addresses of an image with a heat map and of one without."""
    name = f"technician-{uuid.uuid4().hex[:8]}"
    quiet_server.link(name)
    seed = time.time_ns() % 2**31
    kept = [keep(quiet_server, seed + n) for n in range(2)]
    job = screen(
        quiet_server, name, [Received(f"X-ray {n}.jpeg", image=image) for n, image in enumerate(kept)], [PNEUMONIA] * 2,
        name="two X-rays", heat_maps={kept[0].sha256: encode(np.linspace(-12, 12, 36).reshape(6, 6))},
    )  # fmt: skip
    return name, job.addresses


def layers(page: Page) -> list[dict[str, float]]:
    """Where the image and its map lie, both at one moment: the viewer may take the picture over in between."""
    box = "image => { const {x, y, width, height} = image.getBoundingClientRect(); return {x, y, width, height}; }"
    return page.locator(".image-layers img").evaluate_all(f"images => images.slice(0, 2).map({box})")


def test_the_map_lies_exactly_over_the_image_fitted_and_enlarged(
    quiet_server: Server, visitor: Visitor, images: tuple[str, list[str]]
) -> None:
    name, addresses = images
    page = visitor.open(quiet_server.link(name))
    page.goto(addresses[0])
    layer = page.locator(".heat-layer")
    expect(layer).to_be_hidden()
    page.get_by_text("Heat map", exact=True).click()
    expect(page.get_by_role("switch", name="Heat map")).to_be_checked()
    expect(layer).to_be_visible()
    expect(page.get_by_text("what moved the model, not where disease is")).to_be_visible()
    assert layer.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for _ in range(2):
            image, heat = layers(page)
            assert heat == pytest.approx(image, abs=0.5)
            page.keyboard.press("z")
    page.get_by_label("Strength").fill("50")
    expect(layer).to_have_css("opacity", "0.5")


def test_a_key_shows_and_hides_it_and_every_image_starts_without(
    quiet_server: Server, visitor: Visitor, images: tuple[str, list[str]]
) -> None:
    name, addresses = images
    page = visitor.open(quiet_server.link(name))
    page.goto(addresses[0])
    layer = page.locator(".heat-layer")
    page.keyboard.press("h")
    expect(layer).to_be_visible()
    page.get_by_role("switch", name="Heat map").focus()
    page.keyboard.press("h")
    expect(layer).to_be_hidden()
    page.keyboard.press("Space")
    expect(layer).to_be_visible()
    page.get_by_label("Strength").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("Strength")).to_have_value("90")
    page.keyboard.press("j")
    expect(page.get_by_role("heading", level=1)).to_have_text("X-ray 1.jpeg")
    expect(page.get_by_text("No heat map was kept with this result.")).to_be_visible()
    page.wait_for_load_state()  # what listens to keys is loaded last
    page.keyboard.press("h")
    page.keyboard.press("k")
    expect(page.get_by_role("heading", level=1)).to_have_text("X-ray 0.jpeg")
    expect(layer).to_be_hidden()


def test_it_works_without_javascript(quiet_server: Server, visitor: Visitor, images: tuple[str, list[str]]) -> None:
    name, addresses = images
    page = visitor.open(quiet_server.link(name), scripts=False)
    page.goto(addresses[0])
    expect(page.locator(".heat-layer")).to_be_hidden()
    page.get_by_text("Heat map", exact=True).click()
    expect(page.locator(".heat-layer")).to_be_visible()
    expect(page.get_by_label("Strength")).to_be_hidden()


def test_it_can_be_read_by_everyone(quiet_server: Server, visitor: Visitor, images: tuple[str, list[str]]) -> None:
    name, addresses = images
    page = visitor.open(quiet_server.link(name))
    assert list(check(page, addresses[0])) == []
    page.keyboard.press("h")
    expect(page.locator(".heat-layer")).to_be_visible()
    assert list(check(page, addresses[0], is_open=True)) == []


def test_a_print_shows_the_image_alone(quiet_server: Server, visitor: Visitor, images: tuple[str, list[str]]) -> None:
    name, addresses = images
    page = visitor.open(quiet_server.link(name))
    page.goto(addresses[0])
    page.keyboard.press("h")
    expect(page.locator(".heat-layer")).to_be_visible()
    page.emulate_media(media="print")
    expect(page.locator(".heat-layer")).to_be_hidden()


def test_a_print_holds_nothing_to_press_or_to_fill_in(quiet_server: Server, visitor: Visitor) -> None:
    name = f"rita-{uuid.uuid4().hex[:6]}"
    link = quiet_server.link(name, Role.READER)
    received = Received("chest.jpeg", image=keep(quiet_server, time.time_ns() % 2**31))
    address = screen(quiet_server, name, [received], [PNEUMONIA]).addresses[0]
    page = visitor.open(link)
    for shown in (address, f"{quiet_server.url}/worklist"):
        page.goto(shown)
        page.emulate_media(media="print")
        expect(page.locator("button:visible, textarea:visible, summary:visible, .keys-said:visible")).to_have_count(0)
    page.goto(address)
    expect(page.get_by_role("heading", name="Your review")).to_be_hidden()
    page.locator("button[value=agree]").dispatch_event("click")
    page.get_by_text("No unread X-rays are left in this list.").wait_for()
    expect(page.get_by_role("heading", name="Your review")).to_be_visible()
