"""The table of codes against every place that raises one, every case against its sentence, and docs/http.md."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from shared.errors import ImageRejected
from shared.queue import leases
from shared.refusals import CASE, REFUSALS, TERMS, Case, Failure, Rejection, explain
from tests.conftest import ROOT

HTTP = (ROOT / "docs" / "http.md").read_text()
CASES = [(code, name, case) for code, refusal in REFUSALS.items() for name, case in refusal.cases.items()]
TEXTS = [*(r.sentence for r in REFUSALS.values()), *(r.action for r in REFUSALS.values()),
         *(case.sentence for _, _, case in CASES), *(case.action for _, _, case in CASES if case.action)]  # fmt: skip


class Raised(NamedTuple):
    """One place that raises a refusal."""

    place: str
    code: str
    case: str
    parameters: frozenset[str]


def places() -> Iterator[Raised]:
    for package in ("shared", "worker", "web", "cli"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    yield from raised(node, node.func.id, file)


def raised(call: ast.Call, name: str, file: Path) -> Iterator[Raised]:
    place = f"{file.relative_to(ROOT)}:{call.lineno}"
    if name not in {"ImageRejected", "reject"} or ast.unparse(call) == "ImageRejected(code, **details)":  # in `reject`
        return
    code = call.args[1 if name == "reject" else 0]
    assert isinstance(code, ast.Attribute), f"{place} does not name its code as Rejection.NAME."
    assert len(call.args) == (2 if name == "reject" else 1), f"{place} gives a parameter without its name."
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    assert None not in given, f"{place} does not name its parameters."
    case = given.pop(CASE, ast.Constant(""))
    assert isinstance(case, ast.Constant), f"{place} does not give its case as a text."
    yield Raised(place, Rejection[code.attr], str(case.value), frozenset(map(str, given)))


PLACES = list(places())


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    assert set(REFUSALS) == {*Rejection, *Failure}


def test_each_place_gives_exactly_the_parameters_of_its_sentence() -> None:
    needed = {
        (code, name): case.parameters
        for code in Rejection
        for name, case in (REFUSALS[code].cases or {"": Case("")}).items()
    }
    assert [place for place in PLACES if place.parameters != needed.get((place.code, place.case))] == []


def test_every_code_and_case_is_raised_somewhere() -> None:
    raised_here = {(place.code, place.case) for place in PLACES}
    known = {(code, case) for code in Rejection for case in REFUSALS[code].cases or {"": None}}
    assert known == raised_here
    source = ast.unparse(ast.parse(Path(leases.__file__).read_text()))
    assert [failure for failure in Failure if f"Failure.{failure.name}" not in source] == []
    assert {REFUSALS[failure].cases[""].parameters for failure in Failure} == {frozenset({"attempts"})}


def test_every_text_is_whole_sentences() -> None:
    assert [text for text in TEXTS if not (text[0].isupper() and text.endswith(".") and "  " not in text)] == []


@pytest.mark.parametrize(("code", "name", "case"), CASES, ids=[f"{code}-{name}" for code, name, _ in CASES])
def test_a_case_is_filled_after_a_way_through_json(code: str, name: str, case: Case) -> None:
    values = {parameter: next(iter(TERMS[parameter])) if parameter in TERMS else 7 for parameter in case.parameters}
    details = json.loads(json.dumps(values | ({CASE: name} if name else {})))
    said = explain(code, details)
    assert "{" not in said.text
    if case.parameters:
        assert said.sentence != REFUSALS[code].sentence
    assert said.action == (case.action or REFUSALS[code].action)


@pytest.mark.parametrize(
    "details", [None, {}, {"case": "new"}, {"case": "size", "width": "x"}, {"case": 3, "most": []}]
)
def test_parameters_that_do_not_fit_get_the_general_sentence(details: dict[str, object] | None) -> None:
    said = explain("too_many_pixels", details)  # type: ignore[arg-type]  # as a later version may have stored them
    assert said.sentence == REFUSALS[Rejection.TOO_MANY_PIXELS].sentence


def test_a_code_of_a_later_version_is_named() -> None:
    assert "'something_new'" in explain("something_new", {"count": 3}).text


def test_a_refusal_as_text_is_its_code_and_parameters() -> None:
    refusal = ImageRejected(Rejection.SEVERAL_IMAGES, case="frames", count=1200)
    assert str(refusal) == "several_images case='frames' count=1200"
    assert explain(refusal.code, refusal.details).text == (
        "The file holds 1,200 frames, and it is not clear which one to screen. "
        "Save each as a file of its own and send those."
    )
    again = ImageRejected.stored("several_images", json.loads(json.dumps(refusal.details)))
    assert (again.code, again.details) == (refusal.code, refusal.details)


def row_of(code: str) -> str:
    refusal = REFUSALS[code]
    ways = []
    for name, case in refusal.cases.items():
        needed = ", ".join(f"`{parameter}`" for parameter in sorted(case.parameters))
        ways.append(f"`{name}`{f' ({needed})' if needed else ''}" if name else needed)
    named = [way for name, way in zip(refusal.cases, ways, strict=True) if name]
    bare = [way for name, way in zip(refusal.cases, ways, strict=True) if not name and way]
    said = bare + ([f"`case`: {', '.join(named)}"] if named else [])
    return f"| `{code}` | {refusal.sentence} {refusal.action} | {'; '.join(said)} |"


def test_http_md_has_the_row_of_each_code() -> None:
    start = HTTP.index("| code | what it means and what to do | parameters |")
    rows = HTTP[start:].split("\n\n")[0].splitlines()[2:]
    assert rows == [row_of(code) for code in REFUSALS]
