"""What a worker asks of its backend, without loading one."""

import pytest

from shared.errors import ModelUnavailable
from shared.images import gate
from shared.models.folder import SPEC_FILE
from shared.models.spec import ModelSpec
from shared.settings import Settings
from worker.networks.keras_file import check_shapes
from worker.networks.load import load_classifier
from worker.networks.openvino import _precision

IMAGE, LOGITS = (None, 64, 64, 1), (None, 3)


@pytest.mark.parametrize(
    ("wanted", "capabilities", "asked"),
    [
        ("f32", ["FP32", "BF16"], "f32"),
        ("bf16", ["FP32", "BF16"], "bf16"),
        ("bf16", ["FP32", "INT8"], "f32"),
    ],
)
def test_bfloat16_needs_the_model_and_the_processor(wanted: str, capabilities: list[str], asked: str) -> None:
    assert _precision(wanted, capabilities) == asked


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([IMAGE], [LOGITS]),
        ([IMAGE], [LOGITS, (None, 4, 4, 3)]),
        ([(None, None, None, 1)], [LOGITS, (None, None, None, 3)]),
    ],
    ids=["logits", "with places", "any size"],
)
def test_shapes_that_fit(spec: ModelSpec, inputs: list[tuple], outputs: list[tuple]) -> None:
    check_shapes(spec, inputs, outputs)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        ([(None, 32, 32, 1)], [LOGITS], "takes images shaped"),
        ([(None, 64, 64, 3)], [LOGITS], "takes images shaped"),
        ([(None, 4096)], [LOGITS], "takes images shaped"),
        ([IMAGE, IMAGE], [LOGITS], "takes images shaped"),
        ([IMAGE], [(None, 2)], "answers in shapes"),
        ([IMAGE], [(None, 4, 4, 3)], "answers in shapes"),
        ([IMAGE], [LOGITS, (None, 4, 4, 2)], "answers in shapes"),
        ([IMAGE], [LOGITS, LOGITS], "answers in shapes"),
        ([IMAGE], [LOGITS, (None, 4, 4, 3), (None, 4, 4, 3)], "answers in shapes"),
    ],
)
def test_shapes_that_do_not_fit(spec: ModelSpec, inputs: list[tuple], outputs: list[tuple], words: str) -> None:
    with pytest.raises(ModelUnavailable, match=words):
        check_shapes(spec, inputs, outputs)


def test_a_worker_does_not_start_with_another_gate_than_the_spec_names(settings: Settings, spec: ModelSpec) -> None:
    other = gate.default((1, 5)).model_copy(update={"sha256": "0" * 64})
    folder = settings.models_dir / spec.name
    folder.mkdir(parents=True)
    (folder / SPEC_FILE).write_text(spec.model_copy(update={"gate": other}).model_dump_json())
    with pytest.raises(ModelUnavailable, match=rf"Restore {gate.VERSION}\.npz"):
        load_classifier(settings.model_copy(update={"model": spec.name}))
