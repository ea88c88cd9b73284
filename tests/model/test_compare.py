"""`pneumoscreen compare`: every model on the same images, and the figures that folders bring."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shared.models.folder import read_spec
from shared.models.spec import Member
from tests.model.conftest import MODEL, Probe
from tests.model.folders import change, logits_by_hand, write_ensemble, write_images

pytestmark = pytest.mark.lab

IMAGES = 24  # of each class
WEIGHTS = {"causes": (-6.0, 1.0, 2.0), "binary": (-4.0, 4.0), "plain": (3.0, -1.0, 0.5)}


@pytest.fixture(scope="module")
def root(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models, some of which cannot be loaded, and a folder of images."""
    root = tmp_path_factory.mktemp("compare")
    models = root / "models"
    probe("serving_probe.write_models", "openvino", models)
    shutil.copy(MODEL / "metrics.json", models / "binary")
    members = (Member(name="causes", weight=1), Member(name="plain", weight=3))
    write_ensemble(models, "pair", members)
    (change(models, "causes", "absent") / "model.keras").unlink()
    (change(models, "causes", "cut") / "spec.json").write_text("{")
    (change(models, "binary", "odd") / "metrics.json").write_text('{"validation": {"threshold": 0.5}}')
    write_images(root / "images", IMAGES)
    (root / "images" / "NORMAL" / "notes.txt").write_text("Seen by the night shift.")
    (root / "nothing").mkdir()
    return root


@pytest.fixture(scope="module")
def answers(probe: Probe, root: Path) -> dict[str, dict]:
    """Run every command once, in one process."""
    models, out = ("--models-dir", str(root / "models")), root / "out"
    lines = {
        "images": [str(root / "images"), "--default", "causes", "--json", str(out / "images.json"),
                  "--markdown", str(out / "images.md"), *models],
        "chosen": [str(root / "images"), "--models", "binary, cut", "--json", str(out / "chosen.json"), *models],
        "brought": ["--json", str(out / "brought.json"), "--markdown", str(out / "brought.md"), *models],
        "unknown model": ["--models", "binary,vgg99", *models],
        "unknown default": ["--default", "vgg99", *models],
        "path": ["--models", "../models/binary", *models],
        "no class": [str(root / "nothing"), *models],
        "no models": ["--models-dir", str(root / "nothing")],
        "none loads": [str(root / "images"), "--models", "cut,absent", *models],
        "no place": ["--json", str(root / "images" / "NORMAL" / "notes.txt" / "out.json"), *models],
    }  # fmt: skip
    results = probe(
        "serving_probe.quick_commands", "openvino", *(json.dumps(["compare", *line]) for line in lines.values())
    )
    return dict(zip(lines, results, strict=True))


def read(root: Path, name: str) -> dict:
    return json.loads((root / "out" / f"{name}.json").read_text())


def by_name(report: dict) -> dict[str, dict]:
    return {row["name"]: row for row in report["models"]}


def right_by_hand(root: Path, name: str) -> np.ndarray:
    """Which images a model gets right, worked out from their brightness."""
    brightness = write_images(root / "again", IMAGES)
    spec, truth = read_spec(root / "models" / name), np.arange(2 * IMAGES) >= IMAGES
    p = spec.p_pneumonia(spec.calibrate(logits_by_hand(brightness, WEIGHTS[name])))
    return (p >= spec.threshold) == truth


