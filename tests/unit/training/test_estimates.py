"""What tells how a model does elsewhere: other hospitals, reframed copies, normals laid out like pneumonia."""

import csv
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cli.main import main
from evaluation.dataset import ImageFile
from evaluation.errors import DataUnusable
from shared.images.framing import Box
from shared.models.spec import ImageClass, ModelSpec
from tests.conftest import ROOT, draw, encode
from training.data import CLASSES
from training.elsewhere import draws, read_index, validation_images
from training.estimates import Shown, measure_shown, reframe, show_elsewhere, show_reframed
from training.layout import SIDE, hardest_normals, layout_scores, power
from training.recipe import recipe_of
from training.split import Side

COLUMNS = ("file", "set", "label", "cause", "label_source", "age", "view", "patient")
ROWS = (
    ("NORMAL/a.jpg", "nih", "NORMAL", "", "reader", "7", "AP", "nih-1"),
    ("NORMAL/b.jpg", "nih", "NORMAL", "", "report", "45", "PA", "nih-2"),
    ("PNEUMONIA/c.jpg", "nih", "PNEUMONIA", "", "reader", "", "AP", "nih-3"),
    ("PNEUMONIA/d.jpg", "hannover", "PNEUMONIA", "COVID-19", "published", "60", "ap", "han-1"),
    ("OTHER/e.jpg", "nih", "OTHER", "", "reader", "60", "PA", "nih-4"),
)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of another hospital's images, some with labels that nothing is trained on."""
    place = tmp_path / "nih" / "shifted_validation"
    for seed, (name, *_) in enumerate(ROWS):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(encode(draw(seed)))
    with (place / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    return tmp_path


def test_an_index_tells_label_view_age_patient_and_who_read_the_image(elsewhere: Path) -> None:
    child, adult, sick, covid = validation_images(elsewhere)
    assert (child.view, child.is_child, child.is_read, child.file.patient) == ("AP", True, True, "nih-1")
    assert (adult.view, adult.is_child, adult.is_read) == ("PA", False, False)
    assert sick.file.image_class is ImageClass.PNEUMONIA
    assert (covid.file.image_class, covid.view) == (ImageClass.VIRAL, "AP")


def test_a_folder_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match=r"no index\.csv"):
        read_index(tmp_path)
    with pytest.raises(DataUnusable, match=r"No shifted_validation/index\.csv"):
        validation_images(tmp_path)
    (tmp_path / "index.csv").write_text("file,label\na.jpg,NORMAL\n")
    with pytest.raises(DataUnusable, match="cannot be read"):
        read_index(tmp_path)


def test_the_fewer_images_a_source_has_of_a_view_and_label_the_oftener_each_is_drawn(elsewhere: Path) -> None:
    one = validation_images(elsewhere)[0]
    assert draws([one] * 160) == [1] * 160
    assert draws([one] * 80) == [2] * 80
    assert draws([one] * 2) == [6] * 2


def test_a_pneumonia_of_unknown_cause_is_learned_as_both_causes_alike() -> None:
    images = [
        ImageFile(Path("a"), name, "p", "") for name in (ImageClass.NORMAL, ImageClass.VIRAL, ImageClass.PNEUMONIA)
    ]
    side = Side(images, np.zeros((3, 8, 8, 1), np.uint8), ["a", "b", "c"], np.full(3, 0.5), (1, 2, 1))
    assert side.targets(CLASSES).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0.5, 0.5]]
    assert side.targets((ImageClass.NORMAL, ImageClass.PNEUMONIA)).tolist() == [[1, 0], [0, 1], [0, 1]]
    assert side.drawn.tolist() == [0, 1, 1, 2]


def test_the_hardest_normals_are_those_laid_out_like_pneumonia() -> None:
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(90, 110, (200, SIDE, SIDE, 1)).astype(np.uint8)
    truth = np.arange(200) >= 100
    bordered = truth.copy()
    bordered[:20] = True  # normal images with the border of the others
    thumbnails[bordered, :3] = 0
    scores = layout_scores(thumbnails, truth, [str(i) for i in range(200)])
    left_out, measured = hardest_normals(scores, truth)
    assert left_out.sum() == 50
    assert set(np.flatnonzero(measured)) == set(range(20))
    assert not (left_out & truth).any()
    assert (left_out | ~measured).all()


