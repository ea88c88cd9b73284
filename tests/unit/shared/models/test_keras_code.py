"""Model files that would run code are not opened, whatever their spec says of them."""

import hashlib
import json
import re
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ModelUnavailable
from shared.models import keras_code
from shared.models.folder import model_folders, read_spec, verify_weights
from shared.models.spec import ModelSpec
from tests.conftest import ROOT

INPUT = {"module": "keras.layers", "class_name": "InputLayer", "config": {"batch_shape": [None, 64, 64, 1]}}


def layer(module: str | None, kind: str, **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def write(folder: Path, *layers: dict[str, Any], text: str | None = None, **root: Any) -> Path:
    """Write a Keras file by hand, as somebody would who means harm."""
    config = {"module": "keras.src.models.functional", "class_name": "Functional", "config": {"layers": layers}, **root}
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config) if text is None else text)
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.14.0"}))
    return folder


def verified(folder: Path, spec: ModelSpec) -> Path:
    """Verify a folder whose spec names the very file that is there."""
    digest = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
    return verify_weights(folder, spec.model_copy(update={"sha256": digest}))


@pytest.mark.parametrize(
    "hostile",
    [
        layer("keras.layers", "Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}),
        layer("builtins", "function", name="eval"),
        layer("keras.config", "enable_unsafe_deserialization"),
        layer("keras.utils", "get_file", origin="file:///etc/passwd"),
        layer("keras.layers", "TorchModuleWrapper", state="gASVAAAA"),
        layer("keras.layers", "TFSMLayer", filepath="/tmp/other"),
        layer("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
        layer("keras", "Model"),
        layer("shutil", "rmtree", path="/"),
        layer(None, "Lambda"),
        layer("", "function"),
        layer("keras.layers.core", "Dense"),
    ],
    ids=lambda item: f"{item['module']}.{item['class_name']}",
)
@pytest.mark.parametrize("depth", [0, 3])
def test_a_file_that_asks_for_more_than_layers_is_not_opened(
    tmp_path: Path, spec: ModelSpec, hostile: dict[str, Any], depth: int
) -> None:
    for _ in range(depth):
        hostile = layer("keras.layers", "TimeDistributed", layer=[hostile])
    with pytest.raises(ModelUnavailable, match="is not opened") as refused:
        verified(write(tmp_path / "bad", INPUT, hostile), spec)
    assert str(refused.value).endswith("layers.")


def test_layers_that_compute_are_opened(tmp_path: Path, spec: ModelSpec) -> None:
    dense = layer("keras.layers", "Dense", units=3, kernel_initializer=layer("keras.initializers", "Zeros"))
    assert verified(write(tmp_path / "good", INPUT, dense), spec).name == "model.keras"


def test_how_it_was_trained_does_not_matter(tmp_path: Path, spec: ModelSpec) -> None:
    folder = write(tmp_path / "good", INPUT, compile_config={"loss": layer("pneumoscreen", "PlaceLoss")})
    assert verified(folder, spec).is_file()


@pytest.mark.parametrize("text", ["", "no json", "[]", "[" * 100_000], ids=["empty", "text", "a list", "deep"])
def test_a_description_that_cannot_be_read_is_not_opened(tmp_path: Path, spec: ModelSpec, text: str) -> None:
    with pytest.raises(ModelUnavailable, match="Restore the model folder"):
        verified(write(tmp_path / "bad", text=text), spec)


def test_a_changed_file_is_refused_before_anything_in_it_is_read(tmp_path: Path, spec: ModelSpec) -> None:
    folder = write(tmp_path / "bad", layer("keras.layers", "Lambda"))
    with pytest.raises(ModelUnavailable, match="Expected sha256 0000"):
        verify_weights(folder, spec)


def test_what_passed_is_not_read_again(tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    kept = keras_code._read_config
    monkeypatch.setattr(keras_code, "_read_config", lambda name, path: read.append(path) or kept(name, path))
    folder = write(tmp_path / "good", INPUT)
    for _ in range(3):
        verified(folder, spec)
    assert len(read) == 1
    write(folder, INPUT, layer("keras.layers", "Lambda"))
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="is not opened"):
            verified(folder, spec)


def test_every_model_of_the_project_is_opened() -> None:
    checked = [
        verify_weights(folder, read_spec(folder))
        for folder in model_folders(ROOT / "models")
        if (folder / "model.keras").is_file()
    ]
    assert len(checked) >= 2


def test_keras_is_new_enough_and_nothing_unpickles() -> None:
    assert tuple(map(int, version("keras").split(".")[:2])) >= (3, 14)
    pins = re.findall(r'"keras(>=[\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert set(pins) == {">=3.14"}
    code = [
        path.read_text()
        for name in ("shared", "web", "worker", "evaluation", "training", "cli")
        for path in (ROOT / name).rglob("*.py")
    ]
    assert not [
        text for text in code if re.search(r"^\s*(import|from) (pickle|marshal|joblib|dill)\b", text, re.MULTILINE)
    ]
    assert not [text for text in code if "allow_pickle=True" in text]
