"""What file names say: class, patient, cause and which images are one group."""

from pathlib import Path

import pytest

from evaluation.dataset import ImageFile, group_images, name_image
from evaluation.errors import DataUnusable
from shared.models.spec import ImageClass


@pytest.mark.parametrize(
    ("path", "image_class", "patient", "series"),
    [
        ("NORMAL/IM-0115-0001.jpeg", ImageClass.NORMAL, "IM-0115", "IM"),
        ("NORMAL/IM-0429-0001-0002.jpeg", ImageClass.NORMAL, "IM-0429", "IM"),
        ("NORMAL/NORMAL2-IM-1427-0001.jpeg", ImageClass.NORMAL, "NORMAL2-IM-1427", "NORMAL2-IM"),
        ("NORMAL/NORMAL2-IM-0435-0001-0002.jpeg", ImageClass.NORMAL, "NORMAL2-IM-0435", "NORMAL2-IM"),
        ("PNEUMONIA/person1000_bacteria_2931.jpeg", ImageClass.BACTERIAL, "person1000", "bacteria"),
        ("PNEUMONIA/person1000_virus_1681.jpeg", ImageClass.VIRAL, "person1000", "virus"),
        ("PNEUMONIA/person23_virus_56_2.jpeg", ImageClass.VIRAL, "person23", "virus"),
    ],
)
def test_an_images_name_says_its_class_and_patient(
    path: str, image_class: ImageClass, patient: str, series: str
) -> None:
    image = name_image(Path(path))
    assert (image.image_class, image.patient, image.series) == (image_class, patient, series)


@pytest.mark.parametrize(
    "path",
    ["NORMAL/holiday.jpeg", "PNEUMONIA/IM-0115-0001.jpeg", "PNEUMONIA/person1_fungus_2.jpeg", "OTHER/IM-1-1.png"],
)
def test_a_name_that_says_no_patient_is_refused(path: str) -> None:
    with pytest.raises(DataUnusable, match=Path(path).name):
        name_image(Path(path))


def make_image(patient: str, image_class: ImageClass = ImageClass.NORMAL) -> ImageFile:
    return ImageFile(Path(f"{patient}.jpeg"), image_class, patient, "IM")


def test_images_of_one_patient_one_content_or_one_look_are_one_group() -> None:
    images = [make_image(name) for name in ("a", "a", "b", "c", "d", "e")]
    digests = ["1", "2", "2", "3", "4", "5"]
    groups = group_images(images, digests, pairs=[(3, 4)])
    assert groups == ["a", "a", "a", "c", "c", "e"]


def test_joins_reach_through_a_chain() -> None:
    images = [make_image(name) for name in "dcba"]
    assert group_images(images, list("1234"), pairs=[(0, 1), (2, 3), (1, 2)]) == ["a"] * 4


def test_both_series_of_normal_images_with_one_number_are_one_group() -> None:
    images = [make_image("IM-0500"), make_image("NORMAL2-IM-0500"), make_image("IM-0501")]
    first, second, other = group_images(images, list("123"))
    assert first == second != other