def test_what_a_thumbnail_tells_by_framing_alone_is_gone_once_images_are_reframed() -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(90, 110, (120, SIDE, SIDE, 1)).astype(np.uint8)
    truth = np.arange(120) >= 60
    bordered = images.copy()
    bordered[truth, :3] = 0
    before, after = power(bordered, images, truth, [str(i) for i in range(120)])
    assert before > 0.99
    assert abs(after - 0.5) < 0.2
    assert power(bordered, bordered, truth, [str(i) for i in range(120)]) == (before, before)


def test_a_reframed_image_shows_its_lungs_where_the_others_were() -> None:
    image = np.zeros((200, 400), np.uint8)
    image[40:160, 100:300] = 255  # stands for the lungs
    own, wanted = Box(0.25, 0.2, 0.75, 0.8), Box(0.25, 0.25, 0.5, 1.0)
    shown = np.asarray(reframe(Image.fromarray(image), own, wanted)) > 127
    assert shown.shape == (224, 224)
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    assert (rows[0], columns[0], columns[-1]) == (56, 56, 111)
    assert rows[-1] == 223


def test_what_is_shown_is_measured_by_patient_and_by_part(elsewhere: Path, spec: ModelSpec) -> None:
    shown = show_elsewhere(elsewhere, spec)
    assert shown.pixels.shape == (4, spec.input_size, spec.input_size, 1)
    assert shown.groups == ("nih-1", "nih-2", "nih-3", "han-1")
    assert shown.parts == ("nih AP children", "nih PA adults", "nih AP adults", "hannover AP adults")
    images = [
        ImageFile(elsewhere / "nih" / "shifted_validation" / row[0], ImageClass.NORMAL, row[-1], "") for row in ROWS
    ]
    reframed = show_reframed(images, list("abcde"), spec)
    assert reframed.pixels.shape == (5, spec.input_size, spec.input_size, 1)


def test_parts_of_a_few_images_say_nothing_and_intervals_are_by_patient() -> None:
    truth = np.repeat([False, True], 20)
    shown = Shown(
        "elsewhere",
        np.zeros((40, 8, 8, 1), np.uint8),
        truth,
        tuple("ab" * 20),
        ("AP",) * 12 + ("PA",) * 28,
        tuple(range(40)),
        2,
    )
    p = np.where(truth, 0.9, 0.1)
    p[0] = 0.8
    figures = measure_shown(shown, p, 0.5)
    assert figures["specificity"] == 0.95
    assert (figures["patients"], figures["without_lungs"]) == (2, 2)
    points = {row.pop("threshold"): row for row in figures["operating_points"]}
    assert list(points[0.5]) == ["true_positive", "false_positive", "false_negative", "true_negative"]
    assert (points[0.5]["false_positive"], points[0.9]["false_positive"], len(points)) == (1, 0, 15)
    rows = {(row["part"], row["figure"]): row for row in figures["parts"]}
    assert set(rows) == {("AP", "specificity"), ("PA", "specificity"), ("PA", "recall")}
    assert (rows["AP", "specificity"]["right"], rows["AP", "specificity"]["images"]) == (11, 12)
    assert rows["AP", "specificity"]["interval_95"] == [0.8333, 1.0]


def test_a_model_that_does_not_say_how_it_was_trained_cannot_be_estimated(tmp_path: Path) -> None:
    with pytest.raises(DataUnusable, match="does not say how it was trained"):
        recipe_of(tmp_path)
    (tmp_path / "metrics.json").write_text('{"recipe": {"network": "compact_cnn"}}')
    with pytest.raises(DataUnusable, match=r"does not say how it was trained \(TypeError\)"):
        recipe_of(tmp_path)
    assert recipe_of(ROOT / "models" / "compact-cnn").seed == 20


def test_the_framing_gap_comes_from_a_training_that_held_out_by_layout(tmp_path: Path) -> None:
    run = partial(CliRunner().invoke, main, ["estimate", "compact-cnn", "--gap", str(tmp_path)])
    assert "is no model folder that was trained" in run().output
    (tmp_path / "metrics.json").write_text('{"recipe": {"hold_out": "patients"}, "validation": {}}')
    answer = run()
    assert "Give a model that was trained with --hold-out layout." in answer.output
    assert answer.exit_code == 2
