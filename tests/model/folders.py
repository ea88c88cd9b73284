"""Model folders and images for tests, whose answers a test can work out by itself; see serving_probe.py."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from shared.models.folder import ensemble_sha256, read_spec
from shared.models.spec import Member, ModelSpec
from tests.conftest import draw

FIELDS = ("description", "intended_population", "training_data", "licence", "parameters", "commit", "trained_at")


def write_ensemble(root: Path, name: str, members: tuple[Member, ...], **changes: Any) -> Path:
    """Write an ensemble's folder beside its members, with a digest that fits unless told otherwise."""
    first = read_spec(root / members[0].name)
    specs = [read_spec(root / member.name) for member in members if (root / member.name).is_dir()]
    fields = {field: getattr(first, field) for field in FIELDS} | {
        "name": name,
        "input_size": first.input_size,
        "classes": first.classes,
        "temperature": 2.0,
        "threshold": 0.3,
        "threshold_rule": "For tests",
        "members": members,
        "sha256": ensemble_sha256(members[: len(specs)], specs),
    }
    folder = root / name
    folder.mkdir()
    (folder / "spec.json").write_text(ModelSpec.model_validate(fields | changes).model_dump_json())
    return folder


def change(root: Path, source: str, name: str, **fields: Any) -> Path:
    """Copy a model folder under another name with other fields in its spec."""
    folder = shutil.copytree(root / source, root / name)
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"name": name} | fields))
    return folder


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def logits_by_hand(brightness: np.ndarray, weights: tuple[float, ...]) -> np.ndarray:
    """What the network of `write_models` with these weights answers to images of this mean brightness, 0 to 1."""
    return brightness[:, np.newaxis] * np.array([weights]) + 0.25


def write_images(folder: Path, count: int, swapped: bool = False) -> np.ndarray:
    """Write grey images with one drawing, those of pneumonia mostly brighter; return brightness, normal ones first."""
    rng = np.random.default_rng(3)
    greys = np.concatenate([rng.normal(80, 30, count), rng.normal(150, 30, count)]).clip(40, 215)
    names = ("PNEUMONIA", "NORMAL") if swapped else ("NORMAL", "PNEUMONIA")
    drawing = np.asarray(draw(1, (64, 64)), float) / 4  # without it they would be refused as showing nothing
    brightness = []
    for number, grey in enumerate(greys):
        place = folder / names[number // count]
        place.mkdir(parents=True, exist_ok=True)
        pixels = (drawing - drawing.mean() + grey).round().astype(np.uint8)
        told = PngInfo()
        told.add_text("number", str(number))  # greys may be equal, and two equal files would count as one image
        Image.fromarray(pixels).save(place / f"image-{number:03d}.png", pnginfo=told)
        brightness.append(pixels.mean() / 255)
    return np.array(brightness)
