"""Reviews as people and programs give them: page, API, exports, undo, two at the same image, and reading blind."""

import csv
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from shared.columns import RESULT_COLUMNS
from shared.db import Database
from shared.models import heatmap
from shared.models.spec import ModelSpec
from shared.settings import Settings
from shared.states import State
from shared.tables import AuditEvent, Image, ReviewState, Role, Screening
from tests.conftest import draw, encode
from tests.web_site import Site, post_images, press, token_of
from web.images import next_unread

SICK, WELL = 0.91, 0.07


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    return make_site(settings, sqlite_database, spec)


@pytest.fixture
def blind(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    return make_site(settings, sqlite_database, spec, blind_second_reading=True)


def make_site(settings: Settings, database: Database, spec: ModelSpec, **changes: bool) -> Site:
    """A site with three screened images in one job: a sick one, a healthy one, a sick one."""
    site = Site(settings, database, **changes)
    site.install_model(spec)
    sender = site.token_client(site.add_user("tina"))
    assert post_images(sender, *[(f"image-{n}.png", encode(draw(n), "PNG")) for n in range(3)]).status_code == 202
    answers = {sha256: WELL if n == 1 else SICK for n, sha256 in enumerate(images(site))}
    site.work(spec, answers, heat_map=heatmap.encode(np.ones((2, 2), np.float32)))
    return site


def images(site: Site) -> list[str]:
    with site.database.read() as session:
        query = select(Image.sha256).join(Screening).order_by(Screening.position)
        return list(session.scalars(query))


def reader(site: Site, name: str, role: Role = Role.READER) -> FlaskClient:
    return site.token_client(site.add_user(name, role))


def address(site: Site, position: int = 0) -> str:
    return f"/api/v1/screenings/{site.screenings()[position].id}/reviews"


def page(site: Site, position: int = 0) -> str:
    return f"/screenings/{site.screenings()[position].id}"


def hidden_field(answer: TestResponse, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]+)"', answer.text)
    assert found is not None
    return found[1]


# ---------------------------------------------------------------- the API


