"""Jobs as people look for them: what was found, searched and ordered; uploads that nobody sends; a server away."""

import uuid
from datetime import timedelta

import pytest
from playwright.sync_api import expect
from sqlalchemy import select, update

from shared.accounts.users import find_user
from shared.db import now
from shared.models.folder import read_spec
from shared.queue import jobs
from shared.tables import Job, Priority, Role, Screening, Source
from tests.browser.conftest import Server, Visitor
from tests.browser.test_worklist import fill
from tests.conftest import DEFAULT_MODEL

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def job_name(quiet_server: Server) -> str:
    """A job of four images that was screened, under a name of its own."""
    quiet_server.link("tina")
    name = f"Ward {uuid.uuid4().hex[:8]}"
    fill(quiet_server, name, [0.9, 0.8, 0.7, 0.1])
    return name


def test_the_list_says_what_was_found_and_leads_to_it(quiet_server: Server, visitor: Visitor, job_name: str) -> None:
    page = visitor.open(quiet_server.link(None, Role.READER))
    page.goto(f"{quiet_server.url}/jobs")
    page.get_by_label("Name contains").fill(job_name[5:])
    page.get_by_role("button", name="Search").click()
    row = page.locator(".job-list tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator(".found")).to_have_text("3 flagged, 1 not flagged")
    row.get_by_role("link", name="3 flagged").click()
    expect(page.locator("td.file a.name")).to_have_text(["x-ray-00.png", "x-ray-01.png", "x-ray-02.png"])
    page.go_back()
    row.get_by_role("link", name=job_name).click()
    expect(page.locator("#found")).to_have_text("3 flagged, 1 not flagged")
    page.locator("#found").get_by_role("link", name="1 not flagged").click()
    expect(page.locator("td.file a.name")).to_have_text(["x-ray-03.png"])


def test_jobs_are_ordered_and_filtered(quiet_server: Server, visitor: Visitor, job_name: str) -> None:
    fill(quiet_server, f"{job_name} more", [0.5] * 6)
    page = visitor.open(quiet_server.link(None, Role.READER))
    titles = page.locator(".job-list td.title a")
    page.goto(f"{quiet_server.url}/jobs?text={job_name}&order=oldest")
    expect(titles).to_have_text([job_name, f"{job_name} more"])
    page.get_by_label("Order").select_option("Largest first")
    page.get_by_label("Sent by").fill("tina")
    page.get_by_label("State").select_option("Finished")
    page.get_by_role("button", name="Search").click()
    expect(titles).to_have_text([f"{job_name} more", job_name])
    page.get_by_label("Sent by").fill("nobody")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name="No job matches")).to_be_visible()


def test_a_job_of_one_image_opens_the_image(quiet_server: Server, visitor: Visitor) -> None:
    quiet_server.link("tina")
    name = f"Single {uuid.uuid4().hex[:8]}"
    fill(quiet_server, name, [0.8])
    page = visitor.open(quiet_server.link(None, Role.READER))
    page.goto(f"{quiet_server.url}/jobs?text={name}")
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("x-ray-00.png")
    page.get_by_role("link", name=name).first.click()
    page.get_by_role("link", name="Open the X-ray").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("x-ray-00.png")


def open_job(server: Server) -> str:
    """Open a job whose sender was last active 16 seconds ago; return the address of its page."""
    server.link("tina")
    spec, at = read_spec(server.models / DEFAULT_MODEL), now() - timedelta(seconds=16)
    with server.database.write() as session:
        user = find_user(session, "tina")
        assert user is not None
        job = jobs.open_job(
            session, user_id=user.id, name="a job", source=Source.WEB, model_name=spec.name, priority=Priority.BULK
        )
        session.execute(update(Job).where(Job.id == job.id).values(created_at=at, sent_at=at))
    return f"{server.url}/jobs/{job.id}"


def test_a_job_whose_sender_is_gone_says_that_nobody_is_sending(quiet_server: Server, visitor: Visitor) -> None:
    address = open_job(quiet_server)
    page = visitor.open(quiet_server.link("tina"))
    page.goto(address)
    expect(page.locator(".job-line")).to_contain_text("upload has stopped")
    expect(page.locator("#job-waiting")).to_contain_text("The upload has stopped.")
    with quiet_server.database.write() as session:
        session.execute(update(Job).where(Job.id == uuid.UUID(address[-36:])).values(sent_at=now()))
    expect(page.locator(".job-line")).to_contain_text("upload still running")
    expect(page.locator("#job-waiting")).not_to_contain_text("The upload has stopped.")


def test_the_headline_says_that_the_server_is_away_and_comes_back(quiet_server: Server, visitor: Visitor) -> None:
    address = open_job(quiet_server)
    visitor.expected = ("ERR_INTERNET_DISCONNECTED",)
    page = visitor.open(quiet_server.link("tina"))
    page.goto(address)
    page.context.set_offline(True)
    expect(page.locator("#job-head .job-state")).to_have_text("Server away, trying again")
    expect(page.locator(".job-line")).to_have_text("Server away, trying again")
    page.context.set_offline(False)
    expect(page.locator("#job-head .job-state")).to_have_text("Receiving")
    expect(page.locator(".job-line")).to_contain_text("upload has stopped")


def test_retry_is_offered_only_where_it_can_help(quiet_server: Server, visitor: Visitor, job_name: str) -> None:
    page = visitor.open(quiet_server.link("tina"))
    with quiet_server.database.write() as session:
        job = session.scalars(select(Job).where(Job.name == job_name)).one()
        rows = session.scalars(select(Screening).where(Screening.job_id == job.id).order_by(Screening.position)).all()
        for row, code in zip(rows, ("truncated_image", "damaged_scan", "image_damaged"), strict=False):
            row.state, row.error_code = "REJECTED", code  # type: ignore[assignment]  # as the column has it
    page.goto(f"{quiet_server.url}/jobs/{job.id}")
    expect(page.get_by_role("button", name="Retry 1 X-ray")).to_be_visible()
    with quiet_server.database.write() as session:
        session.execute(update(Screening).where(Screening.job_id == job.id).values(error_code="truncated_image"))
    page.reload()
    expect(page.locator("#found")).to_contain_text("3 refused")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
