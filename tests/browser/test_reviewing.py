"""A reader at work: twenty X-rays by keyboard alone, two readers at one, and nothing lost that was typed."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Dialog, Page, expect
from sqlalchemy import delete, select, update

from shared.db import now
from shared.intake.accept import Received
from shared.models.spec import Label
from shared.refusals import Rejection
from shared.reviews.reviews import list_reviews
from shared.reviews.standing import standing
from shared.states import State
from shared.tables import AskedScore, BrowserSession, Image, Review, Role, Screening
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.browser.screened import NORMAL, PNEUMONIA, keep, screen

pytestmark = pytest.mark.timeout(180)


class Room:
    """Pages without workers, and jobs of images that are screened already."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def name(self, start: str) -> str:
        return f"{start}-{uuid.uuid4().hex[:6]}"

    def reader(self, name: str) -> str:
        return self.server.link(name, Role.READER)

    def screen(self, count: int) -> list[str]:
        """Screen images of a new job, every second one flagged, and return the addresses of their pages."""
        sender = self.name("tina")
        self.server.link(sender)
        seed = time.time_ns() % 2**31
        received = [Received(f"X-ray {n}.jpeg", image=keep(self.server, seed + n)) for n in range(count)]
        answers = [PNEUMONIA if n % 2 else NORMAL for n in range(count)]
        return screen(self.server, sender, received, answers).addresses

    def said(self, address: str) -> list[tuple[str, str | None]]:
        """What readers said of an image, oldest first: outcomes and notes that count."""
        key = uuid.UUID(address.rsplit("/", 1)[1])
        with self.server.database.read() as session:
            sha256 = session.scalars(select(Image.sha256).join(Screening).where(Screening.id == key)).one()
            return [(review.outcome.value, review.note) for review in standing(list_reviews(session, sha256))]

    def end_sessions(self) -> None:
        with self.server.database.write() as session:
            session.execute(delete(BrowserSession))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with pages_alone(tmp_path_factory.mktemp("room")) as server:
        yield Room(server)


def press(page: Page, key: str) -> None:
    """Press a key that leads to another page, which hears keys once it says what is so and could be looked at."""
    with page.expect_navigation():
        page.keyboard.press(key)
    page.locator("[data-fetched-ahead], [data-too-soon]").wait_for(state="detached")


@pytest.mark.long
def test_twenty_x_rays_are_read_by_keyboard_alone(room: Room, visitor: Visitor) -> None:
    addresses = room.screen(20)
    page = visitor.open(room.reader(room.name("rita")))
    page.goto(addresses[0])
    started = time.monotonic()
    for n, address in enumerate(addresses):
        assert page.url.startswith(address), "the next unread one"
        if n == 7:
            page.keyboard.press("e")
            page.keyboard.type("Turned, and at the edge.")
            page.keyboard.press("Escape")
        press(page, "t" if n == 7 else "v" if n % 4 == 0 else "a")
    print(f"{(time.monotonic() - started) / len(addresses):.2f} s for each X-ray")  # noqa: T201  # a figure to look at
    expect(page.get_by_text("No unread X-rays are left in this list.")).to_be_visible()
    said = [room.said(address) for address in addresses]
    assert said[7] == [("inadequate", "Turned, and at the edge.")]
    assert [one[0][0] for one in said[:4]] == ["overrule", "agree", "agree", "agree"]
    assert [len(one) for one in said] == [1] * 20


def test_a_second_press_that_comes_with_the_next_x_ray_does_not_review_it(room: Room, visitor: Visitor) -> None:
    first, second, _ = room.screen(3)
    page = visitor.open(room.reader(room.name("rita")))
    page.clock.install()
    page.goto(first)
    page.clock.pause_at(datetime.now(tz=UTC) + timedelta(hours=1))
    with page.expect_navigation():
        page.keyboard.press("b")
    page.locator("#review[data-too-soon]").wait_for()
    page.keyboard.press("b")
    page.get_by_role("button", name="Bacterial").click()
    page.clock.run_for(1000)
    page.locator("#review[data-too-soon]").wait_for(state="detached")
    expect(page.get_by_role("button", name="Bacterial")).to_be_enabled()
    assert page.url.startswith(second)
    assert (room.said(first), room.said(second)) == ([("overrule", None)], [])
    with page.expect_navigation():
        page.keyboard.press("b")
    assert room.said(second) == [("overrule", None)]


