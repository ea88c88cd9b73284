"""The codes of problem details: one status each, one row of docs/http.md each, and scripts that match no words."""

import json
import re

from tests.conftest import ROOT
from web.http.connections import refusal
from web.http.problem_codes import STATUSES, ProblemCode, code_of

HTTP = (ROOT / "docs" / "http.md").read_text()
SCRIPTS = {file.name: file.read_text() for file in (ROOT / "web" / "static" / "js").glob("*.js")}


def test_every_code_has_a_status_and_a_row_of_http_md() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \| \S", HTTP, flags=re.MULTILINE)
    assert rows == [(code.value, str(STATUSES[code])) for code in ProblemCode]


def test_a_status_without_a_reason_of_its_own_has_a_general_code() -> None:
    assert [code_of(status) for status in (401, 403, 429, 503)] == [
        "signed_out",
        "forbidden",
        "rate_limited",
        "unavailable",
    ]
    assert [code_of(status) for status in (418, 502)] == ["bad_request", "internal"]


def test_a_refusal_without_an_application_has_its_code() -> None:
    for status, code in ((408, "too_slow"), (431, "header_too_large"), (503, "unavailable")):
        body = json.loads(refusal(status).partition(b"\r\n\r\n")[2])
        assert (body["status"], body["code"]) == (status, code)


def test_scripts_match_codes_that_there_are_and_no_words() -> None:
    matched = [
        text for script in SCRIPTS.values() for text in re.findall(r"^.*\bthis\.code\b.*$", script, re.MULTILINE)
    ]
    named = {name for text in matched for name in re.findall(r'"(\w+)"', text)}
    assert {"csrf", "queue_full", "disk_low"} <= named <= set(ProblemCode)
    words = r"(message|detail|title)\)|\b(message|detail|title)\.(match|includes|startsWith|indexOf|search)\("
    assert [name for name, script in SCRIPTS.items() if re.search(rf"\.test\([\w.]*{words}", script)] == []
