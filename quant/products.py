"""Convolutions as products of bytes: inputs are rounded on the way, sums stay exact.

A convolution over time is a matrix product of the samples under its taps, side by side, with its weights. ONNX Runtime
has such a product of bytes that gives floats (MatMulIntegerToFloat), so that only what goes in is rounded; its own
QLinearConv rounds what comes out as well, and ConvInteger is slower than floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from .channels import Grid, Rounded, weight_of
from .matrices import CONTRIB, lazy_value

STEPS, MIDDLE = 256, 128
"""Of a second byte: how many lie within one of the first, and which stands for zero."""


def as_products(model: ir.Model, rounded: Mapping[str, Rounded]) -> int:
    """Replace all convolutions whose rounded weight has a grid for its inputs, in place; returns how many."""
    graph, count = model.graph, 0
    for node in list(graph):
        weight = weight_of(node)
        if node.op_type not in ("Conv", "ConvTranspose") or weight is None or weight.name is None:
            continue
        found = rounded.get(weight.name)
        if found is None or found.grid is None:
            continue
        product = _Product(model, node, weight.name, found)
        output = product.build()
        graph.insert_before(node, product.nodes)
        node.outputs[0].replace_all_uses_with(output, replace_graph_outputs=True)
        graph.remove(node, safe=True)
        count += 1
    RemoveUnusedNodesPass()(model)
    graph.opset_imports[CONTRIB] = 1
    return count


@dataclass(frozen=True, eq=False)
class _Taps:
    """A convolution's int8 steps [rate·outputs, inputs, taps]; they give `rate` samples for one that goes in."""

    steps: NDArray[np.int8]
    pads: tuple[int, int]
    dilation: int = 1
    rate: int = 1

    @staticmethod
    def of(node: ir.Node, steps: NDArray[np.int8]) -> _Taps:
        attributes = node.attributes
        before, after = attributes["pads"].as_ints() if "pads" in attributes else (0, 0)
        if node.op_type == "ConvTranspose":
            return _Taps.phases(steps, attributes["strides"].as_ints()[0], before)
        return _Taps(steps, (before, after), attributes["dilations"].as_ints()[0] if "dilations" in attributes else 1)

    @staticmethod
    def phases(steps: NDArray[np.int8], rate: int, pad: int) -> _Taps:
        """A transposed one, [inputs, outputs, size]: each of `rate` neighbouring outputs meets its own of the taps.

        Output rate·m + p is the sum over j of input m-j times tap rate·j + p + pad.
        """
        inputs, outputs, size = steps.shape
        assert size - rate == 2 * pad
        before, after = (size - 1 - pad) // rate, (rate - 1 + pad) // rate
        phases = np.zeros((rate, outputs, inputs, before + after + 1), np.int8)
        for phase in range(rate):
            for place in range(phases.shape[3]):
                tap = rate * (before - place) + phase + pad
                if 0 <= tap < size:
                    phases[phase, :, :, place] = steps[:, :, tap].T
        return _Taps(phases.reshape(rate * outputs, inputs, -1), (before, after), rate=rate)


@dataclass(frozen=True, eq=False)
class _Given:
    """What a convolution is applied to: `samples` [1, T, C], cut, times factors [C or 1], plus shifts [C or 1].

    A step before it that does one of these to each channel is not done in floats, but where they become bytes.
    """

    samples: ir.Value | None
    """None: no turn is before it that could be taken back."""
    factors: NDArray[np.float64]
    shifts: NDArray[np.float64]
    cut: tuple[ir.Value | None, ...] = ()
    """The other inputs of a Slice."""

    @staticmethod
    def of(node: ir.Node) -> _Given:
        """Of a convolution: turned, shifted, multiplied and cut in this order backwards, or less of it."""
        turn = _step(node.inputs[0], "Transpose")
        if turn is None or turn.attributes["perm"].as_ints() != (0, 2, 1):
            return _Given(None, np.ones(1), np.zeros(1))
        value, factors, shifts = turn.inputs[0], np.ones(1), np.zeros(1)
        if (add := _step(value, "Add")) and (constant := _channels(add)) is not None:
            value, shifts = add.inputs[0], constant
        if (multiply := _step(value, "Mul")) and (constant := _channels(multiply)) is not None:
            value, factors = multiply.inputs[0], constant
        cut = _step(value, "Slice")
        if cut is None:
            return _Given(value, factors, shifts)
        return _Given(cut.inputs[0], factors, shifts, tuple(cut.inputs[1:]))


