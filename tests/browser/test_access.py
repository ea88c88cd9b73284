"""Every page for every reader: contrast, names, sizes, no sideways scrolling, in light and dark, on desk and phone.

The thresholds are those of WCAG 2.2: 1.4.3 contrast, 1.3.1 and 4.1.2 names, 2.5.5 target size, 1.4.10 reflow.
"""

import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from shared.errors import ImageRejected
from shared.intake.accept import Received
from shared.queue import jobs
from shared.refusals import Rejection
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor
from tests.browser.screened import NORMAL, PNEUMONIA, keep, screen

pytestmark = pytest.mark.timeout(180)

HOSTILE = "<img src=x onerror=alert(1)>" + "a-name-without-any-break-" * 12 + ".jpeg"


@pytest.fixture(scope="module")
def pages(quiet_server: Server) -> Iterator[tuple[str, list[str]]]:
    """An account and the addresses of its pages: empty and full lists, and an image in each state that ends."""
    name = f"reader-{uuid.uuid4().hex[:8]}"
    quiet_server.link(name)
    names = [HOSTILE, *(f"ward/image {n}.jpeg" for n in range(1, 4))]
    received = [Received(file, image=keep(quiet_server, 1000 + n)) for n, file in enumerate(names)]
    received.append(Received("text.jpg", rejection=ImageRejected(Rejection.UNKNOWN_FORMAT)))
    job = screen(quiet_server, name, received, [PNEUMONIA, NORMAL, None, None], name="Job " + HOSTILE[:200])
    addresses = [address.removeprefix(quiet_server.url) for address in job.addresses]
    lists = (
        "/",
        "/jobs",
        f"/jobs/{job.id}",
        "/history",
        "/history?order=suspicious&label=PNEUMONIA",
        "/history?text=%",
    )
    others = (
        "/history?since=tomorrow",
        "/help",
        "/account",
        "/account/tokens",
        "/account/password",
        "/nowhere",
        "/api/v1/docs",
    )
    yield name, [*lists, *others, *addresses]
    with quiet_server.database.write() as session:
        jobs.cancel(session, job.id)


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
