"""The page of the audit trail in a browser: for everyone to read, and verified without scripts."""

import uuid

import pytest
from playwright.sync_api import expect

from shared.accounts.users import find_user
from shared.audit.record import Action, record
from shared.tables import Role
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor

pytestmark = pytest.mark.timeout(180)

LONG = "a-name-without-any-break-" * 2


@pytest.fixture
def admin(quiet_server: Server) -> str:
    """An admin with acts of every kind and width on record."""
    name = f"{LONG}{uuid.uuid4().hex[:8]}"
    quiet_server.link(name, Role.ADMIN)
    with quiet_server.database.write() as session:
        user = find_user(session, name)
        assert user is not None
        detail = {"format": "csv", "text": "given", "model": LONG}
        for action in Action:
            record(session, action, user_id=user.id, subject=uuid.uuid4(), address="2001:db8:85a3::8a2e:370:7334")
        record(session, Action.HISTORY_EXPORTED, user_id=user.id, address="10.0.0.7", detail=detail)
        record(session, Action.USER_CHANGED, user_id=None, actor="os:root", subject=user.id, detail={"change": "added"})
        record(session, Action.SIGN_IN_REFUSED, user_id=None, address="10.0.0.9")
    return name


def test_the_page_can_be_read_by_everyone(quiet_server: Server, visitor: Visitor, admin: str) -> None:
    visitor.expected = ("422 (UNPROCESSABLE",)  # of the filter that cannot be used
    page = visitor.open(quiet_server.link(admin))
    problems = []
    for query in ("", "?person=nobody&action=sign_in", "?since=tomorrow"):
        problems += check(page, f"{quiet_server.url}/audit{query}")
    assert problems == []


def test_the_chain_is_verified_without_scripts(quiet_server: Server, visitor: Visitor, admin: str) -> None:
    page = visitor.open(quiet_server.link(admin), scripts=False)
    page.get_by_role("link", name="Audit", exact=True).click()
    page.get_by_role("button", name="Verify now").click()
    page.wait_for_url("**/audit")
    expect(page.get_by_text("Intact up to row")).to_be_visible()
    page.get_by_role("table").get_by_role("link", name=admin).first.click()
    expect(page.get_by_role("list", name="Active filters")).to_contain_text(f"Who: {admin}")