def _step(value: ir.Value | None, kind: str) -> ir.Node | None:
    """The node of this kind that made a value, if nothing else wants it."""
    node = value.producer() if value is not None and len(value.uses()) == 1 else None
    return node if node is not None and node.op_type == kind else None


def _channels(node: ir.Node) -> NDArray[np.float64] | None:
    """The constant [1, 1, C] that is a node's second input."""
    value = node.inputs[1]
    if value is None or value.const_value is None or len(value.const_value.shape) != 3:
        return None
    array = value.const_value.numpy()
    return array.reshape(-1).astype(np.float64) if array.shape[:2] == (1, 1) else None


class _Product:
    def __init__(self, model: ir.Model, node: ir.Node, name: str, weight: Rounded) -> None:
        self.graph, self.node, self.name = model.graph, node, name
        self.taps, self.grid = _Taps.of(node, weight.steps), weight.grid
        self.factors = np.tile(weight.scales, self.taps.rate)
        self.nodes: list[ir.Node] = []

    def build(self) -> ir.Value:
        """Input [1, C, T] -> output [1, C', T']; bytes are laid out by sample, [1, T, taps·C], for the product.

        ONNX Runtime drops a turn that another one before or after it takes back.
        """
        grid = self.grid
        assert grid is not None
        given = _Given.of(self.node)
        samples = given.samples or self.op("Transpose", [self.node.inputs[0]], {"perm": [0, 2, 1]})
        # One scale for all channels: ONNX Runtime is fifty times slower at one for each.
        per, zero = given.factors / grid.step, given.shifts / grid.step + grid.zero
        scaled = self.op("Mul", [samples, self.constant("per", per.astype(np.float32)[None, None])])
        scaled = self.op("Add", [scaled, self.constant("zero", zero.astype(np.float32)[None, None])])
        coarse = [self.shared("one", np.array(1, np.float32)), self.shared("none", np.array(0, np.uint8))]
        samples = self.op("QuantizeLinear", [scaled, *coarse])
        if grid.bytes == 2:
            samples = self.with_rest(scaled, samples, coarse)
        result = self.product(self.unfolded(self.cut(samples, given), grid), self.bias(grid))
        if grid.bytes == 2:
            result = self.joined(result)
        if self.taps.rate > 1:
            result = self.op("Reshape", [result, self.numbers("flat", 1, -1, len(self.factors) // self.taps.rate)])
        return self.op("Transpose", [result], {"perm": [0, 2, 1]})

    def with_rest(self, scaled: ir.Value, first: ir.Value, coarse: list[ir.Value]) -> ir.Value:
        """Bytes and those of what they leave, [2, T, C]: one product takes both, and reads its weights once."""
        rest = self.op("Sub", [scaled, self.op("DequantizeLinear", [first, *coarse])])
        fine = [self.shared("finer", np.array(1 / STEPS, np.float32)), self.shared("mid", np.array(MIDDLE, np.uint8))]
        return self.op("Concat", [first, self.op("QuantizeLinear", [rest, *fine])], {"axis": 0})

    def joined(self, products: ir.Value) -> ir.Value:
        """The rows of the first bytes, then those of the second: [1, 2·T, C] to their sum [1, T, C]."""
        rows = self.op("Reshape", [products, self.numbers("two", 2, -1)])
        total = self.op("MatMul", [self.shared("weights", np.array([[1, 1 / STEPS]], np.float32)), rows])
        return self.op("Reshape", [total, self.numbers("rows", 1, -1, len(self.factors))])

    def cut(self, samples: ir.Value, given: _Given) -> ir.Value:
        """Cutting bytes costs a quarter of cutting floats."""
        return self.op("Slice", [samples, *given.cut]) if given.cut else samples

    def unfolded(self, samples: ir.Value, grid: Grid) -> ir.Value:
        """Bytes [bytes, T, C] -> those under each tap, [1, bytes·T', taps·C].

        What is beyond the ends is zero, for which each channel has a byte of its own.
        """
        _, inputs, taps = self.taps.steps.shape
        if any(self.taps.pads):
            zero = np.stack([grid.zero, np.full_like(grid.zero, MIDDLE)][: grid.bytes])[:, None]
            edges = (self.constant(f"edge.{size}", np.tile(zero, (1, size, 1))) for size in self.taps.pads)
            before, after = edges
            samples = self.op("Concat", [before, samples, after], {"axis": 1})
        dilation = self.taps.dilation
        shifted = [self.shifted(samples, tap * dilation, (tap + 1 - taps) * dilation) for tap in range(taps)]
        samples = self.op("Concat", shifted, {"axis": 2}) if taps > 1 else samples
        return self.op("Reshape", [samples, self.numbers("flat", 1, -1, taps * inputs)]) if grid.bytes > 1 else samples

    def product(self, samples: ir.Value, bias: ir.Value) -> ir.Value:
        step = self.shared("step", np.array(1, np.float32))
        feeds = [samples, self.matrix(), step, self.scales(), None, None, bias]
        return self.op("MatMulIntegerToFloat", feeds, domain=CONTRIB)

    def bias(self, grid: Grid) -> ir.Value:
        """What the bytes that stand for zero sum up to is taken off again; of two bytes, each row's takes its share."""
        given = self.node.inputs[2] if len(self.node.inputs) > 2 else None
        steps, rate = self.taps.steps, self.taps.rate
        name = f"{self.name}.bias"

        def read() -> ir.TensorProtocol:
            zero = grid.zero + (MIDDLE / STEPS if grid.bytes == 2 else 0.0)
            zeros = np.einsum("oit,i->o", steps.astype(np.float64), zero.astype(np.float64)) * self.factors
            own = 0 if given is None or given.const_value is None else np.tile(given.const_value.numpy(), rate)
            share = STEPS / (STEPS + 1) if grid.bytes == 2 else 1.0
            return ir.tensor(((own - zeros) * share).astype(np.float32), name=name)

        return self.add(lazy_value(name, ir.DataType.FLOAT, [len(steps)], read))

    def shifted(self, samples: ir.Value, start: int, end: int) -> ir.Value:
        """All samples that a tap lies on; `end` counts from behind."""
        stop = end if end else np.iinfo(np.int64).max
        return self.op("Slice", [samples, self.numbers("at", start), self.numbers("at", stop), self.numbers("at", 1)])

    def matrix(self) -> ir.Value:
        steps = self.taps.steps
        outputs, inputs, taps = steps.shape
        name = f"{self.name}.steps"
        read = lambda: ir.tensor(steps.transpose(2, 1, 0).reshape(taps * inputs, outputs), name=name)  # noqa: E731
        return self.add(lazy_value(name, ir.DataType.INT8, [taps * inputs, outputs], read))

    def scales(self) -> ir.Value:
        name = f"{self.name}.scales"
        read = lambda: ir.tensor(self.factors, name=name)  # noqa: E731
        return self.add(lazy_value(name, ir.DataType.FLOAT, list(self.factors.shape), read))

    def op(
        self, kind: str, inputs: Sequence[ir.Value | None], attributes: dict[str, int | list[int]] | None = None,
        *, domain: str = "",
    ) -> ir.Value:  # fmt: skip
        node = ir.node(kind, inputs, attributes, domain=domain)
        node.outputs[0].name = f"{self.name}.{kind}.{len(self.nodes)}"
        self.nodes.append(node)
        return node.outputs[0]

    def constant(self, kind: str, value: np.ndarray) -> ir.Value:
        return self.stored(f"{self.name}.{kind}", value)

    def numbers(self, kind: str, *values: int) -> ir.Value:
        return self.shared(f"{kind}:{','.join(map(str, values))}", np.array(values, np.int64))

    def shared(self, name: str, value: np.ndarray) -> ir.Value:
        """A constant that all convolutions share."""
        return self.stored(f"products.{name}", value)

    def stored(self, name: str, value: np.ndarray) -> ir.Value:
        tensor = ir.tensor(value, name=name)
        return self.add(
            ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(value.shape))
        )

    def add(self, value: ir.Value) -> ir.Value:
        """The value, or the one of that name that is there."""
        name = str(value.name)
        if name not in self.graph.initializers:
            self.graph.initializers.add(value)
        return self.graph.initializers[name]
