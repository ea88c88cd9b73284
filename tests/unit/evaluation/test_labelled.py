"""Folders of labelled images, good and bad, as people have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.assessment import interval_unit
from evaluation.errors import DataUnusable
from evaluation.labelled import ReviewedImage, class_folders, read_images, read_reviewed
from shared.images import gate, samples
from shared.images.preprocess import prepare
from shared.models.spec import ImageClass, Label, ModelSpec
from tests.conftest import draw, encode

NAMES = (
    "Normal/IM-0115-0001.jpeg",
    "Normal/NORMAL2-IM-0115-0001.jpeg",
    "Normal/ward/image.png",
    "pneumonia/person7_bacteria_1.jpeg",
    "pneumonia/person7_virus_2.jpeg",
    "pneumonia/unknown.jpeg",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images whose names tell patients and causes, some that do not, and files that are no images."""
    for seed, name in enumerate(NAMES):
        _put(tmp_path / name, encode(draw(seed), "PNG" if name.endswith("png") else "JPEG"))
    _put(tmp_path / "pneumonia" / "empty.jpeg", b"")
    _put(tmp_path / "pneumonia" / "notes.txt", b"Seen by the night shift.")
    _put(tmp_path / "OTHER" / "image.jpeg", encode(draw(99)))
    return tmp_path


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_images_come_with_pixels_labels_causes_and_patients(folder: Path, spec: ModelSpec) -> None:
    images = read_images(folder, spec)
    assert images.names == NAMES
    assert images.truth.tolist() == [False, False, False, True, True, True]
    assert images.causes == (None, None, None, ImageClass.BACTERIAL, ImageClass.VIRAL, None)
    assert images.named == 4
    one, other, ward, bacterial, viral, unknown = images.groups
    assert one == other
    assert bacterial == viral
    assert len({one, ward, bacterial, unknown}) == 4
    assert images.pixels.shape == (6, spec.input_size, spec.input_size, 1)
    for row, name in zip(images.pixels, NAMES, strict=True):
        assert np.array_equal(row, prepare((folder / name).read_bytes(), spec))


def test_files_that_are_no_images_are_named_with_their_reason(folder: Path, spec: ModelSpec) -> None:
    refused = read_images(folder, spec).refused
    assert sorted(refused) == ["pneumonia/empty.jpeg", "pneumonia/notes.txt"]
    assert "empty" in refused["pneumonia/empty.jpeg"]
    assert "JPEG" in refused["pneumonia/notes.txt"]


def test_images_that_the_model_is_not_for_get_no_label(
    folder: Path, spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gated = spec.model_copy(update={"gate": gate.default((1, 5))})
    with Image.open(samples.write_samples(tmp_path_factory.mktemp("samples"))[1]) as image:
        chest = image.convert("L")
    for place in ("Normal", "pneumonia"):
        _put(folder / place / "chest.png", encode(chest))
    _put(folder / "Normal" / "turned.png", encode(chest.transpose(Image.Transpose.ROTATE_90)))
    images = read_images(folder, gated)
    assert images.names == ("Normal/chest.png", "pneumonia/chest.png"), "the others are drawn shapes"
    assert "turned by 90 degrees" in images.refused["Normal/turned.png"]


def test_an_image_stored_twice_is_one_group(folder: Path, spec: ModelSpec) -> None:
    _put(folder / "Normal" / "copy.png", (folder / "Normal/ward/image.png").read_bytes())
    images = read_images(folder, spec)
    assert (
        images.groups[images.names.index("Normal/copy.png")]
        == images.groups[images.names.index("Normal/ward/image.png")]
    )


def test_progress_counts_every_file(folder: Path, spec: ModelSpec) -> None:
    told: list[tuple[str, int, int]] = []
    read_images(folder, spec, lambda *step: told.append(step))
    assert told == [("Reading images", done, 8) for done in range(1, 9)]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "no subfolder NORMAL and no PNEUMONIA (found: neither)"),
        ({"NORMAL/a.jpeg": b"x"}, "no subfolder PNEUMONIA (found: NORMAL)"),
        ({"images/a.jpeg": b"x"}, "no subfolder NORMAL and no PNEUMONIA"),
        ({"NORMAL": b"a file", "PNEUMONIA/a.jpeg": b"x"}, "no subfolder NORMAL"),
        (
            {"normal/a.jpeg": b"x", "NORMAL/a.jpeg": b"x", "PNEUMONIA/a.jpeg": b"x"},
            "a class twice (NORMAL, PNEUMONIA, normal)",
        ),
        ({"normal/a.jpeg": b"x", "PNEUMONIA/a.jpeg": b"x"}, "normal can be read (1 files were tried)"),
    ],
)
def test_a_folder_that_cannot_be_measured_on_says_why(
    tmp_path: Path, spec: ModelSpec, files: dict[str, bytes], words: str
) -> None:
    for name, content in files.items():
        _put(tmp_path / name, content)
    with pytest.raises(DataUnusable) as caught:
        read_images(tmp_path, spec)
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_class_folder_without_a_file_says_so(folder: Path, spec: ModelSpec) -> None:
    (folder / "empty" / "NORMAL").mkdir(parents=True)
    (folder / "empty" / "PNEUMONIA").mkdir()
    with pytest.raises(DataUnusable, match="there is no file in it"):
        read_images(folder / "empty", spec)


@pytest.mark.parametrize("name", ["absent", "file.txt"])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("not a folder")
    with pytest.raises(DataUnusable, match="There is no folder"):
        class_folders(tmp_path / name)


def test_reviewed_images_come_with_the_readers_labels_under_the_start_of_their_sha256(spec: ModelSpec) -> None:
    well, ill = encode(draw(1)), encode(draw(2))
    found = read_reviewed(
        [
            ReviewedImage("a" * 64, Label.NORMAL, lambda: well),
            ReviewedImage("b" * 64, Label.PNEUMONIA, lambda: ill),
            ReviewedImage("c" * 64, Label.PNEUMONIA, lambda: b"no image"),
        ],
        spec,
    )
    assert (found.names, found.truth.tolist()) == (("a" * 16, "b" * 16), [False, True])
    assert np.array_equal(found.pixels[1], prepare(ill, spec))
    assert list(found.refused) == ["c" * 16]
    assert (len(set(found.groups)), found.causes, found.named) == (2, (None, None), 0)


def test_reviewed_images_of_one_patient_are_drawn_together_and_that_is_said(spec: ModelSpec) -> None:
    every = [encode(draw(seed)) for seed in range(4)]
    whose = ("0c" * 32, None, "0c" * 32, None)
    found = read_reviewed(
        [
            ReviewedImage(str(n) * 64, Label.PNEUMONIA if n else Label.NORMAL, lambda n=n: every[n], patient)
            for n, patient in enumerate(whose)
        ],
        spec,
    )
    first, second, third, fourth = found.groups
    assert first == third
    assert len({first, second, fourth}) == 3
    assert (found.named, interval_unit(found)) == (2, "patient where the DICOM header tells it, else image")


def test_reviews_of_one_label_alone_are_not_measured_on(spec: ModelSpec) -> None:
    only = [ReviewedImage("a" * 64, Label.NORMAL, lambda: encode(draw(1)))]
    with pytest.raises(DataUnusable, match="Of 1 reviewed images none that can be read is labelled PNEUMONIA"):
        read_reviewed(only, spec)
