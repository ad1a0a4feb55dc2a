"""Convolutions rounded to eight bits a channel with error correction (gptq.py): what a graph is run for, and the sums.

A convolution is a matrix product over unfolded inputs, so the same correction holds: an output's inputs are the
samples under its taps. A transposed one is a product with the input samples themselves, one row an output and tap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from .channels import AXES, Grid, Rounded, is_large, weight_of
from .gptq import round_columns, spreading

COLUMNS = 64
"""Inputs whose errors are spread at a time."""
MARGINS = {1: 2.0, 2: 4.0}
"""How much farther than in calibration an input of so many bytes may reach before it is cut off. One byte has few steps
to spare."""
LEAST_SHARES = {1: 1 / 64, 2: 1.0}
"""Of the widest channel's span, which the others are rounded as if they had. Two bytes are fine enough for all channels
to share a step, and weights that are not scaled to their inputs' steps lose a third less by rounding."""
MOST_PRODUCTS = 1 << 26
"""Sums that are kept at once, unless one convolution has more: a quarter of a gigabyte."""
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Span:
    """Lowest and highest of each channel of a signal, [C] each."""

    low: F32
    high: F32

    @staticmethod
    def of(x: F32) -> Span:
        """Of a signal [C, samples]; zero is always within."""
        return Span(np.minimum(x.min(1), 0), np.maximum(x.max(1), 0))

    def joined(self, other: Span) -> Span:
        """Over both."""
        return Span(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def grid(self, count: int) -> Grid:
        """Bytes over the span and a margin; a channel that hardly moves is not made finer than LEAST_SHARES say."""
        width = (self.high - self.low) * MARGINS[count]
        step = (np.maximum(width, max(float(width.max()), 1e-6) * LEAST_SHARES[count]) / 255).astype(np.float32)
        middle = (self.high + self.low) / 2
        return Grid(step, np.clip(np.rint(127.5 - middle / step), 0, 255).astype(np.uint8), count)


@dataclass(frozen=True)
class Convolution:
    """A Conv or ConvTranspose over time.

    Args:
        weight: name.
        input: name of what it is applied to.
        shape: of the weight: [outputs, inputs, taps], transposed [inputs, outputs, taps].
        transposed: which of the two.
        dilation: samples between taps.
        pads: samples before and after.
        bytes: that each value of its input is rounded to; 0 leaves it in floats.
    """

    weight: str
    input: str
    shape: tuple[int, int, int]
    transposed: bool
    dilation: int = 1
    pads: tuple[int, int] = (0, 0)
    bytes: int = 0

    @property
    def inputs(self) -> int:
        """Columns of the matrix it is."""
        return self.shape[0] if self.transposed else self.shape[1] * self.shape[2]

    def products(self, x: F32) -> F32:
        """Sum of the inputs' outer products over a signal [inputs, samples]: [K, K]."""
        if not self.transposed:
            taps = self.shape[2]
            x = np.pad(x, ((0, 0), self.pads))
            count = x.shape[1] - (taps - 1) * self.dilation
            shifted = [x[:, tap * self.dilation : tap * self.dilation + count] for tap in range(taps)]
            x = np.stack(shifted, axis=1).reshape(-1, count)
        return x @ x.T

    def round(self, weight: F32, products: F32, span: Span) -> Rounded:
        """The weight in steps, of its own shape, with a scale an output.

        Args:
            weight: as the graph has it.
            products: of its inputs; they are used up.
            span: what its input reached over.
        """
        grid = span.grid(self.bytes) if self.bytes else None
        if grid is not None:
            weight = weight * (grid.step[:, None, None] if self.transposed else grid.step[:, None])
            steps = grid.step if self.transposed else np.repeat(grid.step, self.shape[2])
            products /= steps[:, None]
            products /= steps
        rows = weight.transpose(1, 2, 0) if self.transposed else weight
        most = np.abs(rows).reshape(len(rows), -1).max(1)
        scales = (np.maximum(most, 1e-12) / 127).astype(np.float32)
        matrix = rows.reshape(-1, self.inputs)
        steps = _round(matrix, spreading(products), np.repeat(scales, len(matrix) // len(rows)))
        shaped = steps.reshape(rows.shape)
        return Rounded(np.ascontiguousarray(shaped.transpose(2, 0, 1) if self.transposed else shaped), scales, grid)


def _round(matrix: F32, spread: F32, scale: F32) -> NDArray[np.int8]:
    left, steps = matrix.copy(), np.empty(matrix.shape, np.int8)
    for start in range(0, matrix.shape[1], COLUMNS):
        stop = min(start + COLUMNS, matrix.shape[1])
        part, errors = round_columns(left[:, start:stop], spread[start:stop, start:stop], scale, (-127.0, 127.0))
        steps[:, start:stop] = part
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    return steps


def convolutions(model: ir.Model, count: Callable[[str], int]) -> list[Convolution]:
    """All convolutions of a graph that are rounded: the large ones, and those whose inputs are, however small.

    Args:
        model: the graph.
        count: by a weight's name, how many bytes each value of its input is to be rounded to.
    """
    found = []
    for node in model.graph:
        weight = weight_of(node)
        if weight is None or node.op_type not in ("Conv", "ConvTranspose"):
            continue
        own = count(str(weight.name))
        if not own and not is_large(weight):
            continue
        pads = node.attributes.get("pads")
        dilations = node.attributes.get("dilations")
        before, after = pads.as_ints() if pads else (0, 0)
        x = node.inputs[0]
        assert x is not None
        assert AXES[node.op_type][0] == 1
        found.append(
            Convolution(
                str(weight.name),
                str(x.name),
                tuple(int(size) for size in weight.const_value.shape.numpy()),  # pyright: ignore
                node.op_type == "ConvTranspose",
                dilations.as_ints()[0] if dilations else 1,
                (before, after),
                own,
            )
        )
    return found


def correct(
    found: list[Convolution],
    weights: Callable[[str], F32],
    inputs: Callable[[list[str]], Iterator[dict[str, F32]]],
    tick: Callable[[float], None],
) -> dict[str, Rounded]:
    """Round convolutions, as many at a time as their sums fit memory.

    Args:
        found: of one graph.
        weights: reads a weight by name.
        inputs: runs the graph over the calibration signals and gives, for each, the named values [channels, samples].
        tick: told how much is done, 0 to 1.
    """
    rounded: dict[str, Rounded] = {}
    for group in _groups(found):
        products: dict[str, F32] = {}
        spans: dict[str, Span] = {}
        for values in inputs([each.input for each in group]):
            for each in group:
                x = values[each.input]
                span = Span.of(x)
                spans[each.weight] = spans[each.weight].joined(span) if each.weight in spans else span
                sums = each.products(x)
                if each.weight in products:
                    sums += products[each.weight]
                products[each.weight] = sums
        for each in group:
            sums, span = products.pop(each.weight), spans.pop(each.weight)
            rounded[each.weight] = each.round(weights(each.weight), sums, span)
            tick(len(rounded) / len(found))
    return rounded


def _groups(found: list[Convolution]) -> Iterator[list[Convolution]]:
    group: list[Convolution] = []
    for each in found:
        if group and sum(one.inputs**2 for one in (*group, each)) > MOST_PRODUCTS:
            yield group
            group = []
        group.append(each)
    if group:
        yield group
