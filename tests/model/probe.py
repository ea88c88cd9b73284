"""What the model tests run in a process of their own: `python probe.py NAME OUT.json [ARGUMENTS]`.

The backend comes from KERAS_BACKEND. Each function returns what its test asserts on.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def logits(model: str, *films: str) -> dict[str, Any]:
    """Return a model's logits and calibrated p(pneumonia) of films."""
    from shared.modelspec import read_spec
    from shared.preprocess import prepare
    from training.evaluate import load_network, predict_logits

    spec = read_spec(Path(model))
    pixels = np.stack([prepare(Path(film).read_bytes(), spec) for film in films])
    raw = predict_logits(load_network(Path(model), spec), pixels)
    return {"logits": raw.tolist(), "p": spec.p_pneumonia(spec.calibrate(raw)).tolist()}


def learning_and_feeding(*films: str) -> dict[str, Any]:
    """Return what `few_steps` and `untouched_batches` find, from one process."""
    return {"learning": few_steps(*films[:6]), "feeding": untouched_batches(*films)}


def few_steps(*films: str) -> dict[str, Any]:
    """Train the default network a few steps on a handful of films; return the losses and which weights moved."""
    import keras

    from shared.preprocess import prepare
    from training.export import draft_spec
    from training.recipe import COMPACT_CNN
    from training.train import compile_network

    keras.utils.set_random_seed(1)
    recipe = replace(COMPACT_CNN, epochs=1)
    network = compile_network(recipe, 30)
    pixels = np.stack([prepare(Path(film).read_bytes(), draft_spec(recipe)) for film in films])
    targets = np.eye(3, dtype=np.float32)[[int(drawn_sick(film)) for film in films]]
    before = [np.array(weight) for weight in network.trainable_variables]
    losses = [float(network.train_on_batch(pixels, targets)) for _ in range(15)]
    still = [
        weight.path
        for weight, old in zip(network.trainable_variables, before, strict=True)
        if np.array_equal(np.array(weight), old)
    ]
    return {"losses": losses, "unmoved": still, "parameters": network.count_params()}


def untouched_batches(*films: str) -> dict[str, Any]:
    """Compare the pipeline's batches, with the changes switched off, with what `prepare` gives."""
    from shared.preprocess import prepare
    from training.augment import Augmentation
    from training.data import Film, FilmClass, load_pixels
    from training.export import draft_spec
    from training.recipe import COMPACT_CNN, training_batches

    recipe = replace(COMPACT_CNN, batch=4, augmentation=Augmentation(untouched=1.1))
    listed = [Film(Path(film), FilmClass.NORMAL, film, "IM") for film in films]
    pixels, _ = load_pixels(listed, draft_spec(recipe))
    expected = {prepare(Path(film).read_bytes(), draft_spec(recipe)).tobytes(): i for i, film in enumerate(films)}
    targets = np.eye(len(films), dtype=np.float32)
    seen: list[int] = []
    matched = True
    steps = len(films) // 4
    for batch, marks in training_batches(pixels, targets, recipe, 0, steps):
        found = [expected.get(film.tobytes(), -1) for film in batch.numpy()]
        matched = matched and found == marks.numpy().argmax(axis=1).tolist()
        seen += found
    changed_recipe = replace(recipe, augmentation=Augmentation(untouched=0.0))
    one, again, later = (
        next(iter(training_batches(pixels, targets, changed_recipe, step, 9)))[0].numpy() for step in (3, 3, 4)
    )
    return {
        "matched": matched,
        "distinct": len(set(seen)),
        "same_step_same_bytes": bool(np.array_equal(one, again)),
        "other_step_other_bytes": not np.array_equal(one, later),
        "changed_dtype": str(one.dtype),
        "changed_shape": list(one.shape),
        "mean_change": float(np.abs(one.astype(int) - pixels[: len(one)].astype(int)).mean()),
    }


def small_training(folder: str, *films: str) -> dict[str, Any]:
    """Train twice on a small folder, once whole and once stopped and resumed; return what each wrote."""
    from training import metrics
    from training import train as training
    from training.errors import RunMismatch
    from training.recipe import COMPACT_CNN

    metrics.RESAMPLES = 20  # the intervals are tested elsewhere
    data = _small_data_set(Path(folder) / "data", films)
    recipe = replace(COMPACT_CNN, name="small", input_size=32, epochs=2, batch=8, held_out=0.3, average=0.5)
    whole = training.train(recipe, data, Path(folder) / "models", Path(folder) / "whole")
    kept = shutil.copytree(whole, Path(folder) / "kept")

    runs = Path(folder) / "stopped"
    write = training.Journal._write

    def write_and_stop(self: Any, line: dict[str, float]) -> None:
        write(self, line)
        if line["epoch"] == 1:
            raise KeyboardInterrupt

    training.Journal._write = write_and_stop
    try:
        training.train(recipe, data, Path(folder) / "models", runs)
        stopped = False
    except KeyboardInterrupt:
        stopped = True
    training.Journal._write = write
    try:
        training.train(replace(recipe, epochs=9), data, Path(folder) / "models", runs, resume=True)
        refusal = ""
    except RunMismatch as error:
        refusal = str(error)
    untouched = (kept / "spec.json").read_bytes() == (whole / "spec.json").read_bytes()
    resumed = training.train(recipe, data, Path(folder) / "models", runs, resume=True)
    finished_again = training.train(recipe, data, Path(folder) / "again", runs, resume=True)
    return {
        "stopped": stopped,
        "refusal": refusal,
        "untouched_while_stopped": untouched,
        "files": sorted(path.name for path in resumed.iterdir()),
        "journals": [json.loads((place / "metrics.json").read_text())["journal"] for place in (kept, resumed)],
        "largest_difference": _largest_difference(kept, resumed),
        "largest_difference_after_the_end": _largest_difference(resumed, finished_again),
    }


def drawn_sick(film: str) -> bool:
    """Tell a sample's statistics by its number; see shared/samples.py."""
    return int(Path(film).stem[-2:]) % 2 == 1


def _largest_difference(one: Path, other: Path) -> float:
    from shared.modelspec import read_spec
    from training.evaluate import load_network

    weights = [load_network(folder, read_spec(folder)).get_weights() for folder in (one, other)]
    return max(float(np.abs(a - b).max()) for a, b in zip(*weights, strict=True))


def _small_data_set(folder: Path, films: tuple[str, ...]) -> Path:
    """Write each film twice, mirrored too, under the names of the real data set."""
    for number, film in enumerate(films):
        sick = drawn_sick(film)
        place = folder / ("PNEUMONIA" if sick else "NORMAL")
        place.mkdir(parents=True, exist_ok=True)
        with Image.open(film) as image:
            small = image.resize((96, 96))
        cause = ("bacteria", "virus")[number // 2 % 2]
        series = ("IM", "NORMAL2-IM")[number // 2 % 2]
        stem = f"person{number}_{cause}_" if sick else f"{series}-{number:04d}-"
        small.save(place / f"{stem}0001.jpeg")
        small.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(place / f"{stem}0002.jpeg")
    return folder


def held_out(model: str, data: str, cache: str) -> dict[str, Any]:
    """Measure a model again on the films that its training held out."""
    from shared.modelspec import read_spec
    from training.evaluate import load_network, p_pneumonia
    from training.metrics import measure
    from training.recipe import COMPACT_CNN
    from training.split import split_films

    spec = read_spec(Path(model))
    split = split_films(Path(data), COMPACT_CNN, spec, Path(cache))
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
    Path(out).write_text(json.dumps(globals()[chosen](*rest)))
