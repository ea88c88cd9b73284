"""E-mails in a real browser: a reader asks for them, tries one, and ends them by the link of an e-mail."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from shared.messages.events import note_test
from shared.messages.problems import Problem
from shared.tables import Message, MessageState, Role, User
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor, pages_alone

LONG = f"a-name-without-any-break-{'x' * 39}@{'department-' * 5}.klinik.example"


@pytest.fixture(scope="module")
def mailing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Pages alone, which e-mails are set up for; nothing is sent."""
    given = {
        "smtp_host": "mail.klinik.example",
        "smtp_from": "pneumo@klinik.example",
        "public_url": "https://x.example",
    }
    with pages_alone(tmp_path_factory.mktemp("mailing"), **given) as server:
        yield server


def give_address(server: Server, name: str, email: str) -> User:
    with server.database.write() as session:
        session.execute(update(User).where(User.name == name).values(email=email))
        return session.scalars(select(User).where(User.name == name)).one()


def test_a_reader_asks_for_emails_and_ends_them(mailing_server: Server, visitor: Visitor) -> None:
    link = mailing_server.link("nora", Role.READER)
    page = visitor.open(link, scripts=False)
    page.goto(f"{mailing_server.url}/account")
    expect(page.get_by_text("Your account has no e-mail address. Ask an administrator")).to_be_visible()
    give_address(mailing_server, "nora", "nora@klinik.example")
    page.reload()
    page.get_by_label("when an X-ray is flagged").check()
    page.locator("section", has=page.get_by_role("heading", name="E-mails")).get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings are saved.")).to_be_visible()
    expect(page.get_by_label("when an X-ray is flagged")).to_be_checked()
    expect(page.get_by_label("when a job of mine has finished")).not_to_be_checked()
    page.get_by_role("button", name="Send a test e-mail").click()
    expect(page.get_by_role("cell", name="Waiting")).to_be_visible()
    page.goto(f"{mailing_server.url}/account/emails/stop")
    page.get_by_role("button", name="Stop all e-mails").click()
    expect(page.get_by_text("You get no more e-mails.")).to_be_visible()
    expect(page.get_by_label("when an X-ray is flagged")).not_to_be_checked()


def test_the_pages_of_emails_can_be_read_by_everyone(mailing_server: Server, visitor: Visitor) -> None:
    ada = visitor.open(mailing_server.link("ada", Role.ADMIN))
    reader = visitor.open(mailing_server.link("rita", Role.READER))
    problems = list(check(ada, f"{mailing_server.url}/emails"))
    problems += check(reader, f"{mailing_server.url}/account")
    for name in ("ada", "rita"):
        user = give_address(mailing_server, name, LONG)
        with mailing_server.database.write() as session:
            for _ in range(3):
                note_test(session, session.get_one(User, user.id))
            session.execute(update(Message).values(email=LONG))
            newest = session.scalars(select(Message).where(Message.user_id == user.id)).all()
            newest[0].state, newest[0].answer, newest[0].attempts = MessageState.SENT, 250, 1
            newest[1].state, newest[1].problem, newest[1].answer = MessageState.FAILED, Problem.REFUSED, 550
            newest[2].problem, newest[2].attempts = Problem.NO_CONNECTION, 4
    for page in (ada, reader):
        problems += check(page, f"{mailing_server.url}/emails")
        problems += check(page, f"{mailing_server.url}/account")
        page.goto(f"{mailing_server.url}/account")
        page.get_by_label("when a job of mine has finished").check()
        page.locator("section", has=page.get_by_role("heading", name="E-mails")).get_by_role("button").first.click()
        problems += check(page, f"{mailing_server.url}/account/emails/stop")
    assert problems == []
