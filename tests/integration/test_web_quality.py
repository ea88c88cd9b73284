"""The quality page: figures as sentences, charts and tables, its files, its days in a zone, and what it refuses."""

import csv
import io
import re
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from shared.db import Database, now
from shared.models.spec import ModelSpec
from shared.quality.statistics import Bin, Share
from shared.settings import Settings
from shared.tables import AuditEvent, Finding, ReviewOutcome, Role, User
from tests.site_history import History, recalibrated
from tests.web_site import Site
from web.quality import charts
from web.quality.tables import TABLES

DAYS = {"since": "2026-03-23", "until": "2026-03-29"}


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, sqlite_database)
    with sqlite_database.write() as session:
        history = History(session, spec)
        job = history.job(at(24))
        ill, well, third = [history.screen(job, at(24), p, 4.0, exposure=(120, 180)) for p in (0.9, 0.1, 0.95)]
        history.refuse(job, at(24), "not_chest")
        history.screen(job, at(25, 23), 0.05, 4.0)
        history.screen(job, at(16), 0.2)
        history.review(ill, at(25), ReviewOutcome.AGREE, is_blind=True)
        history.review(well, at(25), ReviewOutcome.AGREE)
        history.review(third, at(25), ReviewOutcome.OVERRULE, Finding.NORMAL)
    return site


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def reader(site: Site, name: str = "chief", zone: str | None = None) -> FlaskClient:
    user = site.add_user(name, Role.READER)
    with site.database.write() as session:
        session.get_one(User, user.id).time_zone = zone
    return site.browser(user)


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_says_what_was_counted(site: Site) -> None:
    page = reader(site).get("/quality", query_string=DAYS)
    said = words(page.text)
    for sentence in (
        "5 X-rays sent from 23 Mar 2026 to 29 Mar 2026",
        "Of 4 X-rays with a result 2 were flagged: 50.0% (15.0% to 85.0%).",
        "Half of the X-rays had a result within 4.0 s of being sent, and 95 % within 4.0 s.",
        "1 X-ray ended without a result",
        "2 of 3 name the model's label: 66.7%",
        "Blind reviews alone: 1 of 1",
        "3 X-rays whose readers name one label",
        "No drift against 16 Mar 2026 to 22 Mar 2026",
    ):
        assert sentence in said
    assert "Not a chest X-ray" in said
    assert "style=" not in page.text, "the policy allows no style within a page"


def test_charts_lie_within_their_frames(site: Site) -> None:
    page = reader(site).get("/quality", query_string=DAYS).text
    drawn = re.findall(r'<svg class="chart-frame".*?</svg>', page, re.DOTALL)
    assert len(drawn) == 7
    for svg in drawn:
        places = re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', svg)
        assert len(places) > 12
        assert all(place.endswith("%") and 0 <= float(place[:-1]) <= 100 for place in places), svg


def test_days_are_those_of_the_accounts_zone(site: Site) -> None:
    for name, zone, day in (("ute", "Etc/UTC", "2026-03-25"), ("ben", "Europe/Berlin", "2026-03-26")):
        text = reader(site, name, zone).get("/quality/days.csv", query_string=DAYS).text
        images = {row["day"]: row["images"] for row in csv.DictReader(io.StringIO(text))}
        assert (images["2026-03-24"], images[day]) == ("4", "1"), "23:00 UTC is the next day in Berlin"


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_a_file_with_the_rows_of_the_page(site: Site, name: str) -> None:
    browser = reader(site)
    answer = browser.get(f"/quality/{name}.csv", query_string=DAYS)
    rows = list(csv.reader(io.StringIO(answer.text)))
    assert answer.headers["Content-Disposition"].endswith(f'pneumoscreen-{name}-2026-03-23-2026-03-29.csv"')
    assert len(rows[0]) == len(set(rows[0])) == len(rows[-1]), "a name for each column"
    page = browser.get("/quality", query_string=DAYS).text
    section = re.search(rf'<section class="card" id="{name}".*?</section>', page, re.DOTALL)
    assert section is not None
    assert section[0].count("<tr>") == len(rows)


