"""The viewer of an image: what it draws against NumPy, and every way to handle it, with WebGL 2 and without."""

import io
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from shared.intake.accept import Received
from shared.models.heatmap import encode
from shared.tables import AuditEvent, Role
from tests.browser.accessibility import check
from tests.browser.conftest import FLAGS, WEBGL, Server, Visitor, chromium_path, wait_until_drawn
from tests.browser.screened import PNEUMONIA, keep_file, screen, store_of
from tests.drawn_files import picture, radiograph

pytestmark = pytest.mark.timeout(180)

SIDE = (600, 500)
STORED = (picture(SIDE) * 65535).astype(np.uint16)
LOW, HIGH = 20_000.0, 40_000.0
WINDOW = {"WindowCenter": "30000", "WindowWidth": "20000", "VOILUTFunction": "LINEAR_EXACT"}
NAMES = ("deep.dcm", "inverse.dcm", "spaced.dcm", "plain.png", "linear.dcm")
PATCH = 160
"""Points of the screen about the middle of the image that are compared; nothing lies over them."""


@dataclass
class Place:
    """The images that are there, by name, and who may see them."""

    server: Server
    person: str
    addresses: dict[str, str]
    stored: dict[str, Path]

    cookies: list[Any] = field(default_factory=list)

    def sign_in(self, page: Page) -> None:
        if not self.cookies:
            page.goto(self.server.link(self.person))
            with page.expect_navigation():
                page.get_by_role("button", name="Sign in").click()
            self.cookies.extend(page.context.cookies())
        page.context.add_cookies(self.cookies)

    def open(self, visitor: Visitor, name: str, *, drawn_by: str = "webgl", width: int = 1440) -> Page:
        page = visitor.open(width=width)
        self.sign_in(page)
        page.goto(self.addresses[name])
        wait_until_drawn(page, drawn_by)
        return page


@pytest.fixture(scope="module")
def place(quiet_server: Server) -> Place:
    person = f"technician-{uuid.uuid4().hex[:8]}"
    quiet_server.link(person)
    png = io.BytesIO()
    Image.fromarray((STORED >> 8).astype(np.uint8)).save(png, "PNG")
    files = (
        radiograph(STORED, **WINDOW),
        radiograph(STORED, **WINDOW, PhotometricInterpretation="MONOCHROME1"),
        radiograph(STORED, ImagerPixelSpacing=["0.2", "0.2"]),
        png.getvalue(),
        radiograph(STORED, WindowCenter="30000", WindowWidth="40000"),
    )
    images = [keep_file(quiet_server, data, (SIDE[1], SIDE[0]), "application/dicom") for data in files]
    received = [Received(name, image=image) for name, image in zip(NAMES, images, strict=True)]
    maps = {images[0].sha256: encode(np.linspace(-12, 12, 36).reshape(6, 6))}
    job = screen(quiet_server, person, received, [PNEUMONIA] * len(files), name="viewed", heat_maps=maps)
    root = store_of(quiet_server).root
    stored = {n: root / "images" / f.sha256[:2] / f.sha256 for n, f in zip(NAMES, images, strict=True)}
    return Place(quiet_server, person, dict(zip(NAMES, job.addresses, strict=True)), stored)


