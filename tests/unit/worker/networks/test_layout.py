"""Transposes in exported graphs: fewer of them, the same answers."""

from collections.abc import Callable

import numpy as np
import openvino
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from openvino import Model, Node
from openvino import opset15 as ops

from worker.networks.layout import sink_transposes

IMAGE = (2, 4, 6, 3)
TO_FIRST, TO_LAST, SWAP = (0, 3, 1, 2), (0, 2, 3, 1), (0, 3, 2, 1)
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(3, 3, 3, 3)).astype(np.float32)
SCALES = [RANDOM.uniform(0.5, 2.0, 3).astype(np.float32) for _ in range(4)]


def turn(x: Node, order: tuple[int, ...]) -> Node:
    return ops.transpose(x, ops.constant(np.array(order)))


def convolve(x: Node) -> Node:
    """Convolve as Keras's OpenVINO backend does: around, and around again."""
    first = turn(x, TO_FIRST)
    return turn(ops.convolution(first, ops.constant(KERNEL), [1, 1], [1, 1], [1, 1], [1, 1]), TO_LAST)


def normalise(x: Node) -> Node:
    """Normalise as it does: with channels and rows changed over."""
    return turn(ops.batch_norm_inference(turn(x, SWAP), *SCALES, 1e-3), SWAP)


def pad(x: Node) -> Node:
    return ops.pad(x, np.array([0, 1, 2, 0]), np.array([0, 3, 0, 1]), "constant", np.float32(7))


STEPS: dict[str, Callable[[Node], Node]] = {
    "convolve": convolve,
    "normalise": normalise,
    "relu": ops.relu,
    "clamp": lambda x: ops.clamp(x, 0.0, 6.0),
    "double": lambda x: ops.add(x, x),
    "beside itself": lambda x: ops.add(x, ops.sigmoid(x)),
    "a number": lambda x: ops.multiply(x, np.float32(3)),
    "a number each channel": lambda x: ops.add(x, np.array([1, 2, 3], np.float32)),
    "a number each row": lambda x: ops.add(x, np.arange(4, dtype=np.float32).reshape(4, 1, 1)),
    "a whole image": lambda x: ops.subtract(x, np.arange(72, dtype=np.float32).reshape(1, 4, 6, 3)),
    "mean of rows": lambda x: ops.add(x, ops.reduce_mean(x, np.array([1]), keep_dims=True)),
}


def model(*steps: Callable[[Node], Node]) -> Model:
    x = images = ops.parameter(IMAGE, np.float32)
    for step in steps:
        x = step(x)
    return Model([x], [images], "test")


def run(graph: Model) -> np.ndarray:
    compiled = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    images = np.random.default_rng(1).normal(size=IMAGE).astype(np.float32)
    return np.array(compiled(images)[0])


def transposes(graph: Model) -> int:
    return sum(node.get_type_name() == "Transpose" for node in graph.get_ordered_ops())


def check(*steps: Callable[[Node], Node]) -> Model:
    graph = model(*steps)
    before = run(graph)
    sink_transposes(graph)
    np.testing.assert_allclose(run(graph), before, rtol=1e-4, atol=1e-4)
    return graph


@pytest.mark.parametrize("between", [name for name in STEPS if name != "mean of rows"])
def test_what_works_in_any_order_of_axes_stands_between_no_transposes(between: str) -> None:
    assert transposes(check(convolve, STEPS[between], convolve)) == 2


def test_a_concat_on_any_axis_keeps_its_meaning() -> None:
    for axis in (1, 2, 3, -1):
        graph = check(convolve, lambda x, axis=axis: ops.concat([x, ops.relu(x)], axis), ops.abs)
        assert transposes(graph) == 2


def test_a_pad_keeps_its_sides() -> None:
    assert transposes(check(convolve, pad, ops.relu)) == 2


def test_what_minds_the_order_reads_it_as_before() -> None:
    check(convolve, STEPS["mean of rows"], ops.relu, normalise, convolve)
    check(convolve, lambda x: ops.reshape(x, np.array([2, -1]), special_zero=False))


def test_two_that_come_in_different_orders_are_left_alone() -> None:
    def mixed(x: Node) -> Node:
        square = ops.slice(x, np.array([0, 0]), np.array([3, 3]), np.array([1, 1]), np.array([1, 2]))
        return ops.add(turn(square, (0, 2, 1, 3)), turn(square, (0, 3, 2, 1)))

    assert transposes(check(mixed, ops.relu)) == 2


def test_numbers_that_belong_to_an_operation_stay_numbers() -> None:
    assert transposes(check(convolve, lambda x: ops.swish(x, ops.constant(np.float32(1.5))), convolve)) == 2


def test_a_transpose_that_names_no_order_is_left_alone() -> None:
    check(convolve, lambda x: ops.transpose(x, ops.constant(np.array([], np.int64))), ops.relu)


@limits(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=6))
def test_a_graph_answers_as_before(names: list[str]) -> None:
    check(*[STEPS[name] for name in names])
