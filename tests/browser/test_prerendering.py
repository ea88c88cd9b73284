"""The next X-ray's page is prerendered: it claims nothing until it is shown, and then it says what is so by then."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from benchmarks.devtools import Tab, open_tab
from shared.accounts.users import find_user
from shared.reviews import claims, reviews
from shared.tables import AuditEvent, BrowserSession, Image, ImageClaim, ReviewOutcome, Screening, User
from tests.browser.conftest import Server, pages_alone
from tests.browser.test_reviewing import Room
from tests.integration.conftest import wait_until

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not on PATH"),
]

SECONDS = 30
AHEAD = {"purpose": "preload"}
IS_DRAWN = "document.querySelector('#viewer[data-shown]')"
IS_CONFIRMED = "!document.querySelector('[data-fetched-ahead]')"
WAS_PRERENDERED = "performance.getEntriesByType('navigation')[0].activationStart > 0"


class Ward(Room):
    """X-rays, readers, and what is on record of them."""

    def __init__(self, server: Server) -> None:
        super().__init__(server)
        self.folder = Path(server.database.engine.url.database or "").parent

    @contextmanager
    def read_by(self, name: str, address: str) -> Iterator[Tab]:
        """Open an X-ray in a reader's browser, and wait until the next one's page is prerendered."""
        with open_tab(self.folder / f"profile-{uuid.uuid4().hex}") as tab:
            tab.sign_in(self.reader(name))
            tab.goto(address)
            self.await_next(tab)
            yield tab

    def await_next(self, tab: Tab) -> None:
        wait_until(
            lambda: any(tab.holds(IS_DRAWN, page) for page in tab.prerendered), SECONDS, "a page to be prerendered"
        )
        assert AHEAD in self.views(tab.evaluate("location.href", tab.prerendered[0]))

    def views(self, address: str) -> list[Any]:
        """What the audit trail says of each time that an X-ray was given out."""
        query = select(AuditEvent.detail).where(AuditEvent.action == "image_viewed")
        with self.server.database.read() as session:
            return list(session.scalars(query.where(AuditEvent.subject == str(key_of(address)))))

    def open_at(self, address: str) -> list[str]:
        """Who has an X-ray open."""
        query = select(User.name).join(ImageClaim, ImageClaim.user_id == User.id)
        query = query.join(Image, Image.sha256 == ImageClaim.image_sha256).join(Screening)
        with self.server.database.read() as session:
            return list(session.scalars(query.where(Screening.id == key_of(address))))

    def agree(self, name: str, address: str) -> None:
        """Another reader reviews an X-ray, and has it open."""
        self.reader(name)
        with self.server.database.write() as session:
            user, screening = find_user(session, name), session.get_one(Screening, key_of(address))
            assert user is not None
            claims.claim(session, user, session.scalars(sha256_of(address)).one())
            reviews.add_review(session, user, screening, reviews.NewReview(ReviewOutcome.AGREE))


def key_of(address: str) -> uuid.UUID:
    return uuid.UUID(address.partition("?")[0].rsplit("/", 1)[1])


def sha256_of(address: str) -> Any:
    return select(Image.sha256).join(Screening).where(Screening.id == key_of(address))


def go(tab: Tab, key: str, address: str) -> None:
    """Press a key that leads to an X-ray, and wait until its page is shown and says what is so."""
    tab.press(key)
    await_page(tab, address)


def await_page(tab: Tab, address: str) -> None:
    tab.wait(f"location.href.startsWith('{address}') && {IS_DRAWN} && {IS_CONFIRMED}")


def text(tab: Tab, selector: str) -> str:
    """The text of a part of the page; empty where there is none."""
    return str(tab.evaluate(f"document.querySelector('{selector}')?.textContent ?? ''"))


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    with pages_alone(tmp_path_factory.mktemp("ward")) as server:
        yield Ward(server)


def test_a_prerendered_page_claims_nothing_until_it_is_shown(ward: Ward) -> None:
    first, second, third = ward.screen(3)
    rita = ward.name("rita")
    with ward.read_by(rita, first) as tab:
        assert (ward.open_at(first), ward.open_at(second)) == ([rita], [])
        assert None not in ward.views(second), "nobody has seen it"
        go(tab, "j", second)
        assert tab.evaluate(WAS_PRERENDERED)
        assert text(tab, "h1") == "X-ray 1.jpeg"
        assert ward.open_at(second) == [rita]
        assert ward.views(second).count(None) == 1
        ward.await_next(tab)
        assert ward.open_at(third) == []
        assert None not in ward.views(third)
    wait_until(lambda: ward.open_at(first) == [], SECONDS, "the first to be released")


def test_a_review_leads_on_to_the_prerendered_page_and_is_undone_from_there(ward: Ward) -> None:
    first, second, _ = ward.screen(3)
    with ward.read_by(ward.name("rita"), first) as tab:
        go(tab, "a", second)
        assert tab.evaluate(WAS_PRERENDERED)
        assert "Reviewed X-ray 0.jpeg" in text(tab, ".review-done")
        assert ward.said(first) == [("agree", None)]
        go(tab, "u", first)
        assert ward.said(first) == []
        go(tab, "j", second)
        tab.evaluate("history.back()")
        await_page(tab, first)
        assert text(tab, "h1") == "X-ray 0.jpeg"


def test_a_review_leads_past_what_another_reader_has_read_meanwhile(ward: Ward) -> None:
    first, second, third = ward.screen(3)
    rita, ruth = ward.name("rita"), ward.name("ruth")
    with ward.read_by(rita, first) as tab:
        ward.agree(ruth, second)
        go(tab, "a", third)
        assert text(tab, "h1") == "X-ray 2.jpeg"
        assert ward.open_at(second) == [ruth]
        assert ward.open_at(third) == [rita]
        assert None not in ward.views(second)


def test_a_prerendered_page_says_what_another_reader_did_meanwhile(ward: Ward) -> None:
    first, second, _ = ward.screen(3)
    rita, ruth = ward.name("rita"), ward.name("ruth")
    with ward.read_by(rita, first) as tab:
        ward.agree(ruth, second)
        go(tab, "j", second)
        assert tab.evaluate(WAS_PRERENDERED)
        assert ruth in text(tab, "#review-open")
        assert ruth in text(tab, "#review .plain-list")
        tab.press("t")
        tab.wait("location.search.includes('reviewed=')")
    assert ward.said(second) == [("agree", None), ("inadequate", None)]


def test_a_prerendered_page_asks_for_no_other_x_ray_of_the_patient(ward: Ward) -> None:
    first, second = ward.screen(2)
    (other,) = ward.screen(1)
    with ward.server.database.write() as session:
        images = select(Screening.image_id).where(Screening.id.in_([key_of(second), key_of(other)]))
        session.execute(update(Image).where(Image.id.in_(images)).values(patient=uuid.uuid4().hex))
    with ward.read_by(ward.name("rita"), first) as tab:
        go(tab, "j", second)
        assert tab.evaluate(WAS_PRERENDERED)
        assert "X-rays of this patient" in text(tab, "#same-patient")
        assert ward.views(other) == []
        tab.press("p")
        tab.wait("document.querySelector('#beside .viewer-stage[data-shown]')")
        assert set(ward.views(other)) == {None}, "looked at by now"
        assert ward.open_at(other) == []


@pytest.mark.long
def test_what_was_typed_and_not_sent_is_there_again(ward: Ward) -> None:
    first, second = ward.screen(2)
    type_note = "note.value = 'Left lower lobe.'; note.dispatchEvent(new Event('input'))"
    with ward.read_by(ward.name("rita"), first) as tab:
        for address in (second, first):
            tab.evaluate(f"const note = document.getElementById('review-note'); {type_note}")
            go(tab, "j" if address == second else "k", address)
        assert tab.evaluate("document.getElementById('review-note').value") == "Left lower lobe."
        ward.await_next(tab)
        go(tab, "j", second)
        assert tab.evaluate(WAS_PRERENDERED)
        assert tab.evaluate("document.getElementById('review-note').value") == "Left lower lobe."


@pytest.mark.long
def test_a_session_that_ended_meanwhile_leads_to_the_sign_in(ward: Ward) -> None:
    first, second = ward.screen(2)
    with ward.read_by(ward.name("rita"), first) as tab:
        with ward.server.database.write() as session:
            session.execute(delete(BrowserSession))
        tab.press("j")
        tab.wait("location.pathname === '/sign-in'")
    assert (ward.open_at(second), None in ward.views(second)) == ([], False)


@pytest.mark.long
def test_what_is_read_blind_by_now_is_not_shown(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pages_alone(tmp_path_factory.mktemp("blind"), blind_second_reading="true") as server:
        ward = Ward(server)
        first, second = ward.screen(2)
        ruth = ward.name("ruth")
        with ward.read_by(ward.name("rita"), first) as tab:
            ward.agree(ruth, second)
            go(tab, "j", second)
            assert "Result hidden" in text(tab, ".image-side")
            assert ruth not in text(tab, "#review .plain-list")


@pytest.mark.long
def test_nothing_is_prerendered_once_its_picture_is_no_longer_kept(ward: Ward) -> None:
    first, second = ward.screen(2)
    with ward.read_by(ward.name("rita"), first) as tab:
        tab.evaluate("document.getElementById('next').classList.remove('prerendered')")  # as after two minutes
        wait_until(lambda: tab.prerendered == [], SECONDS, "the page to be given up")
        go(tab, "j", second)
        assert not tab.evaluate(WAS_PRERENDERED)
        assert ward.views(second).count(None) >= 1
