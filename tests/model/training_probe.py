"""What the tests of training run in a process of their own, see probe.py: `python probe.py training_probe.NAME ...`."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shared.images.framing import Box
from tests.conftest import draw
from tests.model.probe import drawn_sick

STEPS = {"vgg19-sgd": 16}
"""Steps where 8 are too few: plain SGD is slow at the rate that its depth bears."""
SIZES = {"inception-v3": 76}
"""Pixels of the smallest input that a network takes where 32 is too little."""


# ---------------------------------------------------------------- recipes


def recipes_learn(folder: str, *images: str) -> dict[str, Any]:
    """Train each recipe a few steps on a handful of images and write it as a model folder with what it answers."""
    from training.recipes import RECIPES

    return {name: _learn(Path(folder) / name, recipe, images) for name, recipe in RECIPES.items()}


def _learn(folder: Path, recipe: Any, images: Sequence[str]) -> dict[str, Any]:
    import keras

    from shared.images.preprocess import prepare
    from training.export import draft_spec
    from training.registry import NETWORKS
    from training.train import compile_network

    keras.utils.set_random_seed(1)
    # Places are learned from a teacher, and there is none here.
    recipe = replace(recipe, input_size=SIZES.get(recipe.name, 32), place_weight=0.0)
    network = NETWORKS[recipe.network](recipe.input_size, len(recipe.classes))
    compile_network(network, recipe, recipe.phases[0], steps=20)
    network.run_eagerly = True  # eight steps are done before a graph is built
    pixels = np.stack([prepare(Path(path).read_bytes(), draft_spec(recipe)) for path in images])
    targets = np.eye(len(recipe.classes), dtype=np.float32)[[int(drawn_sick(path)) for path in images]]
    before = [np.array(weight) for weight in network.trainable_variables]
    first = _loss(network, pixels, targets)
    for _ in range(STEPS.get(recipe.name, 8)):
        network.train_on_batch(pixels, targets)
    moved = zip(network.trainable_variables, before, strict=True)
    _write_folder(folder, network, recipe, pixels)
    return {
        "losses": [first, _loss(network, pixels, targets)],
        "unmoved": [weight.path for weight, old in moved if np.array_equal(np.array(weight), old)],
        "name": network.name,
        "shapes": [list(network.input_shape), list(network.output_shape)],
        "dtype": network.inputs[0].dtype,
        "parameters": network.count_params(),
    }


def _loss(network: Any, pixels: np.ndarray, targets: np.ndarray) -> float:
    """Return the loss as training sees it, over the same few draws of dropout before and after."""
    import keras

    from training.journal import fix_draws

    found = []
    for turn in range(4):
        fix_draws(network, 1, turn)
        logits = network(pixels, training=True)
        found.append(keras.ops.mean(keras.ops.categorical_crossentropy(targets, logits, from_logits=True)))
    return float(np.mean([keras.ops.convert_to_numpy(one) for one in found]))


def _write_folder(folder: Path, network: Any, recipe: Any, pixels: np.ndarray) -> None:
    import keras

    from training.export import draft_spec
    from training.registry import with_places

    folder.mkdir(parents=True)
    keras.Model(network.input, with_places(network).outputs).save(folder / "model.keras")
    digest = hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest()
    # bfloat16 differs by more than what is compared here.
    spec = draft_spec(replace(recipe, precision="f32")).model_copy(update={"sha256": digest})
    (folder / "spec.json").write_text(spec.model_dump_json())
    np.save(folder / "images.npy", pixels[:3])
    np.save(folder / "logits.npy", np.array(network(pixels[:3], training=False)))


def recipes_served(folder: str) -> dict[str, Any]:
    """Load the model folders of `recipes_learn` as a worker does; return the largest difference of their logits."""
    from worker.networks.load import load_model

    found = {}
    for place in Path(folder).iterdir():
        reference = np.load(place / "logits.npy")
        served = load_model(place, "openvino").logits(np.load(place / "images.npy"))
        found[place.name] = [float(np.abs(served - reference).max()), float(np.ptp(reference))]
    return found


def parts(folder: str, *images: str) -> dict[str, Any]:
    """Return what the functions below find, from one process without a network and without earlier downloads."""
    os.environ |= {"KERAS_HOME": folder, "https_proxy": "http://127.0.0.1:9", "no_proxy": ""}
    return {
        "numbers": recipe_numbers(),
        "learning": learning_layers(Path(folder)),
        "bfloat16": learning_in_bfloat16(),
        "kept": features_kept(Path(folder) / "kept"),
        "feeding": batches(*_at_source_size(folder, images)),
        "plain": plain_images(*_noise_images(folder)),
        "weights": imagenet_start(Path(folder)),
    }


def recipe_numbers() -> dict[str, Any]:
    """Return each recipe's numbers, with its position, the name of its function and whether it can start elsewhere."""
    from training.recipes import DEFAULT, MODULES, RECIPES, module_of
    from training.registry import NETWORKS

    return {
        name: recipe.numbers()
        | {
            "function": NETWORKS[recipe.network].__name__,
            "module": MODULES[name].__name__.rpartition(".")[2],
            "has_start": hasattr(MODULES[name], "start"),
            "module_when_renamed": module_of(replace(recipe, name="renamed").network).__name__.rpartition(".")[2],
            "is_default": name == DEFAULT,
        }
        for name, recipe in RECIPES.items()
    }