def test_a_review_is_added_listed_and_undone_with_a_trace(site: Site) -> None:
    rita = reader(site, "rita")
    added = rita.post(address(site), json={"outcome": "overrule", "finding": "viral", "note": " Both sides.\r\nMild. "})
    assert added.status_code == 201
    said = added.json
    assert (said["by"], said["outcome"], said["finding"]) == ("rita", "overrule", "viral")
    assert (said["note"], said["blind"], said["counts"]) == ("Both sides.\nMild.", False, True)
    assert (said["label"], said["p_pneumonia"], said["model"]) == (
        "PNEUMONIA",
        pytest.approx(SICK),
        "test-model@000000000000",
    )
    listed = rita.get(address(site)).json
    assert (listed["state"], [row["id"] for row in listed["reviews"]]) == ("disagreed", [said["id"]])
    undone = rita.post(f"{address(site)}/withdraw")
    assert (undone.status_code, undone.json["outcome"]) == (201, "withdrawn")
    listed = rita.get(address(site)).json
    assert (listed["state"], [row["counts"] for row in listed["reviews"]]) == ("unread", [False, False])
    again = rita.post(f"{address(site)}/withdraw")
    assert (again.status_code, again.json["code"]) == (409, "not_reviewable")
    with site.database.read() as session:
        details = session.execute(select(AuditEvent.action, AuditEvent.subject, AuditEvent.detail)).all()[-2:]
    subject = str(site.screenings()[0].id)
    assert details == [
        ("review_added", subject, {"outcome": "overrule", "finding": "viral"}),
        ("review_withdrawn", subject, {"outcome": "withdrawn"}),
    ], "and never the note"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "outcome"), ({"outcome": "withdrawn"}, "outcome"), ({"outcome": "maybe"}, "outcome"),
        ({"outcome": 7}, "outcome"), ({"outcome": "overrule"}, "finding"),
        ({"outcome": "agree", "finding": "viral"}, "finding"), ({"outcome": "overrule", "finding": "flu"}, "finding"),
        ({"outcome": "overrule", "finding": "bacterial"}, "finding"),
        ({"outcome": "agree", "note": "x" * 4001}, "note"), ({"outcome": "agree", "note": ["x"]}, "note"),
        ({"outcome": "agree", "seen": "yesterday"}, "seen"),
        ({"outcome": "agree", "seen": int("1" * 32)}, "seen"),
        ({"outcome": "agree", "prediction": "yes"}, "prediction"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_field(site: Site, body: dict, field: str) -> None:
    answer = reader(site, "rita").post(address(site), json=body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)
    assert site.screenings()[0].review_state is ReviewState.UNREAD


@pytest.mark.parametrize(
    ("position", "finding", "outcome"),
    [(0, "bacterial", "agree"), (0, "viral", "overrule"), (0, "unclear", "agree"), (0, "normal", "overrule"),
     (0, "other", "overrule"), (1, "normal", "agree"), (1, "bacterial", "overrule"), (1, "unclear", "overrule")],
)  # fmt: skip
def test_a_finding_alone_is_compared_with_the_prediction(site: Site, position: int, finding: str, outcome: str) -> None:
    answer = reader(site, "rita").post(address(site, position), json={"finding": finding})
    assert (answer.json["outcome"], answer.json["finding"]) == (outcome, finding)


def test_text_that_a_database_cannot_keep_is_kept_as_far_as_it_can(site: Site) -> None:
    rita = reader(site, "rita")
    body = '{"outcome": "agree", "note": "a\\u0000b\\ud800c"}'
    answer = rita.post(address(site), data=body, content_type="application/json")
    assert (answer.status_code, answer.json["note"]) == (201, "a\N{REPLACEMENT CHARACTER}b?c")


def test_the_second_reader_is_told_of_the_first_and_overwrites_nothing(site: Site) -> None:
    rita, ruth = reader(site, "rita"), reader(site, "ruth")
    first = rita.post(address(site), json={"outcome": "agree"}).json
    refused = ruth.post(address(site), json={"finding": "normal"})
    assert (refused.status_code, refused.json["code"]) == (409, "review_outdated")
    assert "rita reviewed" in refused.json["detail"]
    assert ruth.post(address(site), json={"finding": "normal", "seen": first["id"]}).status_code == 201
    listed = rita.get(address(site)).json["reviews"]
    assert [(row["by"], row["outcome"], row["counts"]) for row in listed] == [
        ("rita", "agree", True), ("ruth", "overrule", True),
    ]  # fmt: skip


def test_a_key_adds_one_review_and_one_trace(site: Site) -> None:
    rita, headers = reader(site, "rita"), {"Idempotency-Key": "key"}
    first, again = (rita.post(address(site), json={"outcome": "agree"}, headers=headers) for _ in range(2))
    assert first.json == again.json
    assert site.actions().count("review_added") == 1
    other = rita.post(address(site), json={"outcome": "inadequate"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (422, "key_reused")


def test_a_review_is_repeated_though_the_model_has_answered_since(site: Site, spec: ModelSpec) -> None:
    rita, headers = reader(site, "rita"), {"Idempotency-Key": "key"}
    assert post_images(site.token_client(site.add_user("tom")), ("new.png", encode(draw(9), "PNG"))).status_code == 202
    waiting = next(n for n, row in enumerate(site.screenings()) if row.state is State.QUEUED)
    said = {"outcome": "overrule", "finding": "normal"}
    first = rita.post(address(site, waiting), json=said, headers=headers)
    site.work(spec, {})
    again = rita.post(address(site, waiting), json=said, headers=headers)
    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)


@pytest.mark.parametrize("later", ["withdraw", ""])
def test_a_repeated_review_says_that_it_counts_no_more(site: Site, later: str) -> None:
    rita, headers = reader(site, "rita"), {"Idempotency-Key": "key"}
    first = rita.post(address(site), json={"outcome": "agree"}, headers=headers).json
    way = f"{address(site)}/{later}".rstrip("/")
    assert rita.post(way, json={"outcome": "inadequate"}).status_code == 201
    again = rita.post(address(site), json={"outcome": "agree"}, headers=headers).json
    assert again == {**first, "counts": False}
    assert again == rita.get(address(site)).json["reviews"][0]


def test_undo_that_is_repeated_under_its_key_takes_back_no_later_review(site: Site) -> None:
    rita, headers = reader(site, "rita"), {"Idempotency-Key": "undo"}
    rita.post(address(site), json={"outcome": "agree"})
    first = rita.post(f"{address(site)}/withdraw", headers=headers)
    assert rita.post(address(site), json={"outcome": "inadequate"}).status_code == 201
    again = rita.post(f"{address(site)}/withdraw", headers=headers)
    assert (first.status_code, again.status_code, again.json) == (201, 201, first.json)
    assert (rita.get(address(site)).json["state"], site.actions().count("review_withdrawn")) == ("inadequate", 1)
    other = rita.post(f"{address(site, 1)}/withdraw", headers=headers)
    assert (other.status_code, other.json["code"]) == (422, "key_reused")


def test_a_key_that_comes_twice_at_once_leaves_one_trace(
    settings: Settings, database: Database, spec: ModelSpec
) -> None:
    site = make_site(settings, database, spec)
    rita = site.add_user("rita", Role.READER)
    clients, way = [site.token_client(rita) for _ in range(4)], address(site)

    def send(client: FlaskClient, number: int) -> int:
        return client.post(way, json={"outcome": "agree"}, headers={"Idempotency-Key": f"{number}"}).status_code

    with ThreadPoolExecutor(len(clients)) as pool:
        for number in range(5):
            assert list(pool.map(send, clients, [number] * len(clients))) == [201] * len(clients)
    assert site.actions().count("review_added") == 5


# ---------------------------------------------------------------- exports


def rows_of(client: FlaskClient, **query: str) -> list[dict]:
    text = client.get("/api/v1/predictions", query_string={"format": "csv", **query}).text
    return list(csv.DictReader(io.StringIO(text)))


def test_exports_of_page_and_api_have_the_columns_of_the_command_line(site: Site) -> None:
    rita = reader(site, "rita")
    rita.post(address(site), json={"finding": "viral", "note": "=1+1"})
    rows = {row["file_name"]: row for row in rows_of(rita)}
    assert tuple(rows["image-0.png"]) == RESULT_COLUMNS
    reviewed = {name: rows["image-0.png"][name] for name in RESULT_COLUMNS[-9:-3]}
    assert reviewed == {
        "review_state": "disagreed", "reviews": "1", "review_outcome": "overrule", "review_finding": "viral",
        "review_note": "'=1+1", "reviewed_by": "rita",
    }  # fmt: skip
    assert (rows["image-1.png"]["review_state"], rows["image-1.png"]["reviews"]) == ("unread", "0")
    assert (rows["image-1.png"]["threshold"], rows["image-1.png"]["created_by"]) == ("0.400000", "tina")
    browser = site.browser(site.add_user("ruth", Role.READER))
    assert browser.get("/history/export").text.splitlines()[0] == ",".join(RESULT_COLUMNS)
    told = json.loads(browser.get("/history/export?format=json").text)["predictions"]
    assert {row["file_name"]: row["review_note"] for row in told}["image-0.png"] == "=1+1"


# ---------------------------------------------------------------- the page


def test_the_page_leads_on_to_the_next_unread_image_and_undo_leads_back(site: Site) -> None:
    rita = site.browser(site.add_user("rita", Role.READER))
    keyed = {"key": "k1", "seen": ""}
    answer = press(rita, f"{page(site)}/reviews", page(site), says="agree", note="Left lower lobe.", **keyed)
    assert answer.location == f"{page(site, 1)}?reviewed={site.screenings()[0].id}"
    following = rita.get(answer.location).text
    assert "Reviewed <b" in following
    assert "Agreed with the model" in following
    undone = press(rita, f"{page(site)}/reviews/withdraw", answer.location)
    assert undone.location == page(site)
    back = rita.get(undone.location).text
    assert "Your review is undone." in back
    assert ">Left lower lobe.</textarea>" in back, "what was typed can be sent again"
    for position in (1, 0):
        answer = press(rita, f"{page(site, position)}/reviews", page(site, position), says="normal")
    assert answer.location.startswith(page(site, 2))
    answer = press(rita, f"{page(site, 2)}/reviews", page(site, 2), says="second_reader")
    assert answer.location == page(site, 2)
    assert "No unread X-rays are left in this list." in rita.get(answer.location).text


@pytest.mark.parametrize(
    "listed", ["review=unread", "review=disagreed", "label=PNEUMONIA&review=unread", "label=NORMAL"]
)
def test_an_image_has_no_place_in_a_list_that_does_not_hold_it(site: Site, listed: str) -> None:
    rita = site.browser(site.add_user("rita", Role.READER))
    places = [re.findall(r'id="place">([^<]*)<', rita.get(f"{page(site, n)}?order=unread").text) for n in (2, 0, 1)]
    assert places == [["1 of 3"], ["2 of 3"], ["3 of 3"]]
    press(rita, f"{page(site)}/reviews?order=unread", page(site), says="agree")
    after = [re.findall(r'id="place">([^<]*)<', rita.get(f"{page(site, n)}?order=unread").text) for n in (2, 1, 0)]
    assert after == [["1 of 3"], ["2 of 3"], ["3 of 3"]], "what was read comes last"
    assert 'id="place"' not in rita.get(f"{page(site)}?order=unread&{listed}").text


def test_in_a_list_the_next_unread_image_is_that_of_the_list(site: Site) -> None:
    rita = site.browser(site.add_user("rita", Role.READER))
    listed = "?order=suspicious&label=PNEUMONIA"
    answer = press(rita, f"{page(site, 2)}/reviews{listed}", page(site, 2), says="agree")
    assert answer.location.startswith(f"{page(site, 0)}?")
    assert "label=PNEUMONIA" in answer.location
    assert "order=suspicious" in answer.location


def test_a_search_for_the_next_unread_image_that_is_cut_short_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(next_unread, "_MOST_STEPS", 0)
    rita = site.browser(site.add_user("rita", Role.READER))
    answer = press(rita, f"{page(site)}/reviews?order=newest", page(site), says="agree")
    assert answer.location.startswith(page(site))
    assert "No next unread X-ray was found yet." in rita.get(answer.location).text


def test_a_conflict_on_the_page_keeps_what_was_typed_and_shows_the_other_review(site: Site) -> None:
    rita, ruth = (site.browser(site.add_user(name, Role.READER)) for name in ("rita", "ruth"))
    token = token_of(ruth.get(page(site)))
    press(rita, f"{page(site)}/reviews", page(site), says="agree", note="Clear.")
    said = {"csrf_token": token, "says": "normal", "note": "Not at all.", "seen": ""}
    answer = ruth.post(f"{page(site)}/reviews", data=said)
    assert answer.status_code == 409
    for part in ("rita reviewed this X-ray meanwhile", ">Not at all.</textarea>", "Clear."):
        assert part in answer.text
    told = ruth.post(f"{page(site)}/reviews", data=said, headers={"Accept": "application/json"})
    assert (told.status_code, told.json["code"]) == (409, "review_outdated")


def test_who_has_an_image_open_is_told_to_other_readers(site: Site) -> None:
    rita, ruth = (site.browser(site.add_user(name, Role.READER)) for name in ("rita", "ruth"))
    token = token_of(rita.get(page(site)))
    assert "rita has just opened this X-ray." in ruth.get(page(site)).text
    claim = rita.post(f"{page(site)}/claim", data={"csrf_token": token})
    assert claim.json == {"open": ["ruth has just opened this X-ray."], "newest": None, "by": None}
    assert rita.post(f"{page(site)}/release", data={"csrf_token": token}).status_code == 204
    assert "rita has just opened" not in ruth.get(page(site)).text


def test_technicians_see_what_readers_said_and_get_no_form(site: Site) -> None:
    reader(site, "rita").post(address(site), json={"outcome": "inadequate", "note": "Turned."})
    with site.database.read() as session:
        from shared.accounts import users

        tina = users.find_user(session, "tina")
    shown = site.browser(tina).get(page(site)).text
    assert "Technically inadequate" in shown
    assert "review-form" not in shown


# ---------------------------------------------------------------- suspicion


def test_the_page_says_one_number_and_on_which_side_of_the_threshold_it_lies(site: Site) -> None:
    rita = site.browser(site.add_user("rita", Role.READER))
    sick, well = (rita.get(page(site, position)).text for position in (0, 1))
    assert "Suspicion <b>91</b> of 100. Above the threshold, 40." in sick
    assert "more likely bacterial: <b>75.0%</b>" in sick
    assert "Suspicion <b>7</b> of 100. Below the threshold, 40." in well
    assert "Not flagged" in well
    for shown in (sick, well):
        assert "confidence" not in shown
        assert "93.0%" not in shown


# ---------------------------------------------------------------- reading blind


def leaks(blind: Site, client: FlaskClient, browser: FlaskClient) -> Iterator[str]:
    """Every way that tells of the first image's prediction or reviews: what it tells, as a name."""
    screening = blind.screenings()[0]
    job = screening.job_id
    (listed,) = [row for row in client.get(f"/api/v1/jobs/{job}/screenings").json["screenings"] if row["position"] == 0]
    (found,) = [r for r in client.get("/api/v1/predictions").json["predictions"] if r["id"] == str(screening.id)]
    (row,) = [row for row in rows_of(client) if row["id"] == str(screening.id)]
    told = ("label", "cause", "confidence", "p_pneumonia", "threshold", "model", "heat_map_url", "review_outcome",
            "review_finding", "review_note", "reviewed_by", "reviewed_at", "brightness", "contrast")  # fmt: skip
    for way, values in {"job": listed, "predictions": found, "csv": row}.items():
        yield from (f"{way} {name}" for name in told if values.get(name))
        yield from ([f"{way} state"] if values["review_state"] != "unread" or int(values["reviews"]) else [])
    for query in (
        "order=suspicious",
        "label=PNEUMONIA",
        "min_confidence=0.5",
        "max_confidence=0.95",
        "model=test-model",
        "min_suspicion=50",
        "review=disagreed",
        "review=inadequate",
    ):
        rows = client.get(f"/api/v1/predictions?{query}").json["predictions"]
        yield from ([query] if str(screening.id) in {row["id"] for row in rows} else [])
        shown = browser.get(f"/history?{query}").text
        yield from ([f"history {query}"] if f"screening-{screening.id}" in shown else [])
    if client.get(f"/screenings/{screening.id}/heat-map").status_code != 404:
        yield "heat map"
    for query in ("", "review=others", "review=disagreed", "label=PNEUMONIA", "reviewed_by=rita"):
        shown = browser.get(f"/worklist?{query}").text
        yield from ([f"worklist {query}"] if f"screening-{screening.id}" in shown else [])
    for way in ("/jobs", f"/jobs/{job}"):
        yield from ([f"{way} counts"] if "2 flagged" in browser.get(way).text else [])
    yield from (["reviews"] if client.get(address(blind)).json["reviews"] else [])
    yield from leaks_of_figures(client, browser)
    for way in (page(blind), "/history", f"/jobs/{job}", f"/jobs/{job}/fragment"):
        shown = browser.get(way).text
        row_shown = shown.split(f'id="screening-{screening.id}"')[-1].split("</tr>")[0] if way != page(blind) else shown
        for part in (">Flagged", "91.0%", "<b>91</b>", 'heat-map"', "bacterial:", "Secret word", "rita", "Agreed"):
            yield from ([f"{way} {part}"] if part in row_shown.replace(str(screening.id), "") else [])


def leaks_of_figures(client: FlaskClient, browser: FlaskClient) -> Iterator[str]:
    """Every count of predictions or reviews that holds those of the first image, too."""
    columns = {
        "flagged": ["labelled"],
        "suspicion": ["images"],
        "agreement": ["model_normal", "model_pneumonia"],
        "calibration": ["images"],
    }
    for table, counted in columns.items():
        rows = csv.DictReader(io.StringIO(browser.get(f"/quality/{table}.csv").text))
        counts = sum(int(row[column]) for row in rows for column in counted)
        yield from ([f"quality {table}"] if counts >= (3 if table in {"flagged", "suspicion"} else 1) else [])
    tried = client.get("/api/v1/models/test-model/threshold").json
    yield from (["threshold"] if tried["images"] == 3 or tried["flagged"] == 2 else [])
    assert "You are reading blind" in browser.get("/quality").text
    assert "You are reading blind" in browser.get("/models/test-model").text


def test_a_second_reader_sees_nothing_of_what_others_said_before_the_own_review(blind: Site) -> None:
    rita = reader(blind, "rita")
    assert rita.post(address(blind), json={"outcome": "agree", "note": "Secret word"}).status_code == 201
    person = blind.add_user("ruth", Role.READER)
    ruth, browser = blind.token_client(person), blind.browser(person)
    assert list(leaks(blind, ruth, browser)) == []
    hidden = blind.screenings()[0]
    for way in ("/history", f"/jobs/{hidden.job_id}"):
        row = browser.get(way).text.split(f'<tr role="row" id="screening-{hidden.id}"')[1].split("</tr>")[0]
        assert "Result hidden" in row
        assert "/thumbnail" in row
    assert blind.token_client(person).get(address(blind)).json == {"state": "unread", "hidden": True, "reviews": []}
    for said in ("agree", "overrule"):
        refused = ruth.post(address(blind), json={"outcome": said, "finding": "viral" if said == "overrule" else None})
        assert (refused.status_code, "blind" in refused.text) == (422, True)
    added = ruth.post(address(blind), json={"finding": "viral"})
    assert (added.status_code, added.json["blind"], added.json["outcome"]) == (201, True, "overrule")
    seen = set(leaks(blind, ruth, browser))
    assert {"csv p_pneumonia", "heat map", "reviews", "order=suspicious", "history order=suspicious"} <= seen
    assert {"worklist ", "/jobs counts", "review=disagreed", "min_suspicion=50"} <= seen
    assert {f"quality {table}" for table in ("flagged", "suspicion", "agreement", "calibration")} <= seen
    assert {"threshold", f"{page(blind)} Secret word", "job label", "predictions reviewed_by", "csv state"} <= seen


def test_who_reads_blind_is_told_nothing_that_is_refused_to_them_next(blind: Site) -> None:
    assert reader(blind, "rita").post(address(blind), json={"outcome": "agree"}).status_code == 201
    refused = reader(blind, "ruth").post(address(blind), json={"outcome": "inadequate", "finding": "normal"})
    message = "Give the finding alone, or inadequate or second_reader without one. Received: inadequate, normal."
    assert (refused.status_code, refused.json["errors"]) == (422, [{"field": "finding", "message": message}])


@pytest.mark.parametrize(
    ("body", "received"),
    [({"outcome": "overrule"}, "overrule"), ({"outcome": "agree", "finding": "viral"}, "agree, viral")],
)
def test_an_outcome_that_its_finding_does_not_fit_is_repeated(site: Site, body: dict, received: str) -> None:
    refused = reader(site, "rita").post(address(site), json=body)
    assert refused.json["errors"][0]["message"].endswith(f"with nothing else. Received: {received}.")


def test_who_undid_a_blind_review_has_seen_and_reads_blind_no_more(blind: Site) -> None:
    rita, ruth = reader(blind, "rita"), reader(blind, "ruth")
    rita.post(address(blind), json={"outcome": "agree"})
    assert ruth.post(address(blind), json={"finding": "normal"}).json["blind"]
    ruth.post(f"{address(blind)}/withdraw")
    newest = ruth.get(address(blind)).json["reviews"][-1]["id"]
    assert not ruth.post(address(blind), json={"outcome": "agree", "seen": newest}).json["blind"]


def test_a_review_from_a_page_that_showed_the_result_is_not_blind(blind: Site) -> None:
    rita, person = reader(blind, "rita"), blind.add_user("ruth", Role.READER)
    browser = blind.browser(person)
    opened = [browser.get(page(blind, position)) for position in range(2)]
    for position in range(2):
        said = {"outcome": "overrule", "finding": "other"}
        assert rita.post(address(blind, position), json=said).status_code == 201

    def send(position: int, says: str, **more: str) -> int:
        fields = {"csrf_token": token_of(opened[position]), "says": says, **more}
        return browser.post(f"{page(blind, position)}/reviews", data=fields).status_code

    marks = [hidden_field(answer, "shown") for answer in opened]
    assert send(0, "agree", shown=marks[0] + "x") == send(0, "agree", shown=marks[1]) == 422, (
        "a mark of this image alone"
    )
    assert send(0, "agree", shown=marks[0]) == 303
    assert send(1, "bacterial", shown=marks[1]) == 303
    client = blind.token_client(person)
    added = [client.get(address(blind, position)).json["reviews"][-1] for position in range(2)]
    assert [(review["by"], review["outcome"], review["blind"]) for review in added] == [
        ("ruth", "agree", False),
        ("ruth", "overrule", False),
    ]
    assert 'name="shown"' not in blind.browser(blind.add_user("rosa", Role.READER)).get(page(blind)).text


def test_figures_of_administrators_hold_what_is_hidden_from_others(blind: Site) -> None:
    assert reader(blind, "rita").post(address(blind), json={"outcome": "agree"}).status_code == 201
    chief = blind.browser(blind.add_user("ada", Role.ADMIN))
    shown = chief.get("/quality").text
    assert "Of 3 X-rays with a result 2 were flagged" in shown
    assert "1 of 1 name the model" in shown
    assert "You are reading blind" not in shown


def test_first_readers_and_administrators_see_the_prediction(blind: Site) -> None:
    rita, ada = reader(blind, "rita"), reader(blind, "ada", Role.ADMIN)
    assert [row["hidden"] for row in rita.get("/api/v1/predictions").json["predictions"]] == [False] * 3
    rita.post(address(blind), json={"outcome": "agree"})
    assert [row["hidden"] for row in ada.get("/api/v1/predictions").json["predictions"]] == [False] * 3
    assert ada.get(address(blind)).json["state"] == "read"
