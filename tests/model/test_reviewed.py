"""`evaluate --reviewed` and `calibrate --reviewed`: this site's own reviews as labels, against the same as a folder."""

import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from sqlalchemy import select

from migrations.schema import upgrade
from shared.activations.activate import Actor, put_threshold
from shared.db import Database, now
from shared.models.folder import read_spec
from shared.models.spec import Label
from shared.tables import AuditEvent, Finding, Image, ReviewOutcome, Screening
from tests.conftest import draw, encode, make_store
from tests.model.conftest import Probe
from tests.site_history import History

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]  # every command runs in the fixture of the first test

EACH = 32
CHOSEN = 0.77
"""Put in force for the model `causes`, whose folder has 0.5."""
LEFT_OUT = {"differ": 1, "inadequate": 2, "other": 1, "second_reader": 1}


def images() -> dict[bytes, Label]:
    """Grey images, those of pneumonia mostly brighter: what the network of the test answers from."""
    rng = np.random.default_rng(3)
    drawn = {}
    for label, middle in ((Label.NORMAL, 80), (Label.PNEUMONIA, 150)):
        for grey in rng.normal(middle, 30, EACH).clip(40, 215):
            # A drawing of its own: without any it would be refused as showing nothing, and two would be one image.
            drawing = np.asarray(draw(len(drawn), (64, 64)), float) / 4
            drawn[encode(Picture.fromarray((drawing - drawing.mean() + grey).round().astype(np.uint8)), "PNG")] = label
    return drawn


