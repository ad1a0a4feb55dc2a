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

from .channels import AXES, Rounded, weight_of
from .gptq import round_columns, spreading

COLUMNS = 64
"""Inputs whose errors are spread at a time."""
MOST_PRODUCTS = 1 << 26
"""Sums that are kept at once, unless one convolution has more: a quarter of a gigabyte."""
F32 = NDArray[np.float32]


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
    """

    weight: str
    input: str
    shape: tuple[int, int, int]
    transposed: bool
    dilation: int = 1
    pads: tuple[int, int] = (0, 0)

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

    def round(self, weight: F32, products: F32) -> Rounded:
        """The weight in steps, of its own shape, with a scale an output; the products are used up."""
        rows = weight.transpose(1, 2, 0) if self.transposed else weight
        most = np.abs(rows).reshape(len(rows), -1).max(1)
        scales = (np.maximum(most, 1e-12) / 127).astype(np.float32)
        matrix = rows.reshape(-1, self.inputs)
        steps = _round(matrix, spreading(products), np.repeat(scales, len(matrix) // len(rows)))
        shaped = steps.reshape(rows.shape)
        return Rounded(np.ascontiguousarray(shaped.transpose(2, 0, 1) if self.transposed else shaped), scales)


def _round(matrix: F32, spread: F32, scale: F32) -> NDArray[np.int8]:
    left, steps = matrix.copy(), np.empty(matrix.shape, np.int8)
    for start in range(0, matrix.shape[1], COLUMNS):
        stop = min(start + COLUMNS, matrix.shape[1])
        part, errors = round_columns(left[:, start:stop], spread[start:stop, start:stop], scale, (-127.0, 127.0))
        steps[:, start:stop] = part
        left[:, stop:] -= errors @ spread[start:stop, stop:]
    return steps


def convolutions(model: ir.Model) -> list[Convolution]:
    """All convolutions of a graph whose weights `by_channel` would round."""
    found = []
    for node in model.graph:
        weight = weight_of(node)
        if weight is None or node.op_type not in ("Conv", "ConvTranspose"):
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
        for values in inputs([each.input for each in group]):
            for each in group:
                sums = each.products(values[each.input])
                if each.weight in products:
                    sums += products[each.weight]
                products[each.weight] = sums
        for each in group:
            rounded[each.weight] = each.round(weights(each.weight), products.pop(each.weight))
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
