"""Each recipe is what was published, learns, and serves as it was trained."""

import json
from pathlib import Path

import pytest

from tests.conftest import DEFAULT_MODEL
from tests.model.conftest import Probe
from tests.model.probe import drawn_sick

pytestmark = [pytest.mark.lab, pytest.mark.timeout(400)]  # fixtures train networks; minutes where the machine is shared
SIX = ("cnn-lstm", "vgg19-two-phase", "vgg19-sgd", "vgg16", "inception-v3", "scratch-cnn")
ALL = ("compact-cnn", "mobilenet-v2", "framed-mobilenet", "framed-compact", "whole-mobilenet", *SIX)
FROM_IMAGENET = {
    "mobilenet-v2",
    "framed-mobilenet",
    "whole-mobilenet",
    "vgg19-two-phase",
    "vgg19-sgd",
    "vgg16",
    "inception-v3",
}


@pytest.fixture(scope="module")
def found(probe: Probe, samples: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Look at numbers, layers, batches and first weights in one process."""
    return probe("training_probe.parts", "tensorflow", tmp_path_factory.mktemp("parts"), *samples)


@pytest.fixture(scope="module")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipes")


@pytest.fixture(scope="module")
def learned(probe: Probe, samples: list[Path], model_folders: Path) -> dict[str, dict]:
    """Train every recipe a few steps."""
    chosen = sorted(samples, key=lambda image: drawn_sick(str(image)))
    return probe("training_probe.recipes_learn", "tensorflow", model_folders, *chosen[:3], *chosen[-3:])


@pytest.fixture(scope="module")
def served(probe: Probe, learned: dict[str, dict], model_folders: Path) -> dict[str, list[float]]:
    """Let OpenVINO answer as a worker does."""
    assert set(learned) == set(ALL)
    return probe("training_probe.recipes_served", "openvino", model_folders)


@pytest.mark.parametrize("name", ALL)
def test_a_few_steps_lower_the_loss_and_move_every_weight(learned: dict[str, dict], name: str) -> None:
    before, after = learned[name]["losses"]
    assert after < 0.9 * before
    assert learned[name]["unmoved"] == []


@pytest.mark.parametrize("name", ALL)
def test_a_network_takes_images_as_they_are_and_gives_a_logit_for_each_class(
    learned: dict[str, dict], found: dict[str, dict], name: str
) -> None:
    (_, height, width, channels), (_, logits) = learned[name]["shapes"]
    assert (height, channels, learned[name]["dtype"]) == (width, 1, "uint8")
    assert logits == len(found["numbers"][name]["classes"])


@pytest.mark.parametrize("name", ALL)
def test_openvino_answers_as_tensorflow_does(served: dict[str, list[float]], name: str) -> None:
    difference, span = served[name]
    assert difference < min(1e-3, 0.01 * span)


@pytest.mark.parametrize("name", ALL)
def test_a_recipe_its_file_its_network_and_its_function_have_one_name(
    found: dict[str, dict], learned: dict[str, dict], name: str
) -> None:
    numbers, written = found["numbers"][name], name.replace("-", "_")
    names = ("network", "function", "module", "module_when_renamed")
    assert {numbers[key] for key in names} | {learned[name]["name"]} == {written}
    assert numbers["name"] == name


def test_the_recipes_come_in_order_with_the_default_first(found: dict[str, dict]) -> None:
    assert tuple(found["numbers"]) == ALL
    assert [name for name in ALL if found["numbers"][name]["is_default"]] == [DEFAULT_MODEL]


def test_layers_held_fixed_say_what_they_would_in_the_whole_network_and_never_move(
    probe: Probe, samples: list[Path]
) -> None:
    found = probe("training_probe.layers_held_fixed", "tensorflow", *samples)
    assert found["apart"] < 1e-3
    assert found["said"] == [4, 4, 4, 32]  # block 5 of MobileNetV2 at a sixteenth of 64 pixels
    assert found["moved"] > 10
    assert found["moved_below"] == []
    assert found["whole"] < 1e-3


def test_what_fixed_layers_say_of_an_image_is_asked_once_and_answered_alike(found: dict[str, dict]) -> None:
    kept = found["kept"]
    assert kept["asked"] == [4, 2]
    assert kept["same_later"]
    assert kept["rounded"] < 5e-4  # float16 has eleven bits
    assert kept["dtype"] == "float32"


def test_features_are_kept_by_layers_and_weights(found: dict[str, dict]) -> None:
    first, same, learned, lower = found["kept"]["fingerprints"]
    assert first == same
    assert len({first, learned, lower}) == 3


def test_layers_that_learn_in_bfloat16_keep_weights_and_leave_the_whole_network_in_float32(
    found: dict[str, dict],
) -> None:
    learning = found["bfloat16"]
    assert learning["computed"] == [["float32"], ["bfloat16"]]
    assert learning["kept"] == ["float32"]
    assert 0 < learning["apart"] < 0.1
    assert learning["policy_after"] == "float32"


@pytest.mark.parametrize("name", ALL)
def test_recipes_with_imagenet_weights_know_how_to_load_them(found: dict[str, dict], name: str) -> None:
    assert bool(found["numbers"][name]["pretrained"]) == found["numbers"][name]["has_start"] == (name in FROM_IMAGENET)


@pytest.mark.parametrize("name", SIX)
def test_a_published_recipe_has_none_of_what_was_added_here(found: dict[str, dict], name: str) -> None:
    numbers = found["numbers"][name]
    assert numbers["classes"] == ["normal", "pneumonia"]
    added = {"making_weight": 1.0, "average": None, "label_smoothing": 0.0, "teachers": [], "place_weight": 0.0}
    assert {key: numbers[key] for key in added} == added


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("cnn-lstm", {"optimizer": "adam"}),
        ("vgg19-two-phase", {"optimizer": "adam", "rates": [1e-4, 1e-5], "stops_early": True}),
        (
            "vgg19-sgd",
            {
                "optimizer": "sgd",
                "momentum": 0.9,
                "input_size": 128,
                "schedule": "plateau",
                "stops_early": True,
                "changes": {"flip", "flip_down", "rotation", "shift"},
            },
        ),
        ("vgg16", {"stops_early": True, "epochs": [29]}),
        ("inception-v3", {"stops_early": True, "epochs": [15], "changes": {"rotation", "area", "flip"}}),
        ("scratch-cnn", {"optimizer": "adam", "input_size": 224}),
    ],
)
def test_the_published_numbers(found: dict[str, dict], name: str, published: dict) -> None:
    numbers = found["numbers"][name]
    unchanged = {"area": [1.0, 1.0], "contrast": [0.0, 0.0]}
    stated = {"changes": set()} | published
    told = {
        "rates": [phase["peak_rate"] for phase in numbers["phases"]],
        "epochs": [phase["epochs"] for phase in numbers["phases"]],
        "stops_early": numbers["patience"] is not None,
        "changes": {key for key, value in numbers["augmentation"].items() if value != unchanged.get(key, 0.0)},
    }
    assert {key: (numbers | told)[key] for key in stated} == stated


BLOCK5 = [f"block5_conv{number}" for number in (1, 2, 3, 4)]
HEAD = ["dense1", "dense2", "logits"]


def test_the_base_is_held_fixed_first_and_only_where_it_was_loaded(found: dict[str, dict]) -> None:
    learning = found["learning"]
    assert learning["a file 1"] == HEAD
    assert learning["a file 2"] == BLOCK5 + HEAD
    everything = learning["random initialisation 1"]
    assert everything == learning["random initialisation 2"]
    assert len(everything) == 16 + len(HEAD)


@pytest.mark.parametrize("name", ["vgg16", "inception-v3"])
def test_loaded_weights_compute_what_imagenets_network_computes(found: dict[str, dict], name: str) -> None:
    start = found["weights"][name]
    assert start["origin"] == f"ImageNet weights ({name.replace('-', '_')}.weights.h5)"
    assert start["difference"] < 1e-4


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("vgg16", "(vgg16.npz)"),
        (
            "vgg19-two-phase",
            "(vgg16.npz; VGG16's, so block3_conv4, block4_conv4, block5_conv4 started as the identity)",
        ),
        ("inception-v3", "(inception_v3.npz; made for images from 0 to 1, its first layer changed to take -1 to 1)"),
    ],
)
def test_arrays_loaded_layer_by_layer_compute_what_their_network_computes(
    found: dict[str, dict], name: str, said: str
) -> None:
    start = found["weights"]["arrays"][name]
    assert start["origin"] == f"ImageNet weights {said}"
    assert start["difference"] < 1e-4


@pytest.mark.parametrize("name", ["vgg16", "inception-v3"])
def test_without_a_network_a_recipe_starts_at_random_and_says_so(found: dict[str, dict], name: str) -> None:
    assert found["weights"][name]["offline"] == ["random initialisation", True]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("words.h5", "cannot be loaded"),
        ("archive.npz", "cannot be loaded"),
        ("one_array.npz", "cannot be loaded"),
        ("network.keras", "cannot be loaded"),
        ("absent.h5", "There is no file"),
        ("absent.npz", "There is no file"),
        ("narrow.npz", "block1_conv1__kernel has to be (3, 3, 3, 64), received (3, 3, 3, 32)"),
        ("further.npz", "holds block3_conv4__bias, for which there is no layer"),
        ("fewer.npz", "holds no block1_conv1__kernel"),
        ("inception_v3.weights.h5", "cannot be loaded"),
        ("inception_v3.npz", "holds no block1_conv1__kernel"),
        ("words.npz", "cannot be loaded"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_what_was_expected(
    found: dict[str, dict], name: str, reason: str
) -> None:
    refusal = found["weights"]["refused"][name]
    assert name in refusal
    assert reason in refusal
    assert ("MobileNetV2 1.0" if name == "words.npz" else "keras.applications.VGG16") in refusal


# ---------------------------------------------------------------- images on their way to the network


def test_training_sees_what_serving_sees_and_every_image_once(found: dict[str, dict], samples: list[Path]) -> None:
    """TensorFlow and Pillow average the same pixels and may round apart."""
    feeding = found["feeding"]
    assert feeding["images_seen"] == list(range(len(samples)))
    assert feeding["targets_fit"]
    assert feeding["largest_difference"] <= 1


def test_changes_to_images_follow_from_the_step_alone(found: dict[str, dict]) -> None:
    feeding = found["feeding"]
    assert feeding["same_step_same_bytes"]
    assert feeding["other_step_other_bytes"]
    assert (feeding["dtype"], feeding["shape"]) == ("uint8", [4, feeding["input_size"], feeding["input_size"], 1])
    assert feeding["mean_change"] > 5


def test_an_image_is_shown_in_the_framing_of_the_next_one_where_both_have_lungs(found: dict[str, dict]) -> None:
    """The third has no lungs, so neither it moves nor the fourth, whose next it is."""
    plain = found["plain"]
    assert plain["in_the_next_frame"] < 8
    assert plain["moved_at_all"] > 15
    assert plain["without_lungs"] == 0


@pytest.mark.parametrize(
    ("change", "most"),
    [("same_size", 0), ("shrunk", 1), ("mirrored", 0), ("upside_down", 0), ("mirrored_and_shrunk", 1)],
)
def test_images_without_ranges_are_left_exactly_as_they_are(found: dict[str, dict], change: str, most: int) -> None:
    assert found["plain"][change] <= most


def test_an_image_turned_on_its_way_down_keeps_what_each_pixel_averages(found: dict[str, dict]) -> None:
    """Noise of images passed over instead of averaged differs by 40 grey levels."""
    assert found["plain"]["hardly_turned_and_shrunk"] < 0.5


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def answers(probe: Probe, samples: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Ask `pneumoscreen train` for what it cannot do, and once for what it can, in one process."""
    from tests.model.run_probe import small_data_set

    root = tmp_path_factory.mktemp("train")
    data = small_data_set(root / "data", [str(image) for image in samples])
    (root / "one-class" / "NORMAL").mkdir(parents=True)
    (root / "one-class" / "NORMAL" / "IM-0001-0001.jpeg").write_bytes(samples[0].read_bytes())
    for name in ("words.h5", "words.npz"):
        (root / name).write_bytes(b"no weights")
    places = ["--data", str(data), "--out", str(root / "models"), "--runs", str(root / "runs"), "--size", "32"]
    lines = {
        "list": ["list"],
        "unknown": ["vgg99", *places],
        "one class": ["scratch-cnn", *places, "--data", str(root / "one-class")],
        "wrong weights": ["vgg16", *places, "--weights", str(root / "words.h5")],
        "wrong archive": ["mobilenet-v2", *places, "--weights", str(root / "words.npz")],
        "no use for weights": ["cnn-lstm", *places, "--weights", str(root / "words.h5")],
        "too small": ["inception-v3", *places],
        "nothing to resume": ["scratch-cnn", *places, "--resume"],
        "trained": ["cnn-lstm", *places, "--epochs", "1", "--name", "tiny"],
    }
    found = probe("commands", "tensorflow", *(json.dumps(["train", *line]) for line in lines.values()))
    results = dict(zip(lines, found, strict=True))
    results["folder"] = {path.name: path.read_text() for path in (root / "models" / "tiny").glob("*.*[nd]")}
    return results


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown", "There is no recipe 'vgg99'. Known: cnn-lstm, compact-cnn"),
        ("one class", "has no subfolder PNEUMONIA"),
        ("wrong weights", "words.h5 cannot be loaded"),
        ("wrong archive", "words.npz cannot be loaded"),
        ("no use for weights", "cnn-lstm starts from random weights. Leave out --weights."),
        ("too small", "InceptionV3 needs images of 75 pixels or more. Received 32."),
        ("nothing to resume", "There is no interrupted training in"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_sentence(answers: dict[str, dict], name: str, words: str) -> None:
    answer = answers[name]
    assert (answer["status"], answer["raised"]) == (2, None), answer
    assert words in answer["output"]
    assert "Traceback" not in answer["output"]


def test_every_recipe_is_listed_with_what_it_is(answers: dict[str, dict]) -> None:
    rows = answers["list"]["output"].splitlines()
    assert [row.split()[0] for row in rows] == list(ALL)
    assert all(len(row.split()) > 3 for row in rows)


def test_one_command_trains_a_published_system(answers: dict[str, dict]) -> None:
    assert (answers["trained"]["status"], answers["trained"]["raised"]) == (0, None), answers["trained"]
    spec, figures = (json.loads(answers["folder"][name]) for name in ("spec.json", "metrics.json"))
    assert (spec["name"], spec["input_size"], spec["classes"]) == ("tiny", 32, ["normal", "pneumonia"])
    assert figures["origin"] == "random initialisation"
    assert len(figures["journal"]) == 1