def test_what_the_files_hold(site: Site) -> None:
    browser = reader(site)
    read = {name: browser.get(f"/quality/{name}.csv", query_string=DAYS).text.splitlines() for name in TABLES}
    assert read["days"][2] == "2026-03-24,4,3,1,0,0,0"
    assert read["flagged"][2].startswith("2026-03-24,3,2,0.666667,0.207")
    assert read["times"][2] == "2026-03-24,3,4,4"
    assert read["refusals"][1].startswith("Not a chest X-ray,not_chest,1,0.2,")
    assert read["agreement"] == [
        "reader,model_normal,model_pneumonia",
        "Reader: no pneumonia,1,1",
        "Reader: pneumonia,0,1",
    ]
    assert read["calibration"][1].startswith("0.1,0.2,1,0.1,0,0,")
    assert read["suspicion"][2] == "0.05,0.1,1,0.25,0,0"
    assert read["brightness"][8] == "112,127,3,1,0,"
    assert read["contrast"][12] == "176,191,3,1,0,"


def test_calibration_leaves_out_what_another_calibration_answered(site: Site, spec: ModelSpec) -> None:
    browser = reader(site)
    with site.database.write() as session:
        people = {user.name: user for user in session.scalars(select(User))}
        other = History(session, recalibrated(spec), made=1000, people=people)
        other.review(other.screen(other.job(at(25)), at(25), 0.5), at(25), ReviewOutcome.AGREE)
    page = browser.get("/quality", query_string=DAYS).text
    section = re.search(r'<section class="card" id="calibration".*?</section>', page, re.DOTALL)
    assert section is not None
    assert "3 X-rays whose readers name one label" in words(section[0])
    assert "1 X-ray is left out, which another model or calibration answered." in words(section[0])
    rows = browser.get("/quality/calibration.csv", query_string=DAYS).text.splitlines()
    assert not [row for row in rows if row.startswith("0.5,")]


def test_an_export_is_on_record(site: Site) -> None:
    reader(site).get("/quality/days.csv", query_string={**DAYS, "model": "test-model"})
    with site.database.read() as session:
        action, detail = session.execute(
            select(AuditEvent.action, AuditEvent.detail).order_by(AuditEvent.sequence.desc())
        ).first() or ("", {})
    assert (action, detail) == ("quality_exported", {"table": "days", **DAYS, "model": "test-model"})


def test_days_without_anything_say_what_would_fill_them(site: Site) -> None:
    said = words(reader(site).get("/quality", query_string={"since": "2020-01-01", "until": "2020-01-02"}).text)
    for sentence in ("No X-ray was sent in this period", "A running worker fills this", "Reviews fill this"):
        assert sentence in said


def test_without_days_the_last_thirty_are_shown(site: Site) -> None:
    page = reader(site).get("/quality")
    assert page.status_code == 200
    assert f'value="{now().date()}"' in page.text
    assert re.search(r'aria-current="true">30 days<', page.text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"since": "yesterday"}, "First day: Give a day as YYYY-MM-DD. Received: &#39;yesterday&#39;."),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "Give a day that is not after the last one"),
        ({"since": "2025-03-02", "until": "2026-03-01"}, "Give at most 92 days"),
        ({"until": "0001-01-02"}, "Give a later day."),
        ({"since": "9999-12-30", "until": "9999-12-31"}, "Give at most 92 days"),
        ({"model": "x" * 65}, "Give the name of a model."),
    ],
)
def test_days_that_cannot_be_meant_are_refused_in_words(site: Site, asked: dict[str, str], said: str) -> None:
    browser = reader(site)
    page = browser.get("/quality", query_string=asked)
    assert (page.status_code, said in page.text) == (422, True)
    assert browser.get("/quality/days.csv", query_string=asked).status_code == 422


def test_a_table_that_is_not_there_is_named_with_those_that_are(site: Site) -> None:
    answer = reader(site).get("/quality/nothing.csv", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert "days, flagged, times" in answer.json["detail"]


def test_a_chart_of_calibration_puts_points_where_suspicion_and_truth_meet() -> None:
    chart = charts.draw_calibration([Bin(0.8, 0.9, 0.85, Share(3, 4))])
    assert [(point.x, point.y) for point in chart.points] == [("85.00%", "25.00%")]
