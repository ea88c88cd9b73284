"""`make fuzz` in short: hostile files and hostile requests hurt nothing, and what would hurt is seen."""

import json
import os
import signal
from pathlib import Path

import pytest

from fuzz import dependencies
from fuzz.api import run_api, run_parameters
from fuzz.cases import Case, make_case
from fuzz.findings import Findings
from fuzz.images import run_images
from fuzz.lanes import Bounds, Lane
from fuzz.seeds import drawn_seeds
from shared.settings import MIB
from tests.conftest import draw, encode

pytestmark = pytest.mark.timeout(600)  # seconds where the machine is idle
IMAGE = Case(0, "png", "copy", "image.png", encode(draw(1, (2000, 2000)), "PNG"))
"""4 megapixels: enough to be seen in time and memory."""


def test_hostile_files_each_get_an_outcome_and_hurt_nothing(tmp_path: Path) -> None:
    run = run_images(files=100, seed=4, data=None, findings=tmp_path, lanes=1)
    assert run.faults == {}, list(tmp_path.iterdir())
    total = run.tally.total
    assert total.files == 100 == total.prepared + total.intake + total.decode
    assert min(total.prepared, total.intake, total.decode) > 10, "all three ways are taken"
    assert {"jpeg", "png", "tiff", "dicom", "zip"} <= run.tally.rows.keys()


def test_the_same_seed_makes_the_same_files() -> None:
    seeds, drawn_again = drawn_seeds(), drawn_seeds()
    runs = ((seeds, 1), (drawn_again, 1), (seeds, 2))
    one, again, other = ([make_case(start, seed, number) for number in range(30)] for start, seed in runs)
    assert one == again
    assert one != other


@pytest.mark.parametrize(
    ("bounds", "what"),
    # A native library without memory may abort.
    [
        (Bounds(memory_bytes=50 * MIB), {"OverMemory", "MemoryError", "Exit -6"}),
        (Bounds(cpu_seconds=1e-4), {"OverTime", "Hang"}),
    ],
    ids=["little memory", "little time"],
)
def test_what_costs_too_much_is_found(bounds: Bounds, what: set[str]) -> None:
    with Lane(bounds) as lane:
        outcome = lane.send(IMAGE)
    assert outcome.fault is not None
    assert outcome.fault["what"] in what


def test_a_child_that_dies_or_hangs_is_found_and_the_next_file_goes_on() -> None:
    patient, hasty = Bounds(), Bounds(wall_seconds=1)
    with Lane(patient) as lane:
        for kind, bounds, said in ((signal.SIGKILL, patient, "Exit -9"), (signal.SIGSTOP, hasty, "Hang")):
            assert lane.send(IMAGE).prepared == 1
            os.kill(lane._child.pid, kind)
            lane._bounds = bounds
            fault = lane.send(IMAGE).fault
            assert fault is not None
            assert fault["what"] == said
            lane._bounds = patient
        assert lane.send(IMAGE).prepared == 1


def test_a_finding_is_kept_with_its_story(tmp_path: Path) -> None:
    findings = Findings(tmp_path, Bounds())
    with Lane(Bounds(cpu_seconds=1e-4)) as lane:
        outcome = lane.send(IMAGE)
    findings.add(outcome)
    assert (tmp_path / "image.png").read_bytes() == IMAGE.data
    assert json.loads((tmp_path / "image.png.json").read_text())["what"] in {"OverTime", "Hang"}
    assert list(findings.seen.values()) == [1]


@pytest.mark.long
def test_no_argument_of_any_route_is_a_fault(tmp_path: Path) -> None:
    run = run_parameters(each=1, seed=3, folder=tmp_path)
    assert run.faults == []
    assert run.statuses.total() > 1000


def test_the_api_is_what_its_document_says(tmp_path: Path) -> None:
    run = run_api(examples=2, seed=1, folder=tmp_path, phases="fuzzing")
    assert run.failures == [], (tmp_path / "schemathesis.log").read_text()[-4000:]
    assert run.is_whole
    assert run.report["test_cases"]["generated"] > 2 * run.report["operations"]["total"]


# ---------------------------------------------------------------- known vulnerabilities


def found(*vulnerabilities: dict) -> dict:
    return {"dependencies": [{"name": "pillow", "version": "13.0.0", "vulns": list(vulnerabilities)}]}


WEAK = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["13.0.1"], "description": "..."}


def test_a_known_vulnerability_fails_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert dependencies.report(found(WEAK)) == 1
    assert "pillow 13.0.0: PYSEC-2026-1 CVE-2026-1; mended in 13.0.1." in capsys.readouterr().out


def test_one_that_is_ignored_with_a_reason_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dependencies.IGNORED, "CVE-2026-1", "for the test")
    assert dependencies.report(found(WEAK)) == 0


def test_an_ignored_one_that_is_gone_has_to_be_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dependencies.IGNORED, "CVE-2026-1", "for the test")
    assert dependencies.report(found()) == 1


def test_no_index_is_a_sentence_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    skipped = {"dependencies": [{"name": "pillow", "skip_reason": "not found"}]}
    assert dependencies.report(skipped) == 0
    assert "not audited" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("requests.exceptions.ConnectionError: refused", 0),
        ("Could not connect to the feed", 0),
        ("TypeError: broken", 1),
    ],
)
def test_an_audit_that_says_nothing_is_told_apart_from_one_without_an_index(words: str, status: int) -> None:
    assert dependencies._explain_silence(words) == status