def matrix(page: Page) -> list[float]:
    """From the image to points of the stage, in the order of CSS; read once the next frame is drawn."""
    return page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
            const {a, b, c, d, e, f} = new DOMMatrix(document.querySelector(".image-layers").style.transform);
            done([a, b, c, d, e, f]);
        })))"""
    )


def middle(page: Page) -> tuple[float, float]:
    box = page.locator("#viewer-stage").bounding_box()
    assert box is not None
    return round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)


def seen(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """The greys of a patch of the screen, and the places of the image that they show."""
    a, b, c, d, e, f = matrix(page)
    stage, box = (page.locator(name).bounding_box() for name in ("#viewer-stage", "#viewer-canvas"))
    assert stage is not None
    assert box is not None
    assert all(float(round(value, 3)).is_integer() for value in box.values()), "on whole points of the screen"
    e, f = e + stage["x"] - box["x"], f + stage["y"] - box["y"]
    left, top = int(box["width"] - PATCH) // 2, int(box["height"] - PATCH) // 2
    clip = {"x": box["x"] + left, "y": box["y"] + top, "width": PATCH, "height": PATCH}
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"), float)  # type: ignore[arg-type]
    y, x = np.mgrid[top : top + PATCH, left : left + PATCH] + 0.5 - np.floor([f + 0.5, e + 0.5])[:, None, None]
    scale = a * a + b * b
    return shot, np.stack([(a * x + b * y) / scale, (c * x + d * y) / scale])


def right(places: np.ndarray, low: float, high: float) -> np.ndarray:
    """Interpolate the stored samples at those places, and window them."""
    x, y = places - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    right_part, lower_part = x - left, y - top
    at = STORED.astype(float)
    upper = at[top, left] * (1 - right_part) + at[top, left + 1] * right_part
    lower = at[top + 1, left] * (1 - right_part) + at[top + 1, left + 1] * right_part
    return ((upper * (1 - lower_part) + lower * lower_part - low) / (high - low)).clip(0, 1) * 255


def readout(page: Page, text: str) -> None:
    expect(page.locator("#viewer-readout")).to_contain_text(text)


def test_the_window_of_a_header_is_named_as_the_header_has_it(place: Place, reader: Visitor) -> None:
    readout(place.open(reader, "linear.dcm"), "Window 40,000, level 30,000")
    readout(place.open(reader, "deep.dcm"), "Window 20,000, level 30,000")


# ---------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(("name", "is_inverse"), [("deep.dcm", False), ("inverse.dcm", True)])
def test_samples_of_sixteen_bits_are_windowed_to_the_very_grey(
    place: Place, reader: Visitor, drawn_by: str, name: str, is_inverse: bool
) -> None:
    page = place.open(reader, name, drawn_by=drawn_by)
    readout(page, "Window 20,000, level 30,000 · 16 bits")
    page.keyboard.press("z")
    readout(page, "Zoom 100%")
    shot, places = seen(page)
    grey = right(places, LOW, HIGH)
    assert np.abs(shot - (255 - grey if is_inverse else grey)).max() <= 1
    for _ in range(8):
        page.keyboard.press("[")
    readout(page, "Window 3,355, level 30,000")
    page.keyboard.press("i")
    shot, places = seen(page)
    grey = right(places, 30_000 - 0.8**8 * 10_000, 30_000 + 0.8**8 * 10_000)
    assert np.abs(shot - (grey if is_inverse else 255 - grey)).max() <= 1


@pytest.mark.long
def test_enlarged_it_is_interpolated_before_it_is_windowed(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    page.keyboard.press("z")
    for _ in range(6):
        page.keyboard.press("+")
    readout(page, "Zoom 381%")
    shot, places = seen(page)
    assert np.abs(shot - right(places, LOW, HIGH)).max() <= 2


@pytest.mark.long
def test_turned_and_mirrored_it_shows_the_same_samples(place: Place, reader: Visitor, drawn_by: str) -> None:
    page = place.open(reader, "deep.dcm", drawn_by=drawn_by)
    page.keyboard.press("z")
    expect(page.get_by_text("Mirrored: left and right are swapped")).to_be_hidden()
    for key, is_mirrored in (("r", False), ("x", True), ("r", True), ("r", True)):
        page.keyboard.press(key)
        expect(page.get_by_text("Mirrored: left and right are swapped")).to_be_visible(visible=is_mirrored)
        shot, places = seen(page)
        assert np.abs(shot - right(places, LOW, HIGH)).max() <= 1
    assert np.sign(matrix(page)[:4]).tolist() == [0, -1, -1, 0]


@pytest.mark.long
def test_fitted_it_shows_the_mean_of_the_samples(place: Place, reader: Visitor, drawn_by: str) -> None:
    page = place.open(reader, "deep.dcm", drawn_by=drawn_by, width=360)
    shot, places = seen(page)
    low, high = places.min(axis=(1, 2)), places.max(axis=(1, 2))
    part = STORED[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])]
    grey = ((part.astype(float) - LOW) / (HIGH - LOW)).clip(0, 1) * 255
    assert abs(shot.mean() - grey.mean()) < 3


@pytest.mark.long
def test_a_lost_graphics_context_goes_on_without(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    page.keyboard.press("z")
    page.evaluate(
        "document.getElementById('viewer-canvas').getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
    )
    page.wait_for_function("document.getElementById('viewer-canvas')?.getContext('2d') != null")
    shot, places = seen(page)
    assert np.abs(shot - right(places, LOW, HIGH)).max() <= 1


@pytest.mark.long
def test_where_no_samples_come_the_picture_is_used_and_said(place: Place, reader: Visitor) -> None:
    reader.expected = ("404 (NOT FOUND)",)
    page = place.open(reader, "plain.png")
    expect(page.locator("#viewer-readout")).to_have_text(re.compile("8 bits$"))
    file = place.stored["plain.png"]
    data = file.read_bytes()
    file.unlink()
    try:
        page = place.open(reader, "plain.png")  # in a window that keeps no samples yet
        readout(page, "8 bits: original pixels could not be loaded")
        page.keyboard.press("[")
        readout(page, "Window 204")
    finally:
        file.write_bytes(data)


def test_without_script_the_picture_is_there(place: Place, reader: Visitor) -> None:
    page = reader.open(scripts=False)
    place.sign_in(page)
    page.goto(place.addresses["deep.dcm"])
    image = page.get_by_role("img", name="The X-ray deep.dcm")
    expect(image).to_be_visible()
    expect(page.get_by_role("toolbar")).to_be_hidden()
    box = image.bounding_box()
    assert box is not None
    assert box["height"] > 500
    expect(page.get_by_role("link", name="Open the picture on its own")).to_have_attribute(
        "href", re.compile("/image$")
    )


# ---------------------------------------------------------------- how it is handled


def test_the_wheel_zooms_about_the_pointer_and_a_drag_moves(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    box = page.locator("#viewer-stage").bounding_box()
    assert box is not None
    a, _, _, d, e, f = matrix(page)
    x, y = round(box["width"] / 2 + 90), round(box["height"] / 2 + box["y"] - 70) - box["y"]
    under = ((x - e) / a, (y - f) / d)
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.wheel(0, -600)
    page.wait_for_function(f"new DOMMatrix(document.querySelector('.image-layers').style.transform).a > {a * 1.2}")
    a, _, _, d, e, f = matrix(page)
    assert ((x - e) / a, (y - f) / d) == pytest.approx(under, abs=0.01)
    page.mouse.down()
    page.mouse.move(box["x"] + x - 40, box["y"] + y + 25, steps=4)
    page.mouse.up()
    moved = matrix(page)
    assert (moved[4] - e, moved[5] - f) == pytest.approx((-40, 25), abs=0.01)


def test_a_drag_with_the_other_button_sets_contrast_and_brightness(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    x, y = middle(page)
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 100, y, steps=5)
    page.mouse.up(button="right")
    readout(page, "Window 32,974, level 30,000")
    page.get_by_role("button", name="Drag for contrast and brightness").click()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 40, steps=1)
    page.mouse.up()
    readout(page, "level 33,297")
    page.get_by_role("button", name="Reset the view").click()
    readout(page, "Window 20,000, level 30,000")
    expect(page.get_by_role("button", name="Drag for contrast and brightness")).to_have_attribute(
        "aria-pressed", "false"
    )


def test_two_fingers_zoom_and_one_moves(place: Place, with_webgl: Browser) -> None:
    context = with_webgl.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    place.sign_in(page)
    page.goto(place.addresses["deep.dcm"])
    wait_until_drawn(page)
    x, y = middle(page)
    touch = context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    before = matrix(page)
    send("touchStart", (x - 30, y), (x + 30, y))
    for spread in (40, 60, 80, 90):
        send("touchMove", (x - spread, y), (x + spread, y))
    send("touchEnd")
    after = matrix(page)
    assert after[0] / before[0] == pytest.approx(3, rel=0.05)
    send("touchStart", (x, y))
    send("touchMove", (x + 10, y + 10))
    send("touchMove", (x + 50, y + 20))
    send("touchEnd")
    moved = matrix(page)
    assert (moved[4] - after[4], moved[5] - after[5]) == pytest.approx((50, 20), abs=1)
    assert page.evaluate("visualViewport.scale") == 1, "the image is zoomed, not the page"
    context.close()


def test_every_gesture_has_a_button_that_says_how_it_stands(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    bar = page.get_by_role("toolbar", name="View of the X-ray")
    fit = bar.get_by_role("button", name="Fit to the window")
    expect(fit).to_have_attribute("aria-pressed", "true")
    bar.get_by_role("button", name="Actual size").click()
    expect(fit).to_have_attribute("aria-pressed", "false")
    readout(page, "Zoom 100%")
    bar.get_by_role("button", name="Zoom in").click()
    readout(page, "Zoom 125%")
    bar.get_by_role("button", name="More tools").click()
    before = matrix(page)
    bar.get_by_role("button", name="Show what is on the right").click()
    bar.get_by_role("button", name="Show what is below").click()
    after = matrix(page)
    assert (after[4] - before[4], after[5] - before[5]) == (-80, -80)
    bar.get_by_role("button", name="More contrast").click()
    readout(page, "Window 16,000")
    bar.get_by_role("button", name="Darker").click()
    readout(page, "level 30,800")
    for name in ("Invert", "Mirror left and right"):
        bar.get_by_role("button", name=name).click()
        expect(bar.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#viewer-said")).to_have_text(re.compile(r"Zoom 125%.*level 30,800"))
    bar.get_by_role("button", name="Zoom out").focus()
    page.keyboard.press("ArrowRight")
    expect(bar.get_by_role("button", name="Zoom in")).to_be_focused()
    assert list(check(page, page.url, is_open=True)) == []


def test_keys_of_one_letter_can_be_turned_off_for_an_account(place: Place, reader: Visitor) -> None:
    page = reader.open(place.server.link(role=Role.READER))  # an account of its own, as the setting stays
    page.goto(place.addresses["deep.dcm"])
    wait_until_drawn(page)
    page.get_by_role("button", name="More tools").click()
    page.get_by_role("link", name="Single-key shortcuts are on. Change this").click()
    page.get_by_label("Single-key shortcuts").uncheck()
    page.get_by_role("button", name="Save").click()
    page.goto(place.addresses["deep.dcm"])
    wait_until_drawn(page)
    for key in ("z", "i", "h", "j"):
        page.keyboard.press(key)
    readout(page, "level 30,000")
    expect(page.get_by_role("button", name="Fit to the window")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".heat-layer")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", level=1)).to_have_text("inverse.dcm")


@pytest.mark.long
def test_the_ruler_measures_in_millimetres_where_the_file_says_how(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "spaced.dcm")
    page.keyboard.press("z")
    page.keyboard.press("m")
    x, y = middle(page)
    page.mouse.move(x - 50, y)
    page.mouse.down()
    page.mouse.move(x + 50, y, steps=5)
    page.mouse.up()
    expect(page.locator("#viewer-length")).to_have_text("20.0 mm")
    expect(page.locator("#viewer-ruler-said")).to_contain_text("at the detector, from the file's Imager Pixel Spacing")
    page.get_by_role("button", name="Second end of the ruler").focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("#viewer-length")).to_have_text("22.0 mm")
    page.mouse.click(x - 20, y)
    page.mouse.click(x + 20, y)
    expect(page.locator("#viewer-length")).to_have_text("8.0 mm")
    page.goto(place.addresses["deep.dcm"])
    wait_until_drawn(page)
    page.keyboard.press("m")
    expect(page.locator("#viewer-length")).to_have_text(re.compile(r"^\d+ pixels$"))
    expect(page.locator("#viewer-ruler-said")).to_contain_text("does not say how large a pixel is")


def test_the_heat_map_shows_for_as_long_as_its_key_is_held(place: Place, reader: Visitor) -> None:
    page = place.open(reader, "deep.dcm")
    layer = page.locator(".heat-layer")
    page.keyboard.down("h")
    expect(layer).to_be_visible()
    page.wait_for_timeout(400)
    page.keyboard.up("h")
    expect(layer).to_be_hidden()


def test_the_page_takes_the_window_and_stays_light(place: Place, reader: Visitor) -> None:
    page = reader.open()
    place.sign_in(page)
    sizes: dict[str, int] = {}
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    page.goto(place.addresses["deep.dcm"])
    wait_until_drawn(page)
    for width, height in ((1440, 900), (1000, 700)):
        page.set_viewport_size({"width": width, "height": height})
        box = page.locator("#viewer").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] > height - 4
        assert box["width"] > width - 370
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    samples = f"/screenings/{page.url.rsplit('/', 1)[1]}/pixels"
    assert len([url for url in asked if samples in url]) == 1, "asked for in the head of the page, and taken from there"
    rest = {url: size for url, size in sizes.items() if "/screenings/" not in url}
    assert sum(rest.values()) < 105_000, rest


@pytest.mark.long
def test_the_next_image_is_fetched_ahead_and_soon_shown(place: Place, with_webgl: Browser, tmp_path: Path) -> None:
    """Print how long the next image takes; a browser without a profile keeps nothing as large as an image."""
    context = with_webgl.browser_type.launch_persistent_context(
        tmp_path, executable_path=chromium_path(), args=[*FLAGS, *WEBGL]
    )
    page = context.new_page()
    place.sign_in(page)
    with page.expect_response(lambda answer: answer.request.headers.get("x-preload") and "/image" in answer.url):
        page.goto(place.addresses["deep.dcm"])
    page.wait_for_timeout(300)
    with page.expect_response(lambda answer: "/pixels" in answer.url) as pixels:
        page.keyboard.press("j")
    wait_until_drawn(page)
    assert page.get_by_role("heading", level=1).text_content() == "inverse.dcm"
    taken = page.evaluate("performance.getEntriesByName('image-shown')[0].startTime")
    size = page.evaluate("performance.getEntriesByType('resource').find(({name}) => /pixels/.test(name)).transferSize")
    print(f"\nnext image shown after {taken:.0f} ms; {size} bytes of its samples came over the network")  # noqa: T201  # a figure, see with -s
    assert pixels.value.request.headers.get("x-preload") is None
    assert size == 0, "the kept ones, without a question to the server"
    context.close()
    with place.server.database.read() as session:
        query = select(AuditEvent.detail).where(AuditEvent.action == "image_viewed")
        assert {"purpose": "preload"} in session.scalars(query).all()
