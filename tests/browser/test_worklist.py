"""The worklist as readers use it: by keyboard, with filters, views and somebody else at the same X-ray."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from shared.accounts.users import add_user, find_user
from shared.intake.accept import Received
from shared.models.folder import read_spec
from shared.reviews.claims import claim
from shared.reviews.reviews import NewReview, add_review, withdraw
from shared.tables import Image, Job, ReviewOutcome, Role, SavedView, Screening, User
from tests.browser.accessibility import problems_of
from tests.browser.conftest import Server, Visitor, pages_alone
from tests.browser.screened import keep, screen
from tests.conftest import DEFAULT_MODEL
from web.worklist.views import MOST_VIEWS

pytestmark = pytest.mark.timeout(180)

SUSPICIONS = [0.97, 0.91, 0.88, 0.74, 0.61, 0.58, 0.55, 0.41, 0.3, 0.2, 0.11, 0.04]
"""Of x-ray-00.png and those after it; the model's threshold is 0.56."""


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages with two jobs, of which the second holds two images of the first again."""
    with pages_alone(tmp_path_factory.mktemp("room")) as server:
        server.link("tina")
        fill(server, "Ward 3, night", SUSPICIONS)
        fill(server, "Ward 3, again", SUSPICIONS[:2])
        yield server


def fill(server: Server, name: str, suspicions: list[float]) -> None:
    """Send images as one job and answer them: the same numbers are the same images."""
    p = np.array(suspicions)
    answers = read_spec(server.models / DEFAULT_MODEL).judge(np.stack([1 - p, 0.75 * p, 0.25 * p], axis=1))
    received = [Received(f"x-ray-{n:02}.png", image=keep(server, n, (120, 100))) for n in range(len(suspicions))]
    screen(server, "tina", received, answers, name=name)


def reader(room: Server, visitor: Visitor, name: str | None = None, **options: object) -> Page:
    page = visitor.open(room.link(name or f"reader-{uuid.uuid4().hex[:8]}", Role.READER), **options)  # type: ignore[arg-type]
    page.goto(room.url)
    return page


def press(page: Page, key: str, heading: str) -> None:
    """Press a key once the page's script is there to hear it, and wait for the X-ray that it leads to."""
    page.wait_for_load_state()
    page.keyboard.press(key)
    expect(page.get_by_role("heading", level=1)).to_have_text(heading)


def names(page: Page) -> list[str]:
    page.wait_for_load_state()
    return page.locator("#rows td.file a.name").all_inner_texts()


def test_readers_land_on_the_worklist_with_the_first_row_in_the_upper_third(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor, width=1280)
    page.set_viewport_size({"width": 1280, "height": 720})
    expect(page).to_have_url(f"{room.url}/worklist")
    row = page.locator("#rows tbody tr").first
    box = row.bounding_box()
    assert box is not None
    assert box["y"] + 1 < 720 / 3
    expect(row).to_contain_text("also in 1 job")
    assert names(page) == [f"x-ray-{n:02}.png" for n in range(len(SUSPICIONS))]
    expect(page.locator("#total")).to_have_text("12 X-rays")


def test_j_k_and_enter_go_through_list_and_x_rays_and_l_comes_back_to_the_same_place(
    room: Server, visitor: Visitor
) -> None:
    page = reader(room, visitor)
    page.goto(f"{room.url}/worklist?min_suspicion=50")
    for key in "jjjjk":
        page.keyboard.press(key)
    press(page, "Enter", "x-ray-02.png")
    expect(page.locator("#place")).to_have_text("3 of 7")
    press(page, "j", "x-ray-03.png")
    press(page, "k", "x-ray-02.png")
    press(page, "l", "Worklist")
    expect(page).to_have_url(f"{room.url}/worklist?min_suspicion=50")
    expect(page.get_by_role("link", name="x-ray-02.png")).to_be_focused()


@pytest.mark.parametrize("name", ["worklist", "history", "job"])
def test_back_and_l_find_the_row_again_in_every_list(room: Server, visitor: Visitor, name: str) -> None:
    with room.database.read() as session:
        job = session.scalars(select(Job.id).where(Job.name == "Ward 3, night")).one()
    address = {
        "worklist": "/worklist?min_suspicion=50",
        "history": f"/history?job={job}",
        "job": f"/jobs/{job}?state=DONE",
    }[name]
    page = reader(room, visitor)
    page.goto(room.url + address)
    rows = page.locator("table.images td.file a.name")
    first, second = rows.nth(2).inner_text(), rows.nth(3).inner_text()
    page.wait_for_load_state()
    for key in "jjj":
        page.keyboard.press(key)
    press(page, "Enter", first)
    press(page, "j", second)
    page.wait_for_load_state()
    with page.expect_navigation():
        page.keyboard.press("l")
    expect(page).to_have_url(room.url + address)
    expect(page.get_by_role("link", name=second)).to_be_focused()
    for heading in (second, first):
        page.go_back()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
    page.go_back()
    expect(page.get_by_role("link", name=first)).to_be_focused()
    for _step in range(3):
        page.go_forward()
    expect(page.get_by_role("link", name=second)).to_be_focused()


