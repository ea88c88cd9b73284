"""The pages of accounts in a real browser: an administrator adds a person, and everybody can read the pages."""

from playwright.sync_api import expect

from shared.tables import Role
from tests.browser.accessibility import check
from tests.browser.conftest import Server, Visitor


def test_an_administrator_adds_a_person_who_comes_in_and_is_kept_out(quiet_server: Server, visitor: Visitor) -> None:
    admin = visitor.open(quiet_server.link("ada", Role.ADMIN), scripts=False)
    admin.get_by_role("link", name="Accounts").click()
    admin.get_by_label("Login name").fill("nora")
    admin.get_by_label("Display name").fill("Nora Åström")
    admin.get_by_label("E-mail", exact=True).fill("nora@klinik.example")
    admin.get_by_label("Role").select_option("reader")
    admin.get_by_role("button", name="Add").click()
    link = admin.get_by_label("Copy it now").input_value()
    nora = visitor.open(link)
    expect(nora.get_by_text("Nora Åström")).to_be_visible()
    admin.get_by_role("link", name="Go to the account").click()
    admin.get_by_role("button", name="Disable").click()
    expect(admin.get_by_text("nora can no longer sign in.")).to_be_visible()
    nora.goto(f"{quiet_server.url}/history")
    expect(nora.get_by_role("button", name="Sign in")).to_be_visible()


def test_the_pages_of_accounts_can_be_read_by_everyone(quiet_server: Server, visitor: Visitor) -> None:
    page = visitor.open(quiet_server.link("otto", Role.ADMIN))
    problems = list(check(page, f"{quiet_server.url}/users"))
    page.get_by_role("link", name="otto").last.click()
    page.wait_for_load_state("networkidle")
    problems += check(page, "an account", is_open=True)
    page.get_by_role("button", name="Make a one-time link").click()
    page.wait_for_load_state("networkidle")
    problems += check(page, "a link", is_open=True)
    problems += check(page, f"{quiet_server.url}/users?name=nobody-of-this-name")
    page.goto(f"{quiet_server.url}/webhooks")
    page.get_by_label("Address").fill("https://" + "a-name-without-any-break-" * 2 + ".example.org/" + "path/" * 40)
    page.get_by_role("button", name="Add").click()
    page.wait_for_load_state("networkidle")
    problems += check(page, "a secret", is_open=True)
    page.get_by_role("link", name="Go on").click()
    page.get_by_role("button", name="Pause").click()
    page.wait_for_load_state("networkidle")
    problems += check(page, "a webhook", is_open=True)
    problems += check(page, f"{quiet_server.url}/webhooks")
    assert problems == []