@pytest.mark.long
def test_undo_by_a_key_leads_back_to_what_was_reviewed(room: Room, visitor: Visitor) -> None:
    first, second = room.screen(2)
    page = visitor.open(room.reader(room.name("rita")))
    page.goto(first)
    press(page, "a")
    assert page.url.startswith(second)
    press(page, "u")
    assert page.url == first
    assert room.said(first) == []
    press(page, "n" if page.get_by_role("button", name="Normal").count() else "b")
    assert [outcome for outcome, _ in room.said(first)] == ["overrule"]


def test_two_readers_at_the_same_x_ray_see_each_other(room: Room, visitor: Visitor) -> None:
    address, _ = room.screen(2)
    names = room.name("rita"), room.name("ruth")
    rita, ruth = (visitor.open(room.reader(name)) for name in names)
    for page in (rita, ruth):
        page.goto(address)
    expect(ruth.get_by_text(f"{names[0]} has just opened this X-ray.")).to_be_visible()
    press(rita, "a")
    visitor.expected = ("409 (CONFLICT)",)
    ruth.keyboard.press("e")
    ruth.keyboard.type("Rather both")
    ruth.keyboard.press("Escape")
    press(ruth, "b")
    expect(ruth.get_by_text(f"{names[0]} reviewed this X-ray meanwhile")).to_be_visible()
    expect(ruth.get_by_role("heading", name="Other reviews")).to_be_visible()
    expect(ruth.get_by_label("Note")).to_have_value("Rather both")
    ruth.keyboard.press("e")
    ruth.keyboard.type(" lobes.")
    ruth.keyboard.press("Escape")
    ruth.locator("#review[data-too-soon]").wait_for(state="detached")
    press(ruth, "b")
    assert room.said(address) == [("agree", None), ("overrule", "Rather both lobes.")]


def test_a_note_outlives_a_session_that_ended_and_not_a_sign_out(room: Room, visitor: Visitor) -> None:
    address, _ = room.screen(2)
    rita, ruth = room.name("rita"), room.name("ruth")
    page = visitor.open(room.reader(rita))
    page.goto(address)
    page.get_by_label("Note").fill("Left lower lobe.")
    room.end_sessions()
    visitor.expected = ("401 (UNAUTHORIZED)",)
    page.get_by_role("button", name="Inadequate").click()
    expect(page.get_by_text("Your session has ended. What you typed is kept")).to_be_visible()
    page.get_by_role("link", name="Sign in again").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, room.reader(rita))
    page.goto(address)
    expect(page.get_by_label("Note")).to_have_value("Left lower lobe.")
    room.end_sessions()
    sign_in(page, room.reader(ruth))
    assert page.evaluate("Object.keys(localStorage)") == [], "nothing of rita's for ruth"
    sign_in(page, room.reader(rita))
    page.goto(address)
    expect(page.get_by_label("Note")).to_have_value("")
    page.get_by_label("Note").fill("Once more.")
    with page.expect_navigation():
        page.get_by_role("button", name="Sign out").click()
    assert page.evaluate("Object.keys(localStorage)") == []
    assert room.said(address) == []


def sign_in(page: Page, link: str) -> None:
    page.goto(link)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in").click()


def test_a_review_waits_for_a_server_that_is_away_and_is_added_once(room: Room, visitor: Visitor) -> None:
    address, following = room.screen(2)
    page = visitor.open(room.reader(room.name("rita")))
    page.goto(address)
    visitor.expected = ("ERR_INTERNET_DISCONNECTED",)
    page.context.set_offline(True)
    page.keyboard.press("a")
    expect(page.get_by_text("The server does not answer. Trying again")).to_be_visible()
    with page.expect_navigation():
        page.context.set_offline(False)
    assert page.url.startswith(following)
    with room.server.database.read() as session:
        keys = select(Screening.id).where(Screening.id == uuid.UUID(address.rsplit("/", 1)[1]))
        assert len(session.scalars(select(Review).where(Review.screening_id.in_(keys))).all()) == 1


