"""What the model tests run in a process of their own: `python probe.py NAME OUT.json [ARGUMENTS]`.

NAME is a function of this file, or of another in this folder as FILE.FUNCTION. The backend comes from KERAS_BACKEND.
Each function returns what its test asserts on.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def logits(model: str, *films: str) -> dict[str, Any]:
    """Return a model's logits and calibrated p(pneumonia) of films."""
    from shared.modelfolder import read_spec
    from shared.preprocess import prepare
    from training.evaluate import load_network, predict_logits

    spec = read_spec(Path(model))
    pixels = np.stack([prepare(Path(film).read_bytes(), spec) for film in films])
    raw = predict_logits(load_network(Path(model), spec), pixels)
    return {"logits": raw.tolist(), "p": spec.p_pneumonia(spec.calibrate(raw)).tolist()}


def drawn_sick(film: str) -> bool:
    """Tell a sample's statistics by its number; see shared/samples.py."""
    return int(Path(film).stem[-2:]) % 2 == 1


def held_out(model: str, data: str, cache: str) -> dict[str, Any]:
    """Measure a model again on the films that its training held out."""
    from shared.modelfolder import read_spec
    from training.evaluate import load_network, p_pneumonia
    from training.metrics import measure
    from training.recipes import RECIPES
    from training.split import split_films

    spec = read_spec(Path(model))
    split = split_films(Path(data), RECIPES[spec.name], spec, Path(cache))
    p = p_pneumonia(load_network(Path(model), spec), spec, split.held_out.pixels)
    sides = (split.seen, split.held_out)
    patients = [{film.patient for film in side.films} for side in sides]
    groups = [set(side.groups) for side in sides]
    return {
        "figures": measure(split.held_out.truth, p, spec.threshold),
        "films": [len(side.films) for side in sides],
        "on_both_sides": sorted((patients[0] & patients[1]) | (groups[0] & groups[1])),
    }


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