def test_every_model_is_measured_on_the_images(answers: dict[str, dict], root: Path) -> None:
    assert answers["images"]["status"] == 0, answers["images"]
    report = read(root, "images")
    assert report["images"] == {"NORMAL": IMAGES, "PNEUMONIA": IMAGES}
    assert list(report["refused"]) == ["NORMAL/notes.txt"]
    rows = by_name(report)
    assert next(iter(rows)) == "causes", "the default first"
    for name, weights in WEIGHTS.items():
        right = right_by_hand(root, name)
        figures = rows[name]["figures"]
        assert figures["accuracy"] == pytest.approx(right.mean(), abs=1e-4)
        assert figures["specificity"] == pytest.approx(right[:IMAGES].mean(), abs=1e-4)
        assert figures["recall"] == pytest.approx(right[IMAGES:].mean(), abs=1e-4)
        low, high = figures["intervals_95"]["accuracy"]
        assert low <= figures["accuracy"] <= high
        assert rows[name]["images_per_second"] > 0
        assert rows[name]["parameters"] == 2 * len(weights)
    size = (root / "models" / "causes" / "model.keras").stat().st_size
    assert rows["causes"]["megabytes"] == pytest.approx(size / 1e6)
    assert rows["pair"]["megabytes"] == pytest.approx(2 * size / 1e6, rel=0.1)
    assert rows["large"]["figures"]["auc"] == pytest.approx(rows["causes"]["figures"]["auc"]), "at 64 pixels"


def test_each_model_is_tested_against_the_default(answers: dict[str, dict], root: Path) -> None:
    rows = by_name(read(root, "images"))
    default, other = right_by_hand(root, "causes"), right_by_hand(root, "plain")
    test = rows["plain"]["figures"]["mcnemar"]
    assert (test["b"], test["c"]) == ((default & ~other).sum(), (other & ~default).sum())
    assert 0 <= test["p"] <= 1
    assert rows["causes"]["figures"]["mcnemar"] is None


@pytest.mark.parametrize(
    ("name", "words"), [("absent", "has no model.keras"), ("cut", "has a damaged spec.json")], ids=["absent", "cut"]
)
def test_a_model_that_cannot_be_loaded_is_named_and_the_rest_goes_on(
    answers: dict[str, dict], root: Path, name: str, words: str
) -> None:
    row = by_name(read(root, "images"))[name]
    assert row["figures"] is None
    assert words in row["note"]
    assert words in answers["images"]["output"]
    assert f"- {name}: Model" in (root / "out" / "images.md").read_text()


def test_the_markdown_says_what_the_json_says(answers: dict[str, dict], root: Path) -> None:
    text = (root / "out" / "images.md").read_text()
    for row in read(root, "images")["models"]:
        (line,) = [line for line in text.splitlines() if line.startswith(f"| {row['name']} |")]
        if row["figures"]:
            low, high = row["figures"]["intervals_95"]["auc"]
            assert f"| {row['figures']['auc']:.4f} ({low:.4f} to {high:.4f}) |" in line
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_without_a_default_in_the_folder_there_is_no_test_against_it(answers: dict[str, dict], root: Path) -> None:
    assert answers["chosen"]["status"] == 0
    rows = by_name(read(root, "chosen"))
    assert set(rows) == {"binary", "cut"}
    assert rows["binary"]["figures"]["mcnemar"] is None
    assert "McNemar" not in answers["chosen"]["output"]


def test_without_images_the_figures_are_those_that_folders_bring(answers: dict[str, dict], root: Path) -> None:
    assert answers["brought"]["status"] == 0, answers["brought"]
    rows = by_name(read(root, "brought"))
    validation = json.loads((MODEL / "metrics.json").read_text())["validation"]
    assert rows["binary"]["figures"]["auc"] == validation["auc"]
    assert rows["binary"]["images"] == sum(validation["images"].values())
    assert "calibrated since to 0.4000" in rows["binary"]["note"]
    assert rows["plain"]["note"] == "not validated yet"
    assert rows["absent"]["note"] == "its weights are not included; not validated yet"
    assert "does not hold the figures of a validation" in rows["odd"]["note"]
    assert f"{validation['auc']:.4f} (" in (root / "out" / "brought.md").read_text()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown model", "There is no model 'vgg99'"),
        ("unknown default", "There is no model 'vgg99'"),
        ("path", "There is no model '../models/binary'"),
        ("no class", "no subfolder NORMAL and no PNEUMONIA"),
        ("no models", "There is no model in"),
        ("none loads", "No model can be loaded"),
        ("no place", "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(answers: dict[str, dict], name: str, words: str) -> None:
    assert answers[name]["raised"] is None
    assert answers[name]["status"] == 2
    assert words in answers[name]["output"]