def learning_layers(cache: Path) -> dict[str, list[str]]:
    """Return the layers that learn in each phase of vgg19-two-phase, from loaded and from random weights."""
    from training.journal import Run
    from training.recipes import RECIPES
    from training.registry import NETWORKS, RANDOM
    from training.train import fixed_layers, learning_part

    recipe = RECIPES["vgg19-two-phase"]
    network = NETWORKS[recipe.network](32, 2)
    found = {}
    for origin in ("a file", RANDOM):
        for number, phase in enumerate(recipe.phases, start=1):
            run: Any = Run(Path(), recipe, None, None, origin)  # type: ignore[arg-type]
            part = learning_part(network, replace(run, lower=fixed_layers(network, run, phase, cache)), phase)
            found[f"{origin} {number}"] = [layer.name for layer in part.layers if layer.trainable_variables]
    return found


def layers_held_fixed(*images: str) -> dict[str, Any]:
    """Train the upper layers of a small framed-mobilenet for one step on what OpenVINO says of the lower ones."""
    import keras

    from training.batches import training_batches
    from training.fixed_layers import Lower, upper
    from training.recipes import RECIPES
    from training.registry import NETWORKS
    from training.train import compile_network

    keras.utils.set_random_seed(2)
    recipe = replace(RECIPES["framed-mobilenet"], input_size=32, source_size=48, batch=4)
    (phase,) = recipe.phases
    network = NETWORKS[recipe.network](32, 3)
    before = {layer.name: layer.get_weights() for layer in network.layers}
    lower, above = Lower(network, phase.fixed_to, recipe.batch), upper(network, phase.fixed_to)
    side = _side(images[:6], recipe, recipe.source_size)
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1)).astype(np.uint8)
    apart = above(lower.answer(pixels)).numpy() - network(pixels).numpy()
    compile_network(above, recipe, phase, 1)
    (said, targets, _) = next(iter(training_batches(side, recipe, 0, 1, lower=lower)))
    above.train_on_batch(said, targets)
    learned = {layer.name for layer in above.layers}
    moved = [
        layer.name
        for layer in network.layers
        if any(not np.array_equal(new, old) for new, old in zip(layer.get_weights(), before[layer.name], strict=True))
    ]
    return {
        "apart": float(np.abs(apart).max()),
        "said": list(said.shape),
        "moved": len(moved),
        "moved_below": [name for name in moved if name not in learned],
        "whole": float(np.abs(network(pixels).numpy() - above(lower.answer(pixels)).numpy()).max()),
    }


def learning_in_bfloat16() -> dict[str, Any]:
    """Return how the layers of a recipe compute while they learn, and how far that is from what they compute after."""
    import keras

    from training.journal import Run
    from training.recipes import RECIPES
    from training.train import build, in_policy

    recipe = replace(RECIPES["vgg19-sgd"], input_size=32)
    whole = build(recipe)
    run: Any = Run(Path(), recipe, None, None, "a file")  # type: ignore[arg-type]
    network = in_policy(whole, run, recipe.phases[0])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1)).astype(np.uint8)
    one, other = (np.asarray(keras.ops.cast(each(pixels), "float32")) for each in (whole, network))
    return {
        "computed": [
            sorted({layer.compute_dtype for layer in each.layers if layer.weights}) for each in (whole, network)
        ],
        "kept": sorted({weight.dtype for weight in network.weights}),
        "apart": float(np.abs(one - other).max() / np.abs(one).max()),
        "policy_after": keras.config.dtype_policy().name,
    }


