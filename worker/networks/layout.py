"""The layout of an exported graph: channels first throughout, as OpenVINO computes.

Keras keeps channels last, and its OpenVINO backend transposes every layer's input and output: half of compact-cnn's
time went there. OpenVINO's own pass against this, TransposeSinking, runs only on graphs from TensorFlow.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import openvino
from openvino import opset15 as operations

_ELEMENTWISE: Final = {
    *("Abs", "Clamp", "Convert", "Elu", "Exp", "Gelu", "HSigmoid", "HSwish", "Negative", "Relu", "Sigmoid", "SoftPlus"),
    *("Sqrt", "Swish", "Tanh", "Add", "Divide", "Maximum", "Minimum", "Multiply", "SquaredDifference", "Subtract"),
}


class Transposed(NamedTuple):
    """The input of a transpose node, and its axis order."""

    source: openvino.Output
    order: tuple[int, ...]


def sink_transposes(model: openvino.Model) -> None:
    """Move transposes down the graph, past nodes that work in any axis order, until they cancel out."""
    for node in model.get_ordered_ops():
        if (turned := _read_transpose(node)) is not None:
            _join(node, turned)
        elif (order := _common_order(node)) is not None and (inputs := _turn_inputs(node, order)) is not None:
            _move_behind(node, order, inputs)
    model.validate_nodes_and_infer_types()


def _read_transpose(node: openvino.Node) -> Transposed | None:
    if node.get_type_name() != "Transpose" or (order := _constant(node.input_value(1))) is None:
        return None
    if not order.size:  # empty means: reverse the axes, however many
        return None
    return Transposed(node.input_value(0), tuple(int(axis) for axis in order))


def _join(node: openvino.Node, turned: Transposed) -> None:
    """Merge a transpose with the one before it, or drop both where they cancel out."""
    before = _read_transpose(turned.source.get_node())
    if before is None:
        return
    order = tuple(before.order[axis] for axis in turned.order)
    if order == tuple(range(len(order))):
        node.output(0).replace(before.source)
        return
    node.set_argument(0, before.source)
    node.set_argument(1, operations.constant(np.array(order)).output(0))


def _common_order(node: openvino.Node) -> tuple[int, ...] | None:
    """Return the axis order shared by a node's transposed inputs; None where there are none or they differ."""
    found = [_read_transpose(source.get_node()) for source in node.input_values()]
    orders = {turned.order for turned in found if turned is not None}
    return orders.pop() if len(orders) == 1 else None


def _turn_inputs(node: openvino.Node, order: tuple[int, ...]) -> list[openvino.Output] | None:
    """Return a node's inputs before their transposes; None where the node depends on the axis order."""
    kind, (first, *others) = node.get_type_name(), node.input_values()
    inputs: list[openvino.Output | None]
    if kind in _ELEMENTWISE or kind == "Concat":
        inputs = [_before(source) or _turn_back(source, order) for source in (first, *others)]
    elif kind == "Pad":
        inputs = [_before(first), *[_reorder(source, order) for source in others[:2]], *others[2:]]
    elif kind == "BatchNormInference" and order[:2] == (0, 1):  # channels are axis 1
        inputs = [_before(first), *others]
    else:
        return None
    return None if None in inputs else [source for source in inputs if source is not None]


def _move_behind(node: openvino.Node, order: tuple[int, ...], inputs: Sequence[openvino.Output]) -> None:
    """Move the transposes of a node's inputs behind the node."""
    readers = list(node.output(0).get_target_inputs())
    rank = len(order)
    for index, source in enumerate(inputs):
        node.set_argument(index, source)
    if node.get_type_name() == "Concat":
        node.set_attribute("axis", order[node.get_attributes()["axis"] % rank])
    node.validate_and_infer_types()
    turned = operations.transpose(node.output(0), operations.constant(np.array(order)))
    for reader in readers:
        reader.replace_source_output(turned.output(0))


def _before(source: openvino.Output) -> openvino.Output | None:
    turned = _read_transpose(source.get_node())
    return turned.source if turned else None


def _constant(source: openvino.Output) -> np.ndarray | None:
    """Return the value of a constant node; None for any other."""
    node = source.get_node()
    if node.get_type_name() == "Convert" and node.input_value(0).get_element_type() == node.get_element_type():
        node = node.input_value(0).get_node()
    return np.array(node.data) if node.get_type_name() == "Constant" else None


def _reorder(source: openvino.Output, order: tuple[int, ...]) -> openvino.Output | None:
    """Reorder a constant with one number per axis to the axis order before the transpose."""
    value = _constant(source)
    return None if value is None else operations.constant(value[np.argsort(order)]).output(0)


def _turn_back(source: openvino.Output, order: tuple[int, ...]) -> openvino.Output | None:
    """Transpose a constant so that it broadcasts before the transpose as it did behind it."""
    value = _constant(source)
    if value is None or value.ndim > len(order):
        return None
    if value.ndim == 0:
        return source
    filled = value.reshape((1,) * (len(order) - value.ndim) + value.shape)
    return operations.constant(filled.transpose(np.argsort(order))).output(0)
