"""`pneumoscreen evaluate` and `models`, on the real network: figures where there are images, a sentence where not."""

import json
import shutil
from pathlib import Path

import pytest

from tests.model.conftest import MODEL, Probe
from tests.model.probe import drawn_sick

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]  # every command runs in the fixture of the first test


@pytest.fixture(scope="module")
def folders(samples: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay out evaluation folders of every kind, good and bad, and two folders of models."""
    root = tmp_path_factory.mktemp("evaluation")
    for image in samples:
        for name in ("good", "one-class"):
            if name == "good" or not drawn_sick(str(image)):
                place = root / name / ("pneumonia" if drawn_sick(str(image)) else "Normal")
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, place)
    (root / "good" / "pneumonia" / "cut.jpeg").write_bytes(samples[0].read_bytes()[:5000])
    (root / "good" / "Normal" / "notes.txt").write_text("Seen by the night shift.")
    (root / "none" / "images").mkdir(parents=True)
    (root / "file").write_text("no folder")
    (root / "one-image").mkdir()
    for name in ("NORMAL", "PNEUMONIA"):
        (root / "one-image" / name).mkdir()
        shutil.copy(
            next(image for image in samples if drawn_sick(str(image)) == (name == "PNEUMONIA")),
            root / "one-image" / name,
        )
    for name in ("NORMAL", "PNEUMONIA"):
        (root / "unreadable" / name).mkdir(parents=True)
        (root / "unreadable" / name / "image.jpeg").write_bytes(b"no image")
    shutil.copytree(MODEL, root / "models" / MODEL.name)
    shutil.copytree(MODEL, root / "damaged" / MODEL.name)
    with (root / "damaged" / MODEL.name / "model.keras").open("ab") as file:
        file.write(b"!")
    return root


@pytest.fixture(scope="module")
def answers(probe: Probe, folders: Path) -> dict[str, dict]:
    """Run every command once, in one process."""
    lines = {
        "good": [
            *("evaluate", str(folders / "good"), "--prevalence", "0.1", "--prevalence", "0.01"),
            *("--json", str(folders / "out" / "figures.json"), "--report", str(folders / "out" / "report.html")),
        ],
        "one image of each": ["evaluate", str(folders / "one-image")],
        "closed report": ["evaluate", str(folders / "absent"), "--report", str(folders / "file" / "report.html")],
        "folder as report": ["evaluate", str(folders / "good"), "--report", str(folders)],
        "prevalence of 1": ["evaluate", str(folders / "good"), "--prevalence", "1"],
        "one class": ["evaluate", str(folders / "one-class")],
        "no class": ["evaluate", str(folders / "none")],
        "no folder": ["evaluate", str(folders / "absent")],
        "unreadable": ["evaluate", str(folders / "unreadable")],
        "unknown model": ["evaluate", str(folders / "good"), "--model", "vgg99"],
        "damaged model": ["evaluate", str(folders / "good"), "--models-dir", str(folders / "damaged")],
        "models": ["models", "--models-dir", str(folders / "models")],
        "damaged models": ["models", "--models-dir", str(folders / "damaged")],
        "no models": ["models", "--models-dir", str(folders / "absent")],
    }
    results = probe("commands", "openvino", *(json.dumps(line) for line in lines.values()))
    return dict(zip(lines, results, strict=True))


def test_figures_are_printed_and_written(answers: dict[str, dict], folders: Path) -> None:
    answer = answers["good"]
    assert answer["status"] == 0, answer
    report = json.loads((folders / "out" / "figures.json").read_text())
    assert report["images"] == {"NORMAL": 10, "PNEUMONIA": 10}
    assert sum(report["confusion"].values()) == 20
    assert set(report) >= {"accuracy", "recall", "specificity", "auc", "ece", "threshold", "intervals_95", "model"}
    assert report["backend"] == "openvino"
    assert f"{report['auc']:.4f}" in answer["output"]
    assert set(report) >= {"precision", "f1", "pr_auc", "by_cause", "reliability", "operating_points", "evaluated_at"}
    assert report["operating_points"]["prevalences"] == [0.1, 0.01]
    assert "prevalence of 10%" in answer["output"]
    assert "prevalence of 1%" in answer["output"]
    assert f"> {report['threshold']:.4f}" in answer["output"]
    assert "not a diagnosis" in answer["output"]


def test_the_figures_are_those_of_the_table_at_the_own_threshold(answers: dict[str, dict], folders: Path) -> None:
    report = json.loads((folders / "out" / "figures.json").read_text())
    (own,) = [row for row in report["operating_points"]["rows"] if row["threshold"] == report["threshold"]]
    assert report["confusion"].items() <= own.items()
    assert (own["sensitivity"], own["specificity"]) == (report["recall"], report["specificity"])


def test_the_report_is_written_with_the_models_training(answers: dict[str, dict], folders: Path) -> None:
    page = (folders / "out" / "report.html").read_text()
    assert 'id="training"' in page
    assert "pneumonia/cut.jpeg" in page
    assert "Report written to" in answers["good"]["output"]


def test_one_image_of_each_class_is_enough(answers: dict[str, dict]) -> None:
    assert answers["one image of each"]["status"] == 0, answers["one image of each"]


def test_unreadable_files_are_counted_and_named_and_the_rest_goes_on(answers: dict[str, dict], folders: Path) -> None:
    report = json.loads((folders / "out" / "figures.json").read_text())
    assert set(report["refused"]) == {"Normal/notes.txt", "pneumonia/cut.jpeg"}
    assert "2 files get no label" in answers["good"]["output"]
    assert "pneumonia/cut.jpeg: The file ends before" in answers["good"]["output"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("one class", "no subfolder PNEUMONIA"),
        ("no class", "no subfolder NORMAL and no PNEUMONIA"),
        ("no folder", "There is no folder"),
        ("unreadable", "can be read"),
        ("unknown model", "There is no model 'vgg99'"),
        ("damaged model", "received"),
        ("closed report", "cannot be written"),  # said first, before the folder that is not there
        ("folder as report", "is a directory"),
        ("prevalence of 1", "0<x<1"),
        ("no models", "There is no model in"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(answers: dict[str, dict], name: str, words: str) -> None:
    answer = answers[name]
    assert answer["status"] == 2
    assert answer["raised"] is None
    assert words in answer["output"]
    assert "Traceback" not in answer["output"]


def test_models_are_listed_with_their_state(answers: dict[str, dict]) -> None:
    assert answers["models"]["status"] == 0
    assert "verif" in answers["models"]["output"]
    assert answers["damaged models"]["status"] == 1
    assert "Restore the model folder" in answers["damaged models"]["output"]
