"""Pages in other languages in a real browser: nothing overflows or loses contrast, and work can be done."""

import uuid
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from shared.errors import ImageRejected
from shared.intake.accept import Received
from shared.languages.languages import ENGLISH, LANGUAGES
from shared.refusals import Rejection
from shared.tables import Review, ReviewOutcome, Role, User
from tests.browser.accessibility import problems_of
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.browser.screened import NORMAL, PNEUMONIA, keep, screen

pytestmark = pytest.mark.timeout(300)

OTHERS = [code for code in LANGUAGES if code != ENGLISH]


class Site:
    """A site with a job that has ended, and an administrator in any language."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"admin-{uuid.uuid4().hex[:6]}"
        self.link = lambda: server.link(self.name, Role.ADMIN)
        self.link()
        received = [Received(f"ward/X-ray {n}.jpeg", image=keep(server, 4000 + n)) for n in range(3)]
        received.append(Received("text.jpg", rejection=ImageRejected(Rejection.UNKNOWN_FORMAT)))
        self.job = screen(server, self.name, received, [PNEUMONIA, NORMAL, PNEUMONIA])

    def speak(self, language: str) -> None:
        """Give the administrator's pages a language."""
        with self.server.database.write() as session:
            session.execute(update(User).where(User.name == self.name).values(language=language))

    def addresses(self) -> list[str]:
        image = self.job.addresses[0].removeprefix(self.server.url)
        lists = [
            "/",
            "/worklist",
            "/jobs",
            f"/jobs/{self.job.id}",
            "/history",
            "/quality",
            "/models",
            "/users",
            "/audit",
        ]
        return [*lists, image, "/webhooks", "/help", "/status", "/account", "/account/tokens", "/account/password"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pages_alone(tmp_path_factory.mktemp("site")) as server:
        yield Site(server)


def problems_at(page: Page, address: str, width: int) -> list[str]:
    page.set_viewport_size({"width": width, "height": 900})
    return [f"{address}, {width} px: {problem}" for problem in problems_of(page)]


@pytest.mark.long
@pytest.mark.parametrize("language", OTHERS)
def test_no_page_overflows_in_any_language(site: Site, visitor: Visitor, language: str) -> None:
    site.speak(language)
    page = visitor.open()
    page.goto(site.link())
    with page.expect_navigation():
        page.locator("main form button").click()
    problems = []
    for address in site.addresses():
        page.goto(site.server.url + address)
        assert page.evaluate("document.documentElement.lang") == LANGUAGES[language].tag
        for width in (1440, 820, 320):
            problems += problems_at(page, address, width)
    assert problems == []


def test_an_image_is_reviewed_in_arabic_from_right_to_left(site: Site, visitor: Visitor) -> None:
    site.speak("ar")
    page = visitor.open()
    page.goto(site.link())
    with page.expect_navigation():
        page.locator("main form button").click()
    page.goto(site.job.addresses[0])
    assert page.evaluate("getComputedStyle(document.body).direction") == "rtl"
    expect(page.locator("#viewer")).to_have_attribute("data-shown", "canvas")
    with page.expect_navigation():
        page.keyboard.press("a")
    with site.server.database.read() as session:
        assert session.scalars(select(Review.outcome)).all() == [ReviewOutcome.AGREE]


PLACE_OF_TEXT = """element => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const [text, box] = [range.getBoundingClientRect(), element.closest('td, .head').getBoundingClientRect()];
  return [text.left - box.left, box.right - text.right];
}"""


def test_latin_names_begin_where_arabic_lines_do(site: Site, visitor: Visitor) -> None:
    site.speak("ar")
    page = visitor.open(width=375)
    page.goto(site.link())
    with page.expect_navigation():
        page.locator("main form button").click()
    for address, what in ((site.job.addresses[0], "h1"), (f"{site.server.url}/jobs/{site.job.id}", "td .folder")):
        page.goto(address)
        left, right = page.locator(what).first.evaluate(PLACE_OF_TEXT)
        assert right < 15 < left, (what, left, right)
    page.goto(f"{site.server.url}/history")
    folder = page.locator("td .folder").first
    assert folder.evaluate("element => getComputedStyle(element).unicodeBidi") == "plaintext"  # ward/, not /ward


def test_a_browser_chooses_the_language_before_anybody_signs_in(site: Site, visitor: Visitor) -> None:
    context = visitor.chromium.new_context(locale="fr-CA")
    visitor.contexts.append(context)
    page = context.new_page()
    page.goto(f"{site.server.url}/sign-in")
    assert page.evaluate("document.documentElement.lang") == "fr"
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Sign in")
