"""Every page for every reader: contrast, names, sizes, no sideways scrolling, in light and dark, on desk and phone.

The thresholds are those of WCAG 2.2: 1.4.3 contrast, 1.3.1 and 4.1.2 names, 2.5.5 target size, 1.4.10 reflow.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sqlalchemy import select

from shared.accounts.accounts import find_user
from shared.errors import ImageRejected
from shared.intake.accept import AcceptedImage, Received
from shared.models.folder import read_spec
from shared.models.spec import ImageClass, Label, ModelPrediction
from shared.queue import jobs, leases
from shared.refusals import Rejection
from shared.store.store import THUMBNAIL, FolderStore
from shared.tables import Priority, Screening, Source
from tests.browser.conftest import Server, Visitor
from tests.conftest import DEFAULT_MODEL, draw, encode

pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror=alert(1)>" + "a-name-without-any-break-" * 12 + ".jpeg"
PREDICTIONS = (
    ModelPrediction(
        Label.PNEUMONIA, ImageClass.BACTERIAL, 0.934, 0.934, {"normal": 0.066, "bacterial": 0.7, "viral": 0.234}
    ),
    ModelPrediction(Label.NORMAL, None, 0.981, 0.019, {"normal": 0.981, "bacterial": 0.012, "viral": 0.007}),
)

CHECK = (Path(__file__).parent / "check_access.js").read_text()


@pytest.fixture(scope="module")
def pages(quiet_server: Server) -> Iterator[tuple[str, list[str]]]:
    """An account and the addresses of its pages: empty and full lists, and an image in each state that ends."""
    name = f"reader-{uuid.uuid4().hex[:8]}"
    quiet_server.link(name)
    spec = read_spec(quiet_server.models / DEFAULT_MODEL)
    store = FolderStore(Path(quiet_server.database.engine.url.database or "").parent / "store")
    received = [Received(HOSTILE if n == 0 else f"ward/image {n}.jpeg", image=keep(store, n)) for n in range(4)]
    received.append(Received("text.jpg", rejection=ImageRejected(Rejection.UNKNOWN_FORMAT)))
    with quiet_server.database.write() as session:
        user = find_user(session, name)
        assert user is not None
        job = jobs.open_job(
            session,
            user_id=user.id,
            name="Job " + HOSTILE[:200],
            source=Source.WEB,
            model_name=spec.name,
            priority=Priority.INTERACTIVE,
        )
        jobs.add_images(session, job.id, received, spec)
        model_id = leases.register_model(session, spec)
        claim = leases.claim(
            session, model_id=model_id, model_name=spec.name, limit=2, worker="host:1", lease_seconds=600
        )
        assert claim is not None
        outcomes = [
            leases.Outcome(image, prediction) for image, prediction in zip(claim.screenings, PREDICTIONS, strict=True)
        ]
        leases.finish(session, claim, outcomes, model_id=model_id, threshold=spec.threshold, worker="host:1")
        images = session.scalars(select(Screening.id).where(Screening.job_id == job.id).order_by(Screening.position))
        addresses = [f"/screenings/{image}" for image in images.all()[:5]]
    lists = (
        "/",
        "/jobs",
        f"/jobs/{job.id}",
        "/history",
        "/history?order=suspicious&label=PNEUMONIA",
        "/history?text=%",
    )
    others = ("/history?since=tomorrow", "/help", "/account", "/account/tokens", "/account/password", "/nowhere")
    yield name, [*lists, *others, *addresses]
    with quiet_server.database.write() as session:
        jobs.cancel(session, job.id)


def keep(store: FolderStore, seed: int) -> AcceptedImage:
    picture: Image.Image = draw(1000 + seed)
    data = encode(picture)
    with store.receive() as incoming:
        incoming.write(data)
        key = store.keep(incoming)
    store.put_derived(key, THUMBNAIL, data)
    return AcceptedImage(key, len(data), *picture.size, "image/jpeg")


def check(page: Page, address: str, is_open: bool = False) -> Iterator[str]:
    """Look at one page in light and dark, from desk to phone width; one that is open stays as it is."""
    if not is_open:
        page.goto(address)
    for width in (1440, 1030, 820, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            yield from (f"{address}, {scheme}, {width} px: {problem}" for problem in page.evaluate(CHECK))


def test_every_page_can_be_read_by_everyone(
    quiet_server: Server, visitor: Visitor, pages: tuple[str, list[str]]
) -> None:
    name, addresses = pages
    visitor.expected = ("404 (NOT FOUND)", "422 (UNPROCESSABLE")  # of the two pages that are errors themselves
    stranger = visitor.open()
    problems = [*check(stranger, f"{quiet_server.url}/sign-in"), *check(stranger, f"{quiet_server.url}/sign-in/link/x")]
    page = visitor.open(quiet_server.link(name))
    for address in addresses:
        problems += check(page, quiet_server.url + address)
    assert problems == []


def test_a_hostile_name_stays_a_name(quiet_server: Server, visitor: Visitor, pages: tuple[str, list[str]]) -> None:
    name, addresses = pages
    page = visitor.open(quiet_server.link(name))
    for address in addresses:
        if address.startswith("/screenings/"):
            page.goto(quiet_server.url + address)
            assert page.locator("img[src=x]").count() == 0
            break
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE)