@pytest.fixture(scope="module")
def root(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of reviewed images, and the same images in the folders of an evaluation."""
    root = tmp_path_factory.mktemp("reviewed")
    probe("serving_probe.write_models", "openvino", root / "models")
    shutil.copytree(root / "models" / "causes", root / "models" / "fitted")
    for label in Label:
        (root / "site" / label).mkdir(parents=True)
    for folder in ("data", "empty"):
        (root / folder).mkdir()
        database = Database(f"sqlite:///{root / folder / 'pneumoscreen.db'}")
        upgrade(database)
        if folder == "data":
            fill(root, database)
        database.close()
    return root


def fill(root: Path, database: Database) -> None:
    """Store every image, and have it screened and reviewed; five are reviewed without a label to measure by."""
    store = make_store(root / "data" / "store")
    at = now() - timedelta(days=1)
    with database.write() as session:
        history = History(session, read_spec(root / "models" / "causes"))
        job = history.job(at)
        for number, (data, label) in enumerate(images().items()):
            with store.receive() as incoming:
                incoming.write(data)
                key = store.keep(incoming)
            (root / "site" / label / f"{number}.png").write_bytes(data)
            screening = history.screen(job, at, 0.9 if number % 3 else 0.1, sha256=key)
            history.review_truthfully([screening], at, [label is Label.PNEUMONIA])
            if number % 8 < 4:
                session.get_one(Image, screening.image_id).patient = f"{number // 8:064x}"
        left_out = [history.screen(job, at, 0.9) for _ in range(5)]
        history.review(left_out[0], at, ReviewOutcome.INADEQUATE)
        history.review(left_out[1], at, ReviewOutcome.AGREE)
        history.review(left_out[1], at, ReviewOutcome.INADEQUATE, by="rolf", number=2)
        history.review(left_out[2], at, ReviewOutcome.OVERRULE, Finding.OTHER)
        history.review(left_out[3], at, ReviewOutcome.SECOND_READER)
        history.review(left_out[4], at, ReviewOutcome.AGREE)
        history.review(left_out[4], at, ReviewOutcome.OVERRULE, Finding.NORMAL, by="rolf", number=2)
        gone = history.screen(job, at, 0.9, sha256=hashlib.sha256(b"gone").hexdigest())
        history.review(gone, at, ReviewOutcome.AGREE, is_blind=True)
        put_threshold(session, Actor("os:ada"), history.spec, CHOSEN)


@pytest.fixture(scope="module")
def answers(probe: Probe, root: Path) -> dict[str, dict]:
    """Run every command once, in one process and in this order."""
    here, causes = ("--reviewed", "--data-dir", str(root / "data")), ("--model", "causes")
    lines = {
        "folder": ["evaluate", str(root / "site"), *causes, "--json", str(root / "folder.json")],
        "reviewed": [
            *("evaluate", *here, *causes, "--json", str(root / "reviewed.json")),
            *("--report", str(root / "report.html")),
        ],
        "fitted": ["calibrate", *here, "--model", "fitted", "--in-place", "--json", str(root / "fitted.json")],
        "both": ["evaluate", str(root / "site"), *here, *causes],
        "neither": ["evaluate", *causes],
        "calibrate both": ["calibrate", str(root / "site"), *here, *causes],
        "calibrate neither": ["calibrate", *causes],
        "undo": ["calibrate", *here, *causes, "--undo"],
        "nothing": ["evaluate", "--reviewed", "--data-dir", str(root / "empty"), *causes],
        "no database": ["evaluate", "--reviewed", "--data-dir", str(root / "site"), *causes],
    }
    given = (json.dumps([*line, "--models-dir", str(root / "models")]) for line in lines.values())
    return dict(zip(lines, probe("serving_probe.quick_commands", "openvino", *given), strict=True))


def test_reviews_measure_as_a_folder_of_the_same_labels_does(answers: dict[str, dict], root: Path) -> None:
    assert (answers["folder"]["status"], answers["reviewed"]["status"]) == (0, 0), answers["reviewed"]
    by_folder, by_reviews = (json.loads((root / f"{name}.json").read_text()) for name in ("folder", "reviewed"))
    for figure in ("images", "accuracy", "recall", "specificity", "auc", "ece", "confusion", "reliability"):
        assert by_reviews[figure] == by_folder[figure]
    assert by_reviews["folder"] == "reviews of this site"
    assert by_reviews["reviewed"] == {
        "images": 2 * EACH + 1,
        "blind": 1,
        "left_out": LEFT_OUT,
        "threshold_in_force": CHOSEN,
    }
    assert list(by_reviews["refused"]) == [hashlib.sha256(b"gone").hexdigest()[:16]], "it is not in the store"


def test_intervals_of_reviews_are_drawn_by_patient(answers: dict[str, dict], root: Path) -> None:
    by_folder, by_reviews = (json.loads((root / f"{name}.json").read_text()) for name in ("folder", "reviewed"))
    assert by_folder["intervals_by"] == "image"
    assert by_reviews["intervals_by"] == "patient where the DICOM header tells it, else image"
    assert by_reviews["intervals_95"]["ece"] != by_folder["intervals_95"]["ece"]
    assert "0" * 60 not in (root / "report.html").read_text(), "no pseudonym is given out"


def test_what_labels_are_and_what_was_left_out_is_said(answers: dict[str, dict]) -> None:
    for name in ("reviewed", "fitted"):
        said = answers[name]["output"]
        assert f"Labels are what readers said of {2 * EACH + 1} X-rays, 1 of them without having seen" in said
        for words in (
            "2 technically inadequate",
            "1 with another finding",
            "1 waiting for a second reader",
            "1 on which",
        ):
            assert words in said


def test_figures_that_are_not_at_the_threshold_in_force_say_so(answers: dict[str, dict], root: Path) -> None:
    own = read_spec(root / "models" / "causes").threshold
    said = f"Figures are at the threshold of the model's folder, {own:g}; in force here is {CHOSEN:g}, which was chosen"
    for name in ("reviewed", "fitted"):
        assert said in " ".join(answers[name]["output"].split())


def test_a_model_is_fitted_to_the_reviews(answers: dict[str, dict], root: Path) -> None:
    assert answers["fitted"]["status"] == 0, answers["fitted"]
    spec = read_spec(root / "models" / "fitted")
    assert spec.site is not None
    assert (spec.site.folder, spec.site.images) == ("reviews of this site", dict.fromkeys(Label, EACH))
    assert json.loads((root / "fitted.json").read_text())["reviewed"]["left_out"] == LEFT_OUT


def test_the_reading_is_on_record_and_changes_nothing(answers: dict[str, dict], root: Path) -> None:
    database = Database(f"sqlite:///{root / 'data' / 'pneumoscreen.db'}")
    with database.read() as session:
        events = select(AuditEvent.action, AuditEvent.actor, AuditEvent.detail).order_by(AuditEvent.sequence)
        found = session.execute(events).all()[1:]  # the first is the threshold's
        labels = session.scalars(select(Screening.label)).all()
    database.close()
    assert [row.action for row in found] == ["reviews_read", "reviews_read"]
    assert [row.detail["command"] for row in found] == ["evaluate", "calibrate"]
    assert all(row.actor.startswith("os:") for row in found)
    assert (found[0].detail["normal"], found[0].detail["pneumonia"]) == (str(EACH), str(EACH + 1))
    assert None not in labels


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("both", "Name a folder of labelled images, or say --reviewed, and not both."),
        ("neither", "Name a folder of labelled images, or say --reviewed, and not both."),
        ("calibrate both", "and not both"),
        ("calibrate neither", "Name the folder of labelled images, or say --reviewed or --undo."),
        ("undo", "--undo takes neither images nor --out"),
        ("nothing", "No review here names a label yet."),
        ("no database", "There is no database at"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(answers: dict[str, dict], name: str, words: str) -> None:
    assert answers[name]["status"] == 2
    assert words in " ".join(answers[name]["output"].split())
    assert answers[name]["raised"] is None
