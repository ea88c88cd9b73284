"""An X-ray side by side with an earlier one of the same patient: by button and key, linked and apart."""

import io
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from pydantic import SecretStr
from sqlalchemy import select

from shared.intake.accept import Received, accept
from shared.settings import Settings
from shared.tables import AuditEvent, ImageClaim, Role
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor, wait_until_drawn
from tests.browser.screened import NORMAL, PNEUMONIA, screen, store_of
from tests.drawn_files import picture, radiograph

pytestmark = pytest.mark.timeout(180)

DAYS = ("20230110", "20251220", "20260110")
SIZES = ((600, 500), (900, 750), (600, 500))
"""The earlier one has half as many pixels a side more: linked, the same part of both is shown all the same."""


def xray(day: str, size: tuple[int, int], **tags: object) -> bytes:
    samples = (picture(size, int(day)) * 65535).astype(np.uint16)
    mark = size[0] // 10
    samples[:mark, : 2 * mark] = 65535  # in one corner, so that a mirrored one shows
    return radiograph(samples, StudyDate=day, **tags)


@dataclass
class Place:
    """X-rays of a patient, oldest first, one of a stranger, and who reads them."""

    server: Server
    reader: str
    addresses: list[str]
    cookies: list[Any] = field(default_factory=list)

    @property
    def newest(self) -> str:
        return self.addresses[2]

    def sign_in(self, page: Page) -> None:
        if not self.cookies:
            page.goto(self.server.link(self.reader, Role.READER))
            with page.expect_navigation():
                page.get_by_role("button", name="Sign in").click()
            self.cookies.extend(page.context.cookies())
        page.context.add_cookies(self.cookies)

    def open(self, visitor: Visitor, address: str | None = None, *, drawn_by: str = "webgl", width: int = 1440) -> Page:
        page = visitor.open(width=width)
        self.sign_in(page)
        page.goto(address or self.newest)
        wait_until_drawn(page, drawn_by)
        return page

    def views(self, address: str) -> int:
        """How often an X-ray was given out."""
        query = select(AuditEvent).where(AuditEvent.action == "image_viewed")
        with self.server.database.read() as session:
            return len(session.scalars(query.where(AuditEvent.subject == address.rsplit("/", 1)[1])).all())


@pytest.fixture(scope="module")
def place(quiet_server: Server) -> Place:
    number = f"Mustermann-{uuid.uuid4().hex[:8]}"
    files = [xray(day, size, PatientID=number) for day, size in zip(DAYS, SIZES, strict=True)]
    files.append(xray("20260101", (600, 500), PatientID=f"Other-{number}"))
    settings, store = Settings(secret_key=SecretStr("a key of whoever sends")), store_of(quiet_server)
    received = [Received(f"{n}.dcm", image=accept([data], store, settings)) for n, data in enumerate(files)]
    person = f"technician-{uuid.uuid4().hex[:8]}"
    quiet_server.link(person)
    job = screen(quiet_server, person, received, [NORMAL, PNEUMONIA, PNEUMONIA, NORMAL], name="one patient")
    return Place(quiet_server, f"reader-{uuid.uuid4().hex[:8]}", job.addresses)


def open_beside(page: Page, drawn_by: str = "webgl") -> None:
    page.keyboard.press("p")
    expect(page.locator("#beside .viewer-stage")).to_have_attribute("data-shown", drawn_by)


