"""`pneumoscreen calibrate`, `adapt` and `ensemble`: what they write, what they keep, what they refuse."""

import json
import shutil
from pathlib import Path

import pytest

from shared.models.folder import read_spec, verify_weights
from shared.models.spec import Label, Member
from tests.model.conftest import Probe
from tests.model.folders import logits_by_hand, write_ensemble, write_images

pytestmark = pytest.mark.lab

IMAGES = 40  # of each class


@pytest.fixture(scope="module")
def root(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("calibrate")
    models = root / "models"
    probe("serving_probe.write_models", "openvino", models)
    for name in ("dry", "undone", "adapted"):
        shutil.copytree(models / "causes", models / name)
    write_ensemble(models, "alike", (Member(name="causes", weight=1, temperature=1.5, bias=-0.5),))
    shutil.copytree(models / "causes", root / "before")
    write_images(root / "site", IMAGES)
    (root / "site" / "NORMAL" / "notes.txt").write_text("Seen by the night shift.")
    write_images(root / "swapped", IMAGES, swapped=True)
    write_images(root / "few", 29)
    write_images(root / "many", 60)
    shutil.copytree(root / "site", root / "copied")
    for number in range(60):
        shutil.copy(root / "site" / "NORMAL" / "image-000.png", root / "copied" / "NORMAL" / f"again-{number}.png")
    return root


@pytest.fixture(scope="module")
def answers(probe: Probe, root: Path) -> dict[str, dict]:
    """Run every command once, in one process and in this order."""
    models = root / "models"
    site, causes = str(root / "site"), ("--model", "causes")
    lines = {
        "new ensemble": ["ensemble", "joined", "causes=2", "binary"],
        "shown": ["calibrate", site, "--model", "dry"],
        "plain": ["calibrate", site, "--model", "dry", "--json", str(root / "plain.json")],
        "copied": ["calibrate", str(root / "copied"), "--model", "dry", "--json", str(root / "copied.json")],
        "dry run": ["calibrate", site, "--model", "dry", "--in-place", "--dry-run"],
        "in place": ["calibrate", site, *causes, "--in-place", "--json", str(root / "figures.json")],
        "out": ["calibrate", site, "--model", "binary", "--out", str(models / "site-model"), "--sensitivity", "0.9"],
        "ensemble": ["calibrate", site, "--model", "joined", "--in-place"],
        "once": ["calibrate", site, "--model", "undone", "--in-place", "--sensitivity", "0.9"],
        "undo, shown": ["calibrate", "--model", "undone", "--undo", "--dry-run"],
        "undo": ["calibrate", "--model", "undone", "--undo"],
        "undo again": ["calibrate", "--model", "undone", "--undo"],
        "adapted, shown": ["adapt", site, "--model", "dry", "--flagged", "0.25", "--dry-run"],
        "adapted": ["adapt", str(root / "many"), "--model", "adapted", "--flagged", "0.25", "--in-place"],
        "adapted once more": ["adapt", str(root / "many"), "--model", "adapted", "--flagged", "0.25"],
        "adapted, back": ["adapt", "--model", "adapted", "--undo"],
        "adapted, no share": ["adapt", site, *causes],
        "few": ["calibrate", str(root / "few"), *causes, "--in-place"],
        "swapped": ["calibrate", str(root / "swapped"), *causes, "--in-place"],
        "no images": ["calibrate", *causes],
        "both": ["calibrate", site, *causes, "--in-place", "--out", str(models / "new")],
        "undo images": ["calibrate", site, *causes, "--undo"],
        "out there": ["calibrate", site, *causes, "--out", str(models / "plain")],
        "out name": ["calibrate", site, *causes, "--out", str(models / "Not A Name")],
        "out elsewhere": ["calibrate", site, "--model", "alike", "--out", str(root / "elsewhere")],
        "no model": ["calibrate", site, "--model", "../models/causes"],
        "no class": ["calibrate", str(root / "before"), *causes],
        "sensitivity": ["calibrate", site, *causes, "--sensitivity", "1.5"],
        "taken": ["ensemble", "alike", "causes", "binary"],
        "weight": ["ensemble", "new", "causes=0", "binary"],
        "twice": ["ensemble", "new", "causes", "causes"],
        "sizes": ["ensemble", "new", "causes", "large"],
        "name": ["ensemble", "../new", "causes", "binary"],
        "member": ["ensemble", "new", "causes", "vgg99"],
    }
    given = (json.dumps([*line, "--models-dir", str(models)]) for line in lines.values())
    return dict(zip(lines, probe("serving_probe.quick_commands", "openvino", *given), strict=True))


@pytest.mark.parametrize("name", ["shown", "dry run"])
def test_nothing_is_written_without_being_asked(answers: dict[str, dict], root: Path, name: str) -> None:
    assert answers[name]["status"] == 0, answers[name]
    assert "Nothing was changed" in answers[name]["output"]
    assert (root / "models" / "dry" / "spec.json").read_bytes() == (root / "before" / "spec.json").read_bytes()


def test_a_model_is_changed_in_place_and_remembers(answers: dict[str, dict], root: Path) -> None:
    assert answers["in place"]["status"] == 0, answers["in place"]
    before, after = read_spec(root / "before"), read_spec(root / "models" / "causes")
    kept = {"temperature", "bias", "threshold", "threshold_rule", "site", "former"}
    assert after.model_dump(exclude=kept) == before.model_dump(exclude=kept)
    assert (after.temperature, after.bias) != (before.temperature, before.bias)
    assert after.site is not None
    assert after.site.folder == "site"
    assert after.site.images == {Label.NORMAL: IMAGES, Label.PNEUMONIA: IMAGES}
    (former,) = after.former
    assert (former.temperature, former.bias, former.threshold) == (before.temperature, before.bias, before.threshold)
    assert former.site is None
    assert verify_weights(root / "models" / "causes", after).is_file()
    assert [path.name for path in (root / "models" / "causes").glob(".*")] == [], "no leftover"


def test_copies_of_an_image_weigh_no_more_than_it(answers: dict[str, dict], root: Path) -> None:
    plain, copied = (json.loads((root / f"{name}.json").read_text()) for name in ("plain", "copied"))
    assert (plain.pop("copies_left_out"), copied.pop("copies_left_out")) == (0, 60)
    assert copied == plain
    assert "60 files are copies of others and were left out." in answers["copied"]["output"]


def test_the_threshold_reaches_the_sensitivity_on_the_images(answers: dict[str, dict], root: Path) -> None:
    spec = read_spec(root / "models" / "causes")
    logits = logits_by_hand(write_images(root / "again", IMAGES), (-6.0, 1.0, 2.0))
    p = spec.p_pneumonia(spec.calibrate(logits))
    assert (p[IMAGES:] >= spec.threshold).all(), "0.99 of 40 images leaves none to miss"
    assert (p[IMAGES:] < spec.threshold + 0.01).any(), "and no lower than it must be"
    assert p.mean() == pytest.approx(0.5, abs=0.03), "the share of pneumonia among the images"


def test_before_and_after_are_told_with_intervals(answers: dict[str, dict], root: Path) -> None:
    report = json.loads((root / "figures.json").read_text())
    assert list(report["refused"]) == ["NORMAL/notes.txt"]
    assert report["before"]["threshold"] == read_spec(root / "before").threshold
    assert report["after"]["threshold"] == read_spec(root / "models" / "causes").threshold
    assert report["after"]["ece"] < report["before"]["ece"]
    low, high = report["after"]["intervals_95"]["specificity"]
    assert f"{report['after']['specificity']:.4f} ({low:.4f} to {high:.4f})" in answers["in place"]["output"]
    assert "not a diagnosis" in answers["in place"]["output"]


def test_a_new_folder_is_a_model_of_its_own(answers: dict[str, dict], root: Path) -> None:
    assert answers["out"]["status"] == 0, answers["out"]
    folder, source = root / "models" / "site-model", read_spec(root / "models" / "binary")
    spec = read_spec(folder)
    assert spec.name == "site-model"
    assert spec.sha256 == source.sha256
    assert verify_weights(folder, spec).is_file()
    assert "at least 90% of the site's" in spec.threshold_rule
    assert source.former == (), "the model itself stays"
    p = spec.p_pneumonia(spec.calibrate(logits_by_hand(write_images(root / "more", IMAGES), (-4.0, 4.0))))
    assert (p[IMAGES:] >= spec.threshold).mean() == pytest.approx(0.9, abs=0.03)
    assert sorted(path.name for path in (root / "models").glob(".*")) == [], "no leftover"


def test_an_ensemble_is_written_and_calibrated_and_its_members_stay(answers: dict[str, dict], root: Path) -> None:
    assert answers["new ensemble"]["status"] == 0, answers["new ensemble"]
    assert answers["ensemble"]["status"] == 0, answers["ensemble"]
    spec = read_spec(root / "models" / "joined")
    assert [(member.name, member.weight) for member in spec.members] == [("causes", 2.0), ("binary", 1.0)]
    assert spec.members[0].temperature == 1.5, "as it was before the member was calibrated alone"
    assert [str(name) for name in spec.classes] == ["normal", "pneumonia"]
    assert len(spec.former) == 1
    assert verify_weights(root / "models" / "joined", spec) == root / "models" / "joined"


def test_undo_restores_what_was_there(answers: dict[str, dict], root: Path) -> None:
    assert answers["once"]["status"] == 0
    assert "Would change" in answers["undo, shown"]["output"]
    assert answers["undo"]["status"] == 0
    assert read_spec(root / "models" / "undone") == read_spec(root / "before")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("undo again", "nothing to undo"),
        ("few", "at least 30 images of each class. Received: 29 NORMAL and 29 PNEUMONIA"),
        ("swapped", "mistaken for each other"),
        ("no images", "Name the folder of labelled images"),
        ("both", "Choose --out or --in-place"),
        ("undo images", "--undo takes neither images nor --out"),
        ("out there", "is there already"),
        ("out name", "is no name for a model"),
        ("out elsewhere", "has to stay beside its members"),
        ("no model", "There is no model '../models/causes'"),
        ("no class", "no subfolder NORMAL and no PNEUMONIA"),
        ("sensitivity", "1.5 is not in the range"),
        ("taken", "is there already"),
        ("weight", "Input should be greater than 0"),
        ("twice", "members must be distinct"),
        ("sizes", "takes images of 32 pixels (stretch), its member 'large' of 64 (stretch)"),
        ("name", "name: String should match pattern"),
        ("member", "There is no model 'vgg99'"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(answers: dict[str, dict], root: Path, name: str, words: str) -> None:
    assert answers[name]["raised"] is None
    assert answers[name]["status"] == 2
    assert words in answers[name]["output"]
    assert not (root / "models" / "new").exists()


def test_a_threshold_for_a_share_of_unlabelled_images_is_chosen_and_taken_back(
    answers: dict[str, dict], root: Path
) -> None:
    assert answers["adapted"]["status"] == 0, answers["adapted"]
    assert "more cases will be missed" in answers["adapted"]["output"]
    (flagged,) = (line for line in answers["adapted once more"]["output"].splitlines() if "Flagged" in line)
    assert [cell.strip() for cell in flagged.split("│")[2:4]] == ["25.0%", "25.0%"]
    assert answers["adapted, back"]["status"] == 0
    restored, former = read_spec(root / "models" / "adapted"), read_spec(root / "before")
    assert restored.model_dump(exclude={"name"}) == former.model_dump(exclude={"name"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("adapted, shown", "at least 100 that"),
        ("adapted, no share", "Name the folder of the site's images and the share to flag"),
    ],
)
def test_what_cannot_be_adapted_to_is_said(answers: dict[str, dict], name: str, sentence: str) -> None:
    assert answers[name]["status"] != 0
    assert sentence in " ".join(answers[name]["output"].split())