class CountingLayers:
    """Layers held fixed that note how many images they were asked of."""

    def __init__(self, lower: Any) -> None:
        self.lower, self.shape, self.fingerprint, self.asked = lower, lower.shape, lower.fingerprint, []

    def answer(self, images: np.ndarray) -> np.ndarray:
        self.asked.append(len(images))
        return self.lower.answer(images)


def features_kept(cache: Path) -> dict[str, Any]:
    """Ask fixed layers with and without keeping what they say, after a stop, and where they have learned."""
    from training.features import KeptFeatures
    from training.fixed_layers import Lower
    from training.recipes import RECIPES
    from training.registry import NETWORKS

    recipe = RECIPES["vgg16"]
    network = NETWORKS[recipe.network](32, 2)
    lower = CountingLayers(Lower(network, "block5_pool", 4))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 1)).astype(np.uint8)
    plain = lower.lower.answer(pixels)
    first = KeptFeatures(lower, cache).answer(pixels[:4])
    (cache / f"features-{lower.fingerprint[:16]}" / "stopped.123.part").write_bytes(b"half")
    second = KeptFeatures(lower, cache).answer(pixels)
    again = KeptFeatures(lower, cache).answer(pixels[::-1])
    same = Lower(network, "block5_pool", 4).fingerprint
    network.get_layer("block5_conv3").bias.assign_add([1.0] * 512)
    changed = [Lower(network, name, 4).fingerprint for name in ("block5_pool", "block4_pool")]
    return {
        "asked": lower.asked,
        "rounded": float((np.abs(second - plain) / np.maximum(np.abs(plain), 1e-3)).max()),
        "same_later": bool(np.array_equal(first, second[:4]) and np.array_equal(again, second[::-1])),
        "dtype": str(second.dtype),
        "fingerprints": [lower.fingerprint, same, *changed],
    }


# ---------------------------------------------------------------- batches


def _side(images: Sequence[str], recipe: Any, size: int) -> Any:
    from evaluation.dataset import ImageFile
    from shared.models.spec import ImageClass
    from training.data import load_pixels
    from training.export import draft_spec
    from training.split import Side

    causes = (ImageClass.NORMAL, ImageClass.BACTERIAL)
    listed = [ImageFile(Path(path), causes[drawn_sick(path)], path, "IM") for path in images]
    pixels, _ = load_pixels(listed, draft_spec(recipe).model_copy(update={"input_size": size}))
    return Side(listed, pixels, list(images), np.full(len(images), 0.5), (1,) * len(images))


def _at_source_size(folder: str, images: Sequence[str]) -> list[str]:
    """Store images as the training set's are, without loss."""
    stored = []
    for path in images:
        stored.append(f"{folder}/{Path(path).stem}.png")
        with Image.open(path) as image:
            image.resize((224, 224)).save(stored[-1])
    return stored


def _noise_images(folder: str) -> list[str]:
    """Store drawings under as much noise as is taken, in which every pixel that is passed over or moved shows."""
    paths = [f"{folder}/noise-{number:02}.png" for number in range(4)]
    rng = np.random.default_rng(0)
    for number, path in enumerate(paths):
        drawing = np.asarray(draw(number, (224, 224)), int) * 3 // 5 + 40
        Image.fromarray((drawing + rng.integers(-24, 25, (224, 224))).astype(np.uint8)).save(path)
    return paths