def shown(page: Page) -> list[list[float]]:
    """Of each pane, which part of its image lies in the middle, and how large that is beside what fits."""
    return page.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
            [...document.querySelectorAll(".viewer-stage")].map((stage) => {
                const layers = stage.querySelector(".image-layers");
                const {a, b, c, d, e, f} = new DOMMatrix(layers.style.transform);
                const [width, height] = [parseFloat(layers.style.width), parseFloat(layers.style.height)];
                const {width: across, height: down} = stage.getBoundingClientRect();
                const scale = Math.hypot(a, b);
                const [x, y] = [across / 2 - e, down / 2 - f];
                const [isLying, fits] = [a === 0, (w, h) => Math.min(across / w, down / h)];
                return [(a * x + b * y) / scale ** 2 / width, (c * x + d * y) / scale ** 2 / height,
                    scale / (isLying ? fits(height, width) : fits(width, height))];
            })))))"""
    )


def same_part(page: Page) -> list[float]:
    own, other = shown(page)
    assert own == close(other)
    return own


def close(value: Any) -> Any:
    """As near as CSS writes a number."""
    return pytest.approx(value, rel=1e-4, abs=1e-4)


def middle_of(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


# ---------------------------------------------------------------- open, swap, leave


def test_a_key_lays_the_nearest_earlier_one_beside_it_and_takes_it_away(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    panel = page.get_by_role("region", name="2 earlier X-rays of this patient")
    expect(panel.get_by_role("link")).to_have_text(["20 Dec 2025", "10 Jan 2023"])
    expect(panel).to_contain_text("21 days earlier")
    before = place.views(place.addresses[1])
    assert page.locator("#beside").count() == 0
    open_beside(page)
    expect(page.locator("#beside .pane-about")).to_contain_text("20 Dec 2025 · 21 days earlier")
    expect(page.locator("#beside .pane-about")).to_contain_text("Suspicion 93")
    expect(page.locator(".pane-about").first).to_contain_text("This X-ray · 10 Jan 2026")
    assert place.views(place.addresses[1]) > before, "looked at by now"
    assert place.views(place.addresses[0]) == 0
    with place.server.database.read() as session:
        assert len(session.scalars(select(ImageClaim)).all()) == 1, "only the page's own is claimed"
    own, other = (page.locator(name).bounding_box() for name in ("#viewer-stage", "#beside .viewer-stage"))
    assert own is not None
    assert other is not None
    assert own["x"] + own["width"] <= other["x"]
    assert own["width"] == pytest.approx(other["width"], abs=1)
    assert own["height"] == pytest.approx(other["height"], abs=1)
    assert list(check(page, page.url, is_open=True)) == []
    page.keyboard.press("p")
    expect(page.locator("#beside")).to_have_count(0)
    expect(page.locator(".pane-about").first).to_be_hidden()
    assert page.locator("#viewer-stage").get_attribute("tabindex") is None


def test_a_button_opens_it_and_another_one_can_be_chosen(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    tool = page.get_by_role("button", name="Side by side with another X-ray of this patient")
    expect(tool).to_have_attribute("aria-pressed", "false")
    page.get_by_role("button", name=re.compile("^Side by side")).last.click()
    expect(page.locator("#beside .viewer-stage")).to_have_attribute("data-shown", "webgl")
    expect(tool).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("+")
    zoomed = same_part(page)
    page.get_by_label("X-ray shown beside this one").select_option("10 Jan 2023 · 3 years earlier")
    expect(page.get_by_role("img", name="X-ray, 10 Jan 2023")).to_be_visible()
    expect(page.locator("#beside .pane-about")).to_contain_text("Suspicion 2")
    expect(page.locator("#beside .viewer-stage")).to_have_attribute("data-shown", "webgl")
    assert same_part(page) == close(zoomed)
    expect(page.locator("#beside canvas")).to_have_count(1)
    link = page.locator("#beside").get_by_role("link", name="Open it")
    expect(link).to_have_attribute("href", re.compile(place.addresses[0].rsplit("/", 1)[1]))
    tool.click()
    expect(page.locator("#beside")).to_have_count(0)
    expect(page.locator("#viewer-stage canvas")).to_be_visible()


def test_an_x_ray_without_others_offers_nothing(place: Place, reader: Visitor) -> None:
    page = place.open(reader, place.addresses[3])
    expect(page.get_by_role("button", name=re.compile("Side by side"))).to_have_count(0)
    page.keyboard.press("p")
    page.keyboard.press("+")
    expect(page.locator("#viewer-readout")).to_contain_text("Zoom")
    expect(page.locator("#beside")).to_have_count(0)


def test_the_oldest_one_is_laid_beside_a_later_one(place: Place, reader: Visitor) -> None:
    page = place.open(reader, place.addresses[0])
    expect(page.get_by_role("region", name="Other X-rays of this patient")).to_contain_text("3 years later")
    open_beside(page)
    expect(page.locator("#beside .pane-about option:checked")).to_have_text("20 Dec 2025 · 3 years later")


def test_without_script_the_others_are_links(place: Place, reader: Visitor) -> None:
    page = reader.open(scripts=False)
    place.sign_in(page)
    page.goto(place.newest)
    expect(page.get_by_role("button", name=re.compile("Side by side"))).to_have_count(0)
    page.get_by_role("link", name="20 Dec 2025").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1.dcm")


@pytest.mark.long
def test_one_whose_file_is_gone_says_so(place: Place, reader: Visitor) -> None:
    reader.expected = ("404 (NOT FOUND)", "Failed to load resource")
    page = place.open(reader, place.addresses[0])
    page.route(re.compile(r"/(pixels|image)\?"), lambda route: route.fulfill(status=404, body=""))
    page.keyboard.press("p")
    expect(page.get_by_text("This X-ray cannot be shown.")).to_be_visible()
    page.keyboard.press("+")
    reader.problems[:] = [problem for problem in reader.problems if "no Content-Security-Policy" not in problem]


# ---------------------------------------------------------------- linked and apart


def test_linked_both_show_the_same_part_whatever_is_done(place: Place, reader: Visitor, drawn_by: str) -> None:
    page = place.open(reader, drawn_by=drawn_by)
    open_beside(page, drawn_by)
    assert same_part(page) == close([0.5, 0.5, 1])
    x, y = middle_of(page, "#viewer-stage")
    page.mouse.move(x + 60, y - 40)
    page.mouse.wheel(0, -600)
    zoomed = same_part(page)
    assert zoomed[2] > 1.5
    page.mouse.down()
    page.mouse.move(x + 100, y - 90, steps=4)
    page.mouse.up()
    moved = same_part(page)
    assert moved[0] < zoomed[0]
    x, y = middle_of(page, "#beside .viewer-stage")
    page.mouse.move(x, y)
    page.mouse.wheel(0, 200)
    assert same_part(page)[2] < moved[2]
    page.keyboard.press("r")
    same_part(page)
    transforms = page.locator(".viewer-stage .image-layers").evaluate_all("all => all.map(it => it.style.transform)")
    assert [transform.startswith("matrix(0, ") for transform in transforms] == [True, True], "both are turned"
    for key in "----------++":
        page.keyboard.press(key)
    same_part(page)
    page.keyboard.press("d")
    assert same_part(page) == close([0.5, 0.5, 1])
    before = [page.locator(f"#{name}-readout").text_content() for name in ("viewer", "beside")]
    page.keyboard.press("[")
    for name, text in zip(("viewer", "beside"), before, strict=True):
        expect(page.locator(f"#{name}-readout")).not_to_have_text(text or "")
    page.keyboard.press("i")
    expect(page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")


def test_apart_each_is_handled_for_itself(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    open_beside(page)
    linked = page.get_by_role("button", name="Zoom, move and adjust both together")
    expect(linked).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("y")
    expect(linked).to_have_attribute("aria-pressed", "false")
    page.mouse.move(*middle_of(page, "#beside .viewer-stage"))
    page.mouse.wheel(0, -600)
    own, other = shown(page)
    assert own[2] == close(1)
    assert other[2] > 1.5
    page.locator("#viewer-stage").focus()
    page.keyboard.press("+")
    assert shown(page)[0][2] == close(1.25)
    assert shown(page)[1] == close(other)
    linked.click()
    page.keyboard.press("+")
    after = shown(page)
    assert after[0][2] == close(1.25**2)
    assert after[1][2] == close(other[2] * 1.25), "what was set apart stays so"
    page.keyboard.press("0")
    same_part(page)


@pytest.mark.long
def test_opened_again_and_again_it_leaves_nothing_behind(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    for _ in range(20):  # a browser keeps 16 graphics contexts, and then takes the oldest away
        open_beside(page)
        page.keyboard.press("p")
        expect(page.locator("#beside")).to_have_count(0)
    expect(page.locator("#viewer")).to_have_attribute("data-shown", "webgl")
    assert page.evaluate("!document.getElementById('viewer-canvas').getContext('webgl2').isContextLost()")


@pytest.mark.long
def test_the_ruler_measures_on_either(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    open_beside(page)
    page.keyboard.press("y")
    page.locator("#beside .viewer-stage").focus()
    page.keyboard.press("m")
    expect(page.locator("#beside-length")).to_have_text(re.compile(r"pixels$"))
    expect(page.locator("#viewer-ruler")).to_be_hidden()
    expect(page.locator("#viewer-ruler-said")).to_contain_text("does not say how large a pixel is")


# ---------------------------------------------------------------- little room, and other directions


def test_on_a_telephone_they_stand_one_above_the_other(place: Place, reader: Visitor) -> None:
    page = place.open(reader, width=320)
    page.set_viewport_size({"width": 320, "height": 640})
    open_beside(page)
    own, other = (page.locator(name).bounding_box() for name in ("#viewer-stage", "#beside .viewer-stage"))
    assert own is not None
    assert other is not None
    assert own["y"] + own["height"] <= other["y"]
    assert own["width"] == other["width"] == 320
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert list(check(page, page.url, is_open=True)) == []


def corner(page: Page, selector: str) -> float:
    """How light the corner of an image is that bears its mark, and not the other one."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=box))).convert("L"), float)  # type: ignore[arg-type]
    a, e, f, width = page.evaluate(
        "(s) => { const {style} = document.querySelector(s + ' .image-layers');"
        " const m = new DOMMatrix(style.transform); return [m.a, m.e, m.f, parseFloat(style.width)] }",
        selector,
    )
    rows = slice(int(f) + 2, int(f) + 12)
    left, right = (shot[rows, int(x) : int(x) + 10].mean() for x in (e + 2, e + a * width - 12))
    return float(left - right)


def test_arabic_mirrors_the_page_and_no_image(place: Place, reader: Visitor) -> None:
    page = place.open(reader)
    page.set_extra_http_headers({"Accept-Language": "ar"})
    page.goto(place.newest)
    wait_until_drawn(page)
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    open_beside(page)
    own, other = (page.locator(name).bounding_box() for name in ("#viewer-stage", "#beside .viewer-stage"))
    assert own is not None
    assert other is not None
    assert own["x"] + own["width"] <= other["x"], "time and position run from left to right everywhere"
    assert same_part(page) == close([0.5, 0.5, 1])
    for selector in ("#viewer-stage", "#beside .viewer-stage"):
        assert corner(page, selector) > 60, "the mark is in the same corner"