def test_a_page_whose_review_is_not_saved_asks_before_it_is_left(room: Room, visitor: Visitor) -> None:
    address, following = room.screen(2)
    page = visitor.open(room.reader(room.name("rita")))
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto(address)
    visitor.expected = ("ERR_INTERNET_DISCONNECTED",)
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.context.set_offline(True)
    page.keyboard.press("a")
    expect(page.get_by_text("The server does not answer. Trying again")).to_be_in_viewport()
    page.keyboard.press("j")
    page.wait_for_timeout(500)
    assert (asked, page.url) == (["beforeunload"], address)
    with page.expect_navigation():
        page.context.set_offline(False)
    assert page.url.startswith(following)
    assert asked == ["beforeunload"]


def test_what_is_typed_while_a_score_is_waited_for_stays(room: Room, visitor: Visitor) -> None:
    sender = room.name("tina")
    room.server.link(sender)
    received = [Received("hand.jpeg", image=keep(room.server, time.time_ns() % 2**31))]
    (address,) = screen(room.server, sender, received, [None]).addresses
    is_this = Screening.id == uuid.UUID(address.rsplit("/", 1)[1])
    with room.server.database.write() as session:
        session.execute(update(Screening).where(is_this).values(state=State.REJECTED, error_code=Rejection.NOT_CHEST))
    page = visitor.open(room.reader(room.name("rita")))
    page.goto(address)
    with page.expect_navigation():
        page.get_by_role("button", name="Screen it anyway").click()
    note = page.get_by_label("Note")
    text = "written while a worker looks"
    note.press_sequentially(text, delay=150)  # longer than the page waits before it asks again
    expect(note).to_be_focused()
    expect(note).to_have_value(text)
    score = {"finished_at": now(), "model": "m@1", "threshold": 0.5, "label": Label.NORMAL, "p_pneumonia": 0.2}
    with room.server.database.write() as session:
        session.execute(update(AskedScore).values(**score))
    note.blur()
    expect(page.get_by_text("Not a result.")).to_be_visible()
    expect(note).to_have_value(text)


@pytest.mark.long
def test_keys_can_be_turned_off_and_buttons_work_without_scripts(room: Room, visitor: Visitor) -> None:
    first, second = room.screen(2)
    name = room.name("rita")
    page = visitor.open(room.reader(name))
    page.goto(first)
    page.locator("#review").get_by_role("link", name="Turn them off").click()
    page.get_by_label("Single-key shortcuts").uncheck()
    page.get_by_role("button", name="Save").click()
    page.goto(first)
    for key in "abt":
        page.keyboard.press(key)
    expect(page.locator("#review").get_by_role("link", name="Turn them on")).to_be_visible()
    assert room.said(first) == []
    plain = visitor.open(room.reader(name), scripts=False)
    plain.goto(first)
    plain.get_by_label("Note").fill("By mouse.")
    with plain.expect_navigation():
        plain.get_by_role("button", name="Second reader").click()
    assert plain.url.startswith(second)
    assert room.said(first) == [("second_reader", "By mouse.")]
    with plain.expect_navigation():
        plain.get_by_role("button", name="Undo").click()
    assert room.said(first) == []


@pytest.mark.long
def test_the_reader_s_page_can_be_read_by_everyone(room: Room, visitor: Visitor) -> None:
    first, second = room.screen(2)
    page = visitor.open(room.reader(room.name("rita")))
    page.goto(first)
    page.get_by_label("Note").fill("A-note-without-any-break-" * 20)
    press_button(page, "Other finding")
    problems = [*check(page, page.url), *check(page, first), *check(page, second)]
    assert problems == []


def press_button(page: Page, name: str) -> None:
    with page.expect_navigation():
        page.get_by_role("button", name=name).click()
