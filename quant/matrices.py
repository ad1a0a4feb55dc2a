"""Matrices of a graph that are read when the graph is written, in floats or in blocks.

Exporters write every matrix product as one node, omni_edge::Linear(x, weight, bias), with the weight as the checkpoint
has it, [outputs, inputs]. `lower` turns those nodes into operators that ONNX Runtime has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .blocks import Blocks, Scheme, joined, pack

DOMAIN, OPERATOR = "omni_edge", "Linear"
CONTRIB = "com.microsoft"
SLAB_BYTES = 64 << 20
"""Of floats that are read at once."""


@dataclass(frozen=True)
class Matrix:
    """Where a matrix comes from."""

    outputs: int
    inputs: int
    rows: Callable[[int, int], NDArray[np.float32]]
    """Rows start..stop, each an output's weights."""

    def slabs(self) -> list[tuple[int, int]]:
        """Starts and stops of slabs of rows that together are the matrix."""
        step = max(1, SLAB_BYTES // (4 * self.inputs))
        return [(start, min(start + step, self.outputs)) for start in range(0, self.outputs, step)]


FINE = Scheme(8, 32)


@dataclass(frozen=True)
class Rounding:
    """How the matrices of a graph are rounded."""

    scheme: Scheme
    finer: tuple[str, ...] = ()
    """Parts of the names of matrices that are kept finer, as llama.cpp's K-quant mixes keep some."""
    fine: Scheme = FINE
    """Of those."""
    dynamic: bool = False
    """Matrices that are not kept finer have eight bits with one scale an output, and rows are rounded to bytes on the
    way with one scale for all of them: integers throughout, which is fastest for many rows and wasted on one."""
    by_row: bool = False
    """With `dynamic`, each row has a scale of its own, for rows of very different size as a decoder has them."""

    def of(self, name: str) -> Scheme:
        """The scheme of a matrix."""
        return self.fine if self.is_finer(name) else self.scheme

    def is_finer(self, name: str) -> bool:
        """Whether a matrix is one of those."""
        return any(part in name for part in self.finer)


Packer = Callable[[str, Matrix], Blocks]
"""A matrix, by name, to blocks."""


def nearest(rounding: Rounding) -> Packer:
    """Round each weight to the nearest, a slab at a time."""

    def packed(name: str, matrix: Matrix) -> Blocks:
        return joined([pack(matrix.rows(start, stop), rounding.of(name)) for start, stop in matrix.slabs()])

    return packed


def lower(
    model: ir.Model, matrices: Mapping[str, Matrix], rounding: Rounding | None, packer: Packer | None = None
) -> None:
    """Replace all Linear nodes, in place.

    Args:
        model: whose Linear nodes take their weights from initialisers.
        matrices: by the name of the initialiser.
        rounding: to blocks; None keeps floats.
        packer: makes the blocks; None rounds to the nearest.

    Raises:
        ValueError: a matrix was given that the graph does not use, or is used without having been given.
    """
    graph = model.graph
    nodes = [node for node in graph if node.domain == DOMAIN and node.op_type == OPERATOR]
    used = {node.inputs[1].name for node in nodes if node.inputs[1] is not None}
    if used != set(matrices):
        raise ValueError(f"matrices {sorted(map(str, used ^ set(matrices)))[:3]} are either not used or not known")
    for node in nodes:
        x, weight = node.inputs[0], node.inputs[1]
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        assert x is not None
        assert weight is not None
        assert weight.name is not None
        matrix = matrices[weight.name]
        if rounding is None:
            new, values = _floats(x, weight.name, matrix, bias)
        elif rounding.dynamic and not rounding.is_finer(weight.name):
            new, values = (_byte_rows if rounding.by_row else _bytes)(x, weight.name, matrix, bias)
        else:
            new, values = _blocks(x, weight.name, matrix, rounding.of(weight.name), packer or nearest(rounding), bias)
        graph.insert_before(node, new)
        output = new[-1].outputs[0]
        node.outputs[0].replace_all_uses_with(output, replace_graph_outputs=True)
        output.name, output.shape, output.type = node.outputs[0].name, node.outputs[0].shape, node.outputs[0].type
        graph.remove(node, safe=True)
        for value in values:
            graph.initializers.add(value)
        if not weight.uses():
            del graph.initializers[weight.name]
    graph.opset_imports.pop(DOMAIN, None)
    graph.opset_imports[CONTRIB] = 1


def _floats(x: ir.Value, name: str, matrix: Matrix, bias: ir.Value | None) -> tuple[list[ir.Node], list[ir.Value]]:
    """MatMul takes [inputs, outputs]."""

    def read() -> ir.TensorProtocol:
        whole = np.empty((matrix.inputs, matrix.outputs), np.float32)
        for start, stop in matrix.slabs():
            whole[:, start:stop] = matrix.rows(start, stop).T
        return ir.tensor(whole, name=name)

    weight = lazy_value(f"{name}.T", ir.DataType.FLOAT, [matrix.inputs, matrix.outputs], read)
    nodes = [ir.node("MatMul", [x, weight])]
    if bias is not None:
        nodes[0].outputs[0].name = f"{name}.product"
        nodes.append(ir.node("Add", [nodes[0].outputs[0], bias]))
    return nodes, [weight]


def _bytes(x: ir.Value, name: str, matrix: Matrix, bias: ir.Value | None) -> tuple[list[ir.Node], list[ir.Value]]:
    """One scale for all rows of x."""
    values = _byte_weights(name, matrix)
    feeds = [x, *values] if bias is None else [x, *values, None, bias]
    return [ir.node("DynamicQuantizeMatMul", feeds, domain=CONTRIB)], values


def _byte_rows(x: ir.Value, name: str, matrix: Matrix, bias: ir.Value | None) -> tuple[list[ir.Node], list[ir.Value]]:
    """A scale for each row of x, whose largest element is 127 steps.

    Rows are stored unsigned, zero as 128: signed bytes have no fast kernel on x86.
    """
    steps, scales = _byte_weights(name, matrix)
    step = constant_value(f"{name}.step", np.array(1 / 127, np.float32))
    zero = constant_value(f"{name}.zero", np.array(128, np.uint8))
    axis = constant_value(f"{name}.axis", np.array([-1], np.int64))
    least = constant_value(f"{name}.least", np.array(1e-12, np.float32))
    nodes: list[ir.Node] = []

    def op(kind: str, *inputs: ir.Value | None, domain: str = "") -> ir.Value:
        nodes.append(ir.node(kind, inputs, domain=domain))
        nodes[-1].outputs[0].name = f"{name}.{kind}"
        return nodes[-1].outputs[0]

    largest = op("Max", op("ReduceMax", op("Abs", x), axis), least)
    stored = op("QuantizeLinear", op("Div", x, largest), step, zero)
    product = op("MatMulIntegerToFloat", stored, steps, step, scales, zero, domain=CONTRIB)
    product = op("Mul", product, largest)
    if bias is not None:
        op("Add", product, bias)
    return nodes, [steps, scales, step, zero, axis, least]


def _byte_weights(name: str, matrix: Matrix) -> list[ir.Value]:
    """Steps int8 [inputs, outputs], and a scale for each output, whose largest weight is 127 steps."""

    def scale(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return (np.maximum(np.abs(rows).max(1), 1e-12) / 127).astype(np.float32)

    def steps() -> ir.TensorProtocol:
        whole = np.empty((matrix.inputs, matrix.outputs), np.int8)
        for start, stop in matrix.slabs():
            rows = matrix.rows(start, stop)
            whole[:, start:stop] = np.rint(rows / scale(rows)[:, None]).T
        return ir.tensor(whole, name=f"{name}.steps")

    def scales() -> ir.TensorProtocol:
        return ir.tensor(np.concatenate([scale(matrix.rows(*slab)) for slab in matrix.slabs()]), name=f"{name}.scales")

    return [
        lazy_value(f"{name}.steps", ir.DataType.INT8, [matrix.inputs, matrix.outputs], steps),
        lazy_value(f"{name}.scales", ir.DataType.FLOAT, [matrix.outputs], scales),
    ]


def _blocks(
    x: ir.Value, name: str, matrix: Matrix, scheme: Scheme, packer: Packer, bias: ir.Value | None
) -> tuple[list[ir.Node], list[ir.Value]]:
    """MatMulNBits. At accuracy level 4 its kernel rounds activations to eight bits too, so that bytes meet bytes."""
    values = LazyBlocks(name, matrix, scheme, packer).values
    feeds: list[ir.Value | None] = [x, *values]
    if bias is not None:
        feeds += [None] * (5 - len(feeds)) + [bias]
    attributes = {
        "K": matrix.inputs, "N": matrix.outputs, "bits": scheme.bits, "block_size": scheme.block, "accuracy_level": 4,
    }  # fmt: skip
    return [ir.node("MatMulNBits", feeds, attributes, domain=CONTRIB)], values


class LazyBlocks:
    """A matrix's values, scales and zero points as graph values, rounded once when the first of them is written."""

    def __init__(self, name: str, matrix: Matrix, scheme: Scheme, packer: Packer) -> None:
        self._made: Blocks | None = None
        self._left = 0
        self._make = lambda: packer(name, matrix)
        count = -(-matrix.inputs // scheme.block)
        shapes = {"values": [matrix.outputs, count, scheme.block * scheme.bits // 8], "scales": [matrix.outputs, count]}
        if not scheme.symmetric:
            shapes["zeros"] = [matrix.outputs, -(-count * scheme.bits // 8)]
        self.values = [self._value(name, kind, shape) for kind, shape in shapes.items()]

    def _value(self, name: str, kind: str, shape: list[int]) -> ir.Value:
        dtype = ir.DataType.FLOAT if kind == "scales" else ir.DataType.UINT8
        full = f"{name}.{kind}"
        return lazy_value(full, dtype, shape, lambda: ir.tensor(self._take(kind), name=full))

    def _take(self, kind: str) -> NDArray[np.generic]:
        """One part; when all have been taken, none is kept."""
        if self._made is None:
            self._made, self._left = self._make(), len(self.values)
        part = getattr(self._made, kind)
        self._left -= 1
        if not self._left:
            self._made = None
        return part


def constant_value(name: str, array: NDArray[np.generic]) -> ir.Value:
    """A small initialiser."""
    tensor = ir.tensor(array, name=name)
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))


def lazy_value(name: str, dtype: ir.DataType, shape: list[int], read: Callable[[], ir.TensorProtocol]) -> ir.Value:
    """An initialiser that is made when the file is written."""
    tensor = ir.LazyTensor(read, dtype=dtype, shape=ir.Shape(shape), name=name)
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(dtype), shape=ir.Shape(shape))