def test_keys_can_be_turned_off(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor)
    page.goto(f"{room.url}/account")
    page.get_by_label("Single-key shortcuts").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("The settings are saved.")
    page.goto(f"{room.url}/worklist")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.tagName") == "BODY"
    page.get_by_role("link", name="x-ray-00.png").click()
    expect(page.locator("#place")).to_be_visible()
    press(page, "j", "x-ray-00.png")


def test_what_is_read_leaves_the_unread_and_its_reader_finds_it_again(room: Server, visitor: Visitor) -> None:
    name = f"reader-{uuid.uuid4().hex[:8]}"
    page = reader(room, visitor, name)
    page.goto(f"{room.url}/worklist?review=unread")
    expect(page.locator("#total")).to_have_text("12 X-rays")
    page.get_by_role("link", name="x-ray-11.png").click()
    expect(page.locator("#place")).to_have_text("12 of 12")
    with room.database.write() as session:
        user = find_user(session, name)
        assert user is not None
        read = select(Screening).where(Screening.file_name == "x-ray-11.png")
        review = add_review(session, user, session.scalars(read).one(), NewReview(ReviewOutcome.AGREE))
    press(page, "l", "Worklist")
    expect(page.locator("#total")).to_have_text("11 X-rays")
    expect(page.get_by_role("link", name="x-ray-10.png")).to_be_focused()
    page.get_by_role("link", name="Mine", exact=True).click()
    assert names(page) == ["x-ray-11.png"]
    page.get_by_role("link", name="All", exact=True).click()
    assert names(page)[-1] == "x-ray-11.png"
    with room.database.write() as session:
        withdraw(session, session.get_one(User, review.user_id), session.scalars(read).one())


def test_an_x_ray_that_somebody_has_open_says_so(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor)
    with room.database.write() as session:
        rosa = find_user(session, "rosa") or add_user(session, "rosa", Role.READER)
        sha256 = session.scalars(
            select(Image.sha256).join(Screening).where(Screening.file_name == "x-ray-05.png")
        ).one()
        claim(session, rosa, sha256)
    page.reload()
    expect(page.locator("tr", has_text="x-ray-05.png")).to_contain_text("rosa has it open")
    expect(page.get_by_text("has it open")).to_have_count(1)


def test_views_are_saved_opened_and_removed_without_scripts_too(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor, scripts=False)
    page.goto(f"{room.url}/worklist?label=PNEUMONIA&max_suspicion=90")
    page.get_by_text("Views", exact=True).click()
    page.get_by_label("Save these filters as").fill("Flagged, to 90")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_have_text("The view 'Flagged, to 90' is saved.")
    page.goto(f"{room.url}/worklist")
    page.get_by_text("Views", exact=False).first.click()
    page.get_by_role("link", name="Flagged, to 90").click()
    expect(page).to_have_url(f"{room.url}/worklist?label=PNEUMONIA&max_suspicion=90")
    assert names(page) == [f"x-ray-{n:02}.png" for n in range(2, 8)]
    page.locator("summary", has_text="Views").click()
    page.get_by_role("button", name="Remove the view Flagged, to 90").click()
    expect(page.get_by_role("status")).to_have_text("The view 'Flagged, to 90' is removed.")


@pytest.mark.parametrize("address", ["/worklist", "/history?order=suspicious"])
def test_a_job_is_chosen_by_its_name_without_scripts_too(room: Server, visitor: Visitor, address: str) -> None:
    page = reader(room, visitor, scripts=False)
    page.goto(room.url + address)
    for summary in page.locator("summary:visible", has_text="Filter").all():
        summary.click()
    again = page.locator("#f-job option", has_text="Ward 3, again").inner_text()
    page.get_by_label("Job", exact=True).select_option(again)
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Job: Ward 3, again")).to_be_visible()
    expect(page.locator("table.images td.from")).to_have_text(["Ward 3, again"] * 2)
    expect(page.locator("#f-job option:checked")).to_have_text(again)
    page.locator(".chip.removable").click()
    expect(page.get_by_text("Job: Ward 3, again")).to_have_count(0)


def test_days_and_times_are_in_the_zone_of_the_account(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor)
    page.goto(f"{room.url}/account")
    page.get_by_label("Time zone").select_option("Pacific/Kiritimati")
    page.get_by_role("button", name="Save").click()
    with room.database.read() as session:
        sent = session.scalars(select(Screening.created_at).limit(1)).one().astimezone(ZoneInfo("Pacific/Kiritimati"))
    page.goto(f"{room.url}/worklist?since={sent:%Y-%m-%d}&until={sent:%Y-%m-%d}")
    assert len(names(page)) == len(SUSPICIONS)
    expect(page.locator("#rows time").first).to_have_text(f"{sent.day} {sent:%b %Y, %H:%M}")
    expect(page.get_by_text(f"Sent from (Pacific/Kiritimati): {sent:%Y-%m-%d}")).to_be_visible()
    page.goto(f"{room.url}/worklist?since={sent + timedelta(days=1):%Y-%m-%d}")
    expect(page.get_by_role("heading", name="No X-ray matches")).to_be_visible()


