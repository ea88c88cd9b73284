"""The heat map on an image's page: by mouse, by key, enlarged, and without JavaScript."""

import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from shared.accounts.accounts import find_user
from shared.intake.accept import Received
from shared.models.folder import read_spec
from shared.models.heatmap import encode
from shared.models.spec import ImageClass, Label, ModelPrediction
from shared.queue import jobs, leases
from shared.store.store import FolderStore
from shared.tables import Priority, Screening, Source
from tests.browser.conftest import Server, Visitor
from tests.browser.test_access import check, keep
from tests.conftest import DEFAULT_MODEL

pytestmark = pytest.mark.timeout(180)

PNEUMONIA = ModelPrediction(
    Label.PNEUMONIA, ImageClass.VIRAL, 0.934, 0.934, {"normal": 0.066, "bacterial": 0.234, "viral": 0.7}
)


@pytest.fixture(scope="module")
def images(quiet_server: Server) -> tuple[str, list[str]]:
    """An account, and the addresses of an image with a heat map and of one without."""
    name = f"technician-{uuid.uuid4().hex[:8]}"
    quiet_server.link(name)
    spec = read_spec(quiet_server.models / DEFAULT_MODEL)
    store = FolderStore(Path(quiet_server.database.engine.url.database or "").parent / "store")
    seed = time.time_ns() % 2**31
    kept = [keep(store, seed + n) for n in range(2)]
    maps = {kept[0].sha256: encode(np.linspace(-12, 12, 36).reshape(6, 6))}
    with quiet_server.database.write() as session:
        user = find_user(session, name)
        assert user is not None
        job = jobs.open_job(
            session,
            user_id=user.id,
            name="two X-rays",
            source=Source.WEB,
            model_name=spec.name,
            priority=Priority.INTERACTIVE,
        )
        jobs.add_images(
            session, job.id, [Received(f"X-ray {n}.jpeg", image=image) for n, image in enumerate(kept)], spec
        )
        model_id = leases.register_model(session, spec)
        claim = leases.claim(
            session, model_id=model_id, model_name=spec.name, limit=1000, worker="host:1", lease_seconds=600
        )
        assert claim is not None
        outcomes = [leases.Outcome(image, PNEUMONIA, heat_map=maps.get(image.sha256)) for image in claim.screenings]
        leases.finish(session, claim, outcomes, model_id=model_id, threshold=spec.threshold, worker="host:1")
        rows = session.scalars(select(Screening.id).where(Screening.job_id == job.id).order_by(Screening.position))
        addresses = [f"{quiet_server.url}/screenings/{image}" for image in rows]
    return name, addresses


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