def batches(*images: str) -> dict[str, Any]:
    """Compare the default recipe's batches, with the changes switched off, with what `prepare` gives."""
    from training.augmentation import Augmentation
    from training.batches import training_batches
    from training.recipes import DEFAULT, RECIPES

    recipe = replace(RECIPES[DEFAULT], batch=4, augmentation=Augmentation(untouched=1.1))
    side, served = _side(images, recipe, recipe.source_size), _side(images, recipe, recipe.input_size)
    known, hot, off, seen = served.pixels.astype(int), side.targets(recipe.classes), 0, []
    for shown, targets, _ in training_batches(side, recipe, 0, len(images) // 4):
        for path, target in zip(shown.numpy().astype(int), targets.numpy(), strict=True):
            away = np.abs(known - path).mean(axis=(1, 2, 3))
            nearest = int(away.argmin())
            off = max(off, int(np.abs(known[nearest] - path).max()))
            seen.append([nearest, bool(np.array_equal(hot[nearest], target))])
    changed = replace(recipe, augmentation=replace(recipe.augmentation, untouched=0.0))
    one, again, later = (next(iter(training_batches(side, changed, step, 9)))[0].numpy() for step in (3, 3, 4))
    return {
        "images_seen": sorted(number for number, _ in seen),
        "targets_fit": all(fits for _, fits in seen),
        "largest_difference": off,
        "same_step_same_bytes": bool(np.array_equal(one, again)),
        "other_step_other_bytes": not np.array_equal(one, later),
        "dtype": str(one.dtype),
        "shape": list(one.shape),
        "input_size": recipe.input_size,
        "mean_change": float(np.abs(one.astype(int) - known[: len(one)]).mean()),
    }


def plain_images(*images: str) -> dict[str, Any]:
    """Return how far images without ranges, or with one alone, are from what they must be."""
    import tensorflow as tf

    from training.augment import augment
    from training.estimates import reframe
    from training.recipes import RECIPES
    from training.recipes.published import PLAIN

    recipe = RECIPES["cnn-lstm"]
    large, small = (_side(images, recipe, size).pixels for size in (224, 64))
    seed = tf.constant([3, 4])

    def away(expected: np.ndarray, source: np.ndarray, size: int, **ranges: Any) -> int:
        found = augment(tf.constant(source), seed, replace(PLAIN, **ranges), size).numpy()
        return int(np.abs(found.astype(int) - expected).max())

    turned = augment(tf.constant(large), seed, replace(PLAIN, rotation=1e-3), 64).numpy()
    boxes = np.array([[0.2, 0.2, 0.7, 0.8], [0.1, 0.3, 0.9, 0.9], [np.nan] * 4, [0.3, 0.1, 0.9, 0.7]], np.float32)
    moved = augment(tf.constant(large[:4]), seed, replace(PLAIN, reframed=1.0), 224, boxes=tf.constant(boxes)).numpy()
    own, other = (Box(*map(float, boxes[row])) for row in (1, 0))
    shown = np.asarray(reframe(Image.fromarray(large[1, ..., 0]), own, other), int)
    inner = (slice(48, -48), slice(48, -48))
    return {
        "in_the_next_frame": float(np.abs(moved[1, ..., 0].astype(int) - shown)[inner].mean()),
        "moved_at_all": float(np.abs(moved[1].astype(int) - large[1]).mean()),
        "without_lungs": int(np.abs(moved[2:].astype(int) - large[2:4]).max()),
        "same_size": away(large, large, 224),
        "shrunk": away(small, large, 64),
        "mirrored": away(large[:, :, ::-1], large, 224, flip=1.0),
        "upside_down": away(large[:, ::-1], large, 224, flip_down=1.0),
        "mirrored_and_shrunk": away(small[:, :, ::-1], large, 64, flip=1.0),
        "hardly_turned_and_shrunk": float(np.abs(turned.astype(int) - small).mean()),
    }


# ---------------------------------------------------------------- first weights


def imagenet_start(folder: Path) -> dict[str, Any]:
    """Start from files, good and bad, and without a network; return what the bases then compute, and what was said."""
    import keras

    from training.recipes import inception_v3, vgg16

    path = np.random.default_rng(0).integers(0, 256, (1, 80, 80, 1), dtype=np.uint8)
    colours = np.repeat(path.astype(np.float32), 3, axis=-1)
    found: dict[str, Any] = {}
    for module, last, prepared, build in (
        (vgg16, "block5_pool", keras.applications.vgg16.preprocess_input, keras.applications.VGG16),
        (inception_v3, "mixed10", keras.applications.inception_v3.preprocess_input, keras.applications.InceptionV3),
    ):
        network = getattr(module, module.RECIPE.network)(80, 2)
        source = build(include_top=False, weights=None, input_shape=(80, 80, 3))
        file = folder / f"{module.RECIPE.network}.weights.h5"
        source.save_weights(file)
        random = network.get_weights()
        offline = module.start(network, None, path)
        untouched = all(np.array_equal(a, b) for a, b in zip(random, network.get_weights(), strict=True))
        origin = module.start(network, file, path)
        answers = np.asarray(keras.Model(network.input, network.get_layer(last).output)(path))
        expected = np.asarray(source(prepared(colours.copy())))
        found[module.RECIPE.name] = {
            "offline": [offline, untouched],
            "origin": origin,
            "difference": float(np.abs(answers - expected).max() / np.abs(expected).max()),
        }
    arrays = _as_arrays(folder)
    return found | {"arrays": arrays, "refused": _refusals(folder, path)}


def _as_arrays(folder: Path) -> dict[str, Any]:
    """Start from .npz files of other networks; return how far the bases are from what those compute."""
    import keras

    from training.recipes import inception_v3, vgg16, vgg19_two_phase

    image = np.random.default_rng(1).integers(0, 256, (1, 80, 80, 1), dtype=np.uint8)
    colours = np.repeat(image.astype(np.float32), 3, axis=-1)
    vgg = keras.applications.VGG16(include_top=False, weights=None, input_shape=(80, 80, 3))
    inception = keras.applications.InceptionV3(include_top=False, weights=None, input_shape=(80, 80, 3))
    kinds = {"conv": keras.layers.Conv2D, "norm": keras.layers.BatchNormalization}
    by_place = {
        f"{place:02}_{kind}": layer
        for kind, of_kind in kinds.items()
        for place, layer in enumerate(one for one in inception.layers if isinstance(one, of_kind))
    }
    _store(folder / "vgg16.npz", {layer.name: layer for layer in vgg.layers})
    _store(folder / "inception_v3.npz", by_place)
    expected = {
        "vgg16.npz": np.asarray(vgg(keras.applications.vgg16.preprocess_input(colours.copy()))),
        "inception_v3.npz": np.asarray(inception(colours / 255)),
    }
    found = {}
    for module, file, last in (
        (vgg16, "vgg16.npz", "block5_pool"),
        (vgg19_two_phase, "vgg16.npz", "block5_pool"),
        (inception_v3, "inception_v3.npz", "mixed10"),
    ):
        network = getattr(module, module.RECIPE.network)(80, 2)
        origin = module.start(network, folder / file, image)
        answers = np.asarray(keras.Model(network.input, network.get_layer(last).output)(image))
        away = np.abs(answers - expected[file]).max() / np.abs(expected[file]).max()
        found[module.RECIPE.name] = {"origin": origin, "difference": float(away)}
    return found


def _store(file: Path, layers: dict[str, Any]) -> None:
    arrays = {
        f"{name}__{weight.name}": np.asarray(weight) for name, layer in layers.items() for weight in layer.weights
    }
    np.savez(file, **arrays)


def _refusals(folder: Path, images: np.ndarray) -> dict[str, str]:
    """Return what is said of files that cannot be a start; needs what `_as_arrays` has stored."""
    from training.errors import WeightsUnusable
    from training.recipes import mobilenet_v2, vgg16

    bad = {"words.h5": b"no weights", "archive.npz": b"PK\x03\x04", "network.keras": b"no archive"}
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    np.save(folder / "one_array.npz", np.zeros(3))
    (folder / "one_array.npz.npy").rename(folder / "one_array.npz")
    with np.load(folder / "vgg16.npz") as stored:
        good = dict(stored)
    name = "block1_conv1__kernel"
    np.savez(folder / "narrow.npz", **(good | {name: good[name][:, :, :, :32]}))
    np.savez(folder / "further.npz", **(good | {"block3_conv4__bias": np.zeros(256)}))
    np.savez(folder / "fewer.npz", **{key: array for key, array in good.items() if key != name})
    files = (*bad, "one_array.npz", "narrow.npz", "further.npz", "fewer.npz", "absent.h5", "absent.npz")
    network, refused = vgg16.vgg16(32, 2), {}
    before = network.get_weights()
    for file in (*files, "inception_v3.weights.h5", "inception_v3.npz"):
        try:
            refused[file] = vgg16.start(network, folder / file, images)
        except WeightsUnusable as error:
            refused[file] = str(error)
    if not all(np.array_equal(one, other) for one, other in zip(before, network.get_weights(), strict=True)):
        refused["narrow.npz"] = "a file that was refused changed the network"
    (folder / "words.npz").write_bytes(b"no weights")
    try:
        refused["words.npz"] = mobilenet_v2.start(mobilenet_v2.mobilenet_v2(32, 3), folder / "words.npz", images)
    except WeightsUnusable as error:
        refused["words.npz"] = str(error)
    return refused