def test_the_browser_says_its_zone_where_the_account_names_none(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor)
    zone = page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
    page.goto(f"{room.url}/worklist?since=2020-01-01")
    expect(page.get_by_text(f"Sent from ({zone}): 2020-01-01")).to_be_visible()
    page.context.add_cookies([{"name": "zone", "value": "no/where", "url": room.url}])
    assert "Sent from (<bdi>UTC</bdi>)" in page.request.get(f"{room.url}/worklist?since=2020-01-01").text()


def test_a_view_too_many_leaves_the_list_as_it_is_filtered(room: Server, visitor: Visitor) -> None:
    name = f"reader-{uuid.uuid4().hex[:8]}"
    page = reader(room, visitor, name)
    with room.database.write() as session:
        user = find_user(session, name)
        assert user is not None
        session.add_all(
            SavedView(user_id=user.id, name=f"view {n}", arguments={"min_suspicion": "10"}) for n in range(MOST_VIEWS)
        )
    page.goto(f"{room.url}/worklist?min_suspicion=50")
    page.locator("summary", has_text="Views").click()
    assert page.locator(".holdings a").all_inner_texts()[:3] == ["view 0", "view 1", "view 2"]
    page.get_by_label("Save these filters as").fill("one more")
    with page.expect_navigation():
        page.get_by_role("button", name="Save", exact=True).click()
    expect(page).to_have_url(f"{room.url}/worklist?min_suspicion=50")
    expect(page.locator(".note-bad")).to_have_text("An account keeps at most 30 views. Remove one first.")


@pytest.mark.parametrize("width", [1280, 320])
def test_what_opens_the_filters_and_the_views_stays_where_it_is(room: Server, visitor: Visitor, width: int) -> None:
    page = reader(room, visitor, width=width)
    for name in ("Filter", "Views"):
        button = page.locator(".folded > summary", has_text=name)
        before = button.bounding_box()
        button.click()
        expect(page.locator(".folded[open] .card")).to_be_visible()
        assert button.bounding_box() == before
        button.click()


@pytest.mark.parametrize("width", [1280, 320])
def test_the_worklist_can_be_read_by_everyone(room: Server, visitor: Visitor, width: int) -> None:
    page = reader(room, visitor, width=width)
    for address in ("/worklist", "/worklist?review=mine", "/worklist?label=PNEUMONIA", "/account"):
        page.goto(room.url + address)
        for summary in page.locator(".folded > summary").all():
            summary.click()
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal
            assert problems_of(page) == [], (address, scheme)


def test_a_row_and_the_head_of_the_page_fit_a_narrow_telephone(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor, "rosa", width=320)
    row = page.locator("#rows tbody tr").first
    result, reading = row.locator(".badge").bounding_box(), row.locator("td.reading").bounding_box()
    assert result
    assert reading
    assert result["x"] + result["width"] <= reading["x"] or result["y"] + result["height"] <= reading["y"]
    tops = [box["y"] for entry in page.locator(".nav a").all() if (box := entry.bounding_box())]
    assert len(set(tops)) == 1, "the entries stand in one line"
    brand, account = page.locator(".brand").bounding_box(), page.locator(".who").bounding_box()
    assert brand
    assert account
    assert account["y"] < brand["y"] + brand["height"], "and the account beside the brand"


def test_the_worklist_prints_its_heading_and_help_the_width_of_the_paper(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor, width=700)
    page.emulate_media(media="print")
    heading, main = page.get_by_role("heading", level=1).bounding_box(), page.locator("main").bounding_box()
    assert heading is not None
    assert main is not None
    assert heading["y"] >= main["y"]
    page.goto(f"{room.url}/help")
    box, main = page.locator("#use").bounding_box(), page.locator("main").bounding_box()
    assert box is not None
    assert main is not None
    assert box["width"] == main["width"]


def test_what_is_chosen_shows_where_a_browser_forces_its_colours(room: Server, visitor: Visitor) -> None:
    page = reader(room, visitor)
    page.emulate_media(forced_colors="active")
    colour = "element => getComputedStyle(element).backgroundColor"
    chips = page.get_by_role("navigation", name="Reading").get_by_role("link")
    chosen, other = (chips.nth(place).evaluate(colour) for place in (0, 1))
    assert chosen != other
    page.locator("#rows td.file a.name").first.click()
    expect(page.locator("#viewer")).to_have_attribute("data-shown", "canvas")
    tools = [page.get_by_role("button", name=name) for name in ("Fit to the window", "Invert")]
    assert len({tool.evaluate(colour) for tool in tools}) == 2
    assert page.locator("#viewer-stage").evaluate(colour) == "rgb(5, 9, 12)"
