"""What the model tests run in a process of their own: `python probe.py NAME OUT.json [ARGUMENTS]`.

NAME is a function of this file, or of another in this folder as FILE.FUNCTION. The backend comes from KERAS_BACKEND.
Each function returns what its test asserts on.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def drawn_sick(image: str) -> bool:
    """Tell a sample's statistics by its number; see shared/images/samples.py."""
    return int(Path(image).stem[-2:]) % 2 == 1


def held_out(model: str, data: str) -> dict[str, Any]:
    """Measure a model again on the images that its training held out."""
    from evaluation.metrics import measure
    from shared.models.folder import read_spec
    from training.data import class_indices, list_images, load_pixels
    from training.elsewhere import read_index
    from training.evaluate import load_network, p_pneumonia
    from training.recipes import RECIPES
    from training.split import hold_out

    spec = read_spec(Path(model))
    recipe = RECIPES[spec.name]
    images = list_images(Path(data))
    source, digests = load_pixels(images, spec.model_copy(update={"input_size": recipe.source_size}))
    groups, chosen = hold_out(images, source, digests, recipe)
    held = [image for image, is_held in zip(images, chosen, strict=True) if is_held]
    p = p_pneumonia(load_network(Path(model), spec), spec, load_pixels(held, spec)[0])
    elsewhere = Path(data).parents[1] / "elsewhere"
    beside = sum(len(read_index(elsewhere / name)) for name in recipe.elsewhere)
    names = [(image.patient, group) for image, group in zip(images, groups, strict=True)]
    sides = [
        {name for pair, is_held in zip(names, chosen, strict=True) if is_held == side for name in pair}
        for side in (False, True)
    ]
    return {
        "figures": measure(class_indices(held) != 0, p, spec.threshold),
        "images": [int((~chosen).sum()) + beside, int(chosen.sum())],
        "on_both_sides": sorted(sides[0] & sides[1]),
    }


def written_cards(models: str) -> dict[str, str]:
    """Write the card of every model again from its spec and figures, by its name."""
    from evaluation.card import card
    from shared.models.folder import model_folders, read_spec
    from training.recipes import planned_by

    cards = {}
    for folder in model_folders(Path(models)):
        if (folder / "metrics.json").is_file():
            figures = json.loads((folder / "metrics.json").read_text())
            cards[folder.name] = card(read_spec(folder), figures, planned_by(figures["recipe"]["network"]))
    return cards


def commands(*lines: str) -> list[dict[str, Any]]:
    """Run `pneumoscreen` commands, each given as JSON, in this process; return status and output of each."""
    from click.testing import CliRunner

    from cli.main import main

    results = [CliRunner().invoke(main, json.loads(line)) for line in lines]
    return [
        {
            "status": result.exit_code,
            "output": result.output,
            "raised": None if isinstance(result.exception, SystemExit | None) else repr(result.exception),
        }
        for result in results
    ]


if __name__ == "__main__":
    _, chosen, out, *rest = sys.argv
    module, _, function = chosen.rpartition(".")
    found = getattr(importlib.import_module(f"tests.model.{module}"), function) if module else globals()[function]
    Path(out).write_text(json.dumps(found(*rest)))
