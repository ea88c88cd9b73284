"""Brightness and contrast of training images, measured as the model sees them."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from shared.images.exposure import measure
from shared.images.preprocess import prepare
from shared.models.exposures import read_exposure
from shared.models.spec import ModelSpec
from tests.conftest import draw, encode
from training import exposure
from training.exposure import measure_training


def write(folder: Path, *names: str, first: int = 0) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in names]
    for number, path in enumerate(paths, first):
        path.write_bytes(encode(draw(number)))
    return paths


def counted(counts: tuple[int, ...]) -> Counter[int]:
    return +Counter(dict(enumerate(counts)))


def test_each_image_counts_once_as_the_model_sees_it(tmp_path: Path, spec: ModelSpec) -> None:
    paths = write(tmp_path, *[f"{n}.jpeg" for n in range(8)])
    found = measure_training(paths, spec)
    seen = [measure(prepare(path.read_bytes(), spec)) for path in paths]
    assert (found.images, found.sha256) == (8, spec.sha256)
    assert counted(found.brightness) == Counter(one.brightness for one in seen)
    assert counted(found.contrast) == Counter(one.contrast for one in seen)


def test_an_image_that_the_model_cannot_be_given_is_left_out(tmp_path: Path, spec: ModelSpec) -> None:
    good, empty = write(tmp_path, "good.jpeg", "empty.png")
    empty.write_bytes(encode(draw(1).point(lambda _: 0), "PNG"))
    assert measure_training([good, empty], spec).images == 1


def test_the_images_of_a_model_are_those_of_the_split_and_of_the_sources_of_its_recipe(
    tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = tmp_path / "data" / "chest_xray" / "train"
    write(train / "NORMAL", "IM-0001-0001.jpeg", "IM-0002-0001.jpeg")
    write(train / "PNEUMONIA", "person1_virus_1.jpeg", first=2)
    source = tmp_path / "data" / "elsewhere" / "nih" / "train"
    write(source, "a.jpg", "b.jpg", first=3)
    with (source / "index.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label", "cause", "patient", "set", "view", "age", "label_source"])
        rows.writerows([["a.jpg", "NORMAL", "", "1", "nih", "PA", "40", "reader"],
                        ["b.jpg", "OTHER", "", "2", "nih", "PA", "40", "reader"]])  # fmt: skip
    for name, sources in (("alone", []), ("with-others", ["nih/train"])):
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(spec.model_copy(update={"name": name}).model_dump_json())
        (folder / "metrics.json").write_text(json.dumps({"recipe": {"elsewhere": sources}}))
    monkeypatch.setattr(exposure, "MODELS", tmp_path / "models")
    monkeypatch.setattr("sys.argv", ["exposure", "--data", str(tmp_path / "data")])
    exposure.main()
    found = [read_exposure(tmp_path / "models" / name, spec.sha256) for name in ("alone", "with-others")]
    assert [one and one.images for one in found] == [3, 4]
    assert read_exposure(tmp_path / "models" / "alone", "f" * 64) is None, "of other weights"
    brightness = np.array([one.brightness for one in found if one])
    assert (brightness[1] - brightness[0]).sum() == 1
