"""Model folders as a worker serves them: single networks, ensembles, maps of places, and folders that do not fit."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from shared.models.folder import read_spec
from shared.models.spec import Member
from tests.model.conftest import Probe
from tests.model.folders import change, logits_by_hand, softmax, write_ensemble

pytestmark = pytest.mark.lab

GOOD = ("causes", "binary", "plain", "pair", "mixed", "alike", "without-map", "bfloat16")


@pytest.fixture(scope="module")
def root(probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with single networks, ensembles, and folders that cannot serve."""
    root = tmp_path_factory.mktemp("models")
    probe("serving_probe.write_models", "openvino", root)
    own = {"temperature": 1.5, "bias": -0.5}
    causes, binary = Member(name="causes", weight=2, **own), Member(name="binary", weight=1)
    write_ensemble(root, "pair", (causes, binary), classes=("normal", "pneumonia"))
    write_ensemble(root, "mixed", (causes, Member(name="plain", weight=1)))
    write_ensemble(root, "alike", (causes,))
    write_ensemble(root, "without-map", (Member(name="plain", weight=1),))
    change(root, "causes", "bfloat16", precision="bf16")

    change(root, "causes", "wrong-size", input_size=64)
    change(root, "causes", "wrong-classes", classes=["normal", "pneumonia"])
    change(root, "causes", "other-weights", sha256="0" * 64)
    no_network = change(root, "causes", "no-network", sha256=hashlib.sha256(b"no network").hexdigest())
    (no_network / "model.keras").write_bytes(b"no network")
    (change(root, "causes", "no-weights") / "model.keras").unlink()
    (change(root, "causes", "cut") / "spec.json").write_text('{"name": "cut"')
    change(root, "causes", "path", members=[{"name": "../causes", "weight": 1}])
    change(root, "causes", "weightless", members=[{"name": "causes", "weight": 0}])
    change(root, "causes", "itself", members=[{"name": "itself", "weight": 1}])
    write_ensemble(root, "lonely", (causes, Member(name="absent", weight=1)))
    write_ensemble(root, "sizes", (causes, Member(name="large", weight=1)))
    write_ensemble(root, "nested", (causes, Member(name="alike", weight=1)))
    write_ensemble(root, "classes", (causes, binary))
    write_ensemble(root, "digest", (causes, binary), classes=("normal", "pneumonia"), sha256="f" * 64)
    write_ensemble(root, "ill", (Member(name="other-weights", weight=1),))
    return root


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "batch.npy"
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    np.save(path, coarse.repeat(8, axis=1).repeat(8, axis=2))
    return path


@pytest.fixture(scope="module")
def served(probe: Probe, root: Path, batch: Path) -> dict[str, dict]:
    names = sorted({path.name for path in root.iterdir()} - {"large"})
    return probe("serving_probe.serve", "openvino", root, "openvino", batch, *names, "absent")


def by_hand(batch: Path, weights: tuple[float, ...]) -> np.ndarray:
    return logits_by_hand(np.load(batch).mean(axis=(1, 2, 3)) / 255, weights)


def test_a_network_is_served_as_it_was_built(served: dict[str, dict], batch: Path) -> None:
    assert np.array(served["causes"]["logits"]) == pytest.approx(by_hand(batch, (-6, 1, 2)), abs=1e-3)
    assert served["causes"]["dtype"] == "float32"


@pytest.mark.parametrize("name", ["causes", "binary", "pair", "alike"])
def test_the_mean_over_the_places_is_the_images_logits(served: dict[str, dict], name: str) -> None:
    places = np.array(served[name]["places"])
    assert places.shape[:3] == (5, 4, 4)
    assert places.mean(axis=(1, 2)) == pytest.approx(np.array(served[name]["logits"]), abs=1e-4)
    assert places.std(axis=(1, 2)).min() > 0.02


@pytest.mark.parametrize("name", ["plain", "without-map", "mixed"])
def test_no_places_where_a_network_gives_none(served: dict[str, dict], name: str) -> None:
    assert served[name]["places"] is None


def test_an_ensemble_averages_its_members_calibrated_probabilities(
    served: dict[str, dict], root: Path, batch: Path
) -> None:
    causes = softmax(by_hand(batch, (-6, 1, 2)) / 1.5 + np.array([0, -0.5, -0.5]))
    reduced = np.stack([causes[:, 0], causes[:, 1] + causes[:, 2]], axis=1)
    mean = (2 * reduced + softmax(by_hand(batch, (-4, 4)))) / 3
    received = np.array(served["pair"]["logits"])
    assert np.exp(received) == pytest.approx(mean, abs=1e-3)
    assert served["pair"]["dtype"] == "float32"
    tempered = softmax(np.log(mean) / 2.0)
    assert read_spec(root / "pair").calibrate(received) == pytest.approx(tempered, abs=1e-3)


def test_an_ensemble_of_one_with_its_own_temperature_undone_is_its_member(served: dict[str, dict], root: Path) -> None:
    member, alone = read_spec(root / "causes"), read_spec(root / "alike").model_copy(update={"temperature": 1.0})
    assert alone.calibrate(np.array(served["alike"]["logits"])) == pytest.approx(
        member.calibrate(np.array(served["causes"]["logits"])), abs=1e-5
    )


def test_bfloat16_stays_near_float32(served: dict[str, dict]) -> None:
    assert np.array(served["bfloat16"]["logits"]) == pytest.approx(np.array(served["causes"]["logits"]), abs=0.05)


def test_tensorflow_serves_the_same(served: dict[str, dict], probe: Probe, root: Path, batch: Path) -> None:
    reference = probe("serving_probe.serve", "tensorflow", root, "tensorflow", batch, *GOOD, "no-network")
    assert "tensorflow cannot run its model.keras" in reference.pop("no-network")["refused"]
    for name, found in reference.items():
        tolerance = 0.05 if name == "bfloat16" else 1e-3
        assert np.array(found["logits"]) == pytest.approx(np.array(served[name]["logits"]), abs=tolerance), name
        assert (found["places"] is None) == (served[name]["places"] is None), name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong-size", "takes images shaped"),
        ("wrong-classes", "its spec names 2 classes"),
        ("other-weights", "is not the file that spec.json names"),
        ("no-network", "cannot run its model.keras"),
        ("no-weights", "has no model.keras"),
        ("cut", "has a damaged spec.json"),
        ("path", "members.0.name: String should match pattern"),
        ("weightless", "members.0.weight: Input should be greater than 0"),
        ("itself", "not the ensemble itself"),
        ("lonely", "Ensemble 'lonely' lacks a member. Model 'absent' has no spec.json"),
        ("sizes", "takes images of 32 pixels (stretch), its member"),
        ("nested", "is an ensemble itself"),
        ("classes", "its members have in common: normal, pneumonia"),
        ("digest", "its members are not those that spec.json names"),
        ("ill", "Model 'other-weights': model.keras is not the file"),
        ("absent", "has no spec.json"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused_in_a_sentence(served: dict[str, dict], name: str, words: str) -> None:
    assert words in served[name]["refused"]
    assert "\n" not in served[name]["refused"]
    assert served[name]["refused"].endswith(".")
