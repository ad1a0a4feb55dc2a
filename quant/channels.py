"""Weights of convolutions and tables in eight bits: bytes with one scale a channel, made floats again on the way.

A quarter of the size, and the arithmetic stays float. Of a table only the rows that are looked up are made floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .matrices import lazy_value

SMALLEST = 1024
"""Weights below which a tensor stays as it is: it would save less than its scales cost."""
AXES = {"Conv": (1, 0), "ConvTranspose": (1, 1), "Gather": (0, 0)}
"""Which input of an operator is its weight, and the weight's axis along which each channel has its own scale."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What the channels of an input are rounded to: bytes, step f32 [C] apart, of which zero uint8 [C] stands for 0."""

    step: NDArray[np.float32]
    zero: NDArray[np.uint8]
    bytes: int = 1
    """Two: what the first leaves is rounded as well, to a second byte 1/256 as far apart."""


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight of any shape as int8 steps, with one scale f32 a channel."""

    steps: NDArray[np.int8]
    scales: NDArray[np.float32]
    grid: Grid | None = None
    """Of what it is applied to; the steps are then those of weight · grid.step. None: it is applied to floats."""


def by_channel(model: ir.Model, corrected: Mapping[str, Rounded] | None = None) -> int:
    """Store the weights of convolutions and tables as int8, in place; returns how many.

    Args:
        model: whose weights are initialisers.
        corrected: weights that were rounded before, by name; all others are rounded to the nearest.
    """
    stored: dict[str, tuple[ir.Value, ir.Value]] = {}
    floats: dict[str, ir.Value] = {}
    for node in list(model.graph):
        weight = weight_of(node)
        if weight is None or weight.name is None or not is_large(weight):
            continue
        place, axis = AXES[node.op_type]
        if weight.name not in stored:
            stored[weight.name] = _stored(model, weight, axis, (corrected or {}).get(weight.name))
        if node.op_type == "Gather":
            _look_up(model, node, *stored[weight.name])
            continue
        if weight.name not in floats:
            floats[weight.name] = _dequantised(model, node, weight, axis, stored[weight.name])
        node.replace_input_with(place, floats[weight.name])
    for name in stored:
        del model.graph.initializers[name]
    return len(stored)


def weight_of(node: ir.Node) -> ir.Value | None:
    """The weight of a node that can be stored as int8.

    Depthwise filters are not: they are few weights, and every sample goes through each of them.
    """
    if node.op_type not in AXES or node.domain not in ("", "ai.onnx"):
        return None
    group = node.attributes.get("group")
    is_depthwise = group is not None and group.as_int() > 1
    return None if is_depthwise else node.inputs[AXES[node.op_type][0]]


def is_large(weight: ir.Value) -> bool:
    """Whether it is stored as int8 where nothing else asks for it."""
    tensor = weight.const_value
    return (
        weight.is_initializer()
        and tensor is not None
        and tensor.dtype == ir.DataType.FLOAT
        and len(tensor.shape) > 1
        and math.prod(tensor.shape.numpy()) >= SMALLEST
    )


def _stored(model: ir.Model, weight: ir.Value, axis: int, given: Rounded | None) -> tuple[ir.Value, ir.Value]:
    """Steps and scales as initialisers."""
    tensor = weight.const_value
    assert tensor is not None
    shape = [int(size) for size in tensor.shape.numpy()]

    def part(
        kind: Callable[[NDArray[np.float32], int], NDArray[np.generic]], name: str
    ) -> Callable[[], ir.TensorProtocol]:
        return lambda: ir.tensor(kind(tensor.numpy(), axis), name=name)

    stored, scale = f"{weight.name}.int8", f"{weight.name}.scale"
    if given is None:
        read = part(rounded, stored), part(scales, scale)
    else:
        read = (lambda: ir.tensor(given.steps, name=stored)), (lambda: ir.tensor(given.scales, name=scale))
    values = (
        lazy_value(stored, ir.DataType.INT8, shape, read[0]),
        lazy_value(scale, ir.DataType.FLOAT, [shape[axis]], read[1]),
    )
    for value in values:
        model.graph.initializers.add(value)
    return values


def _dequantised(
    model: ir.Model, user: ir.Node, weight: ir.Value, axis: int, values: tuple[ir.Value, ir.Value]
) -> ir.Value:
    node = ir.node("DequantizeLinear", values, {"axis": axis})
    node.outputs[0].name = f"{weight.name}.float"
    node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), weight.shape
    model.graph.insert_before(user, node)
    return node.outputs[0]


def _look_up(model: ir.Model, node: ir.Node, steps: ir.Value, scale: ir.Value) -> None:
    """Rows of steps times rows of scales: a table is larger by far than what is looked up of it."""
    rows, own = (ir.node("Gather", [value, node.inputs[1]]) for value in (steps, scale))
    whole = ir.node("Cast", rows.outputs, {"to": ir.DataType.FLOAT})
    assert steps.shape is not None
    others = ir.node("Constant", [], {"value_ints": list(range(1 - len(steps.shape), 0))})
    column = ir.node("Unsqueeze", [*own.outputs, *others.outputs])
    product = ir.node("Mul", [*whole.outputs, *column.outputs])
    new, old = product.outputs[0], node.outputs[0]
    model.graph.insert_before(node, [rows, own, whole, others, column, product])
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name, new.shape, new.type = old.name, old.shape, old.type
    model.graph.remove(node, safe=True)


def scales(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """So that each channel's largest weight is 127 steps: [channels]."""
    others = tuple(index for index in range(values.ndim) if index != axis)
    return (np.maximum(np.abs(values).max(axis=others), 1e-12) / 127).astype(np.float32)


def rounded(values: NDArray[np.float32], axis: int) -> NDArray[np.int8]:
    """Steps, of the shape of the weight."""
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    return np.clip(np.rint(values / scales(values, axis).reshape(shape)), -127, 127).astype(np.int8)
