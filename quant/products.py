"""Convolutions as products of bytes: inputs are rounded on the way, sums stay exact.

A convolution over time is a matrix product of the samples under its taps, side by side, with its weights. ONNX Runtime
has such a product of bytes that gives floats (MatMulIntegerToFloat), so that only what goes in is rounded; its own
QLinearConv rounds what comes out as well, and ConvInteger is slower than floats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .channels import Rounded

STEPS, MIDDLE = 256, 128
"""Of a second byte: how many lie within one of the first, and which stands for zero."""
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Product:
    """What a convolution is made of, with as many rows of bytes as each input value has; the rows' results go together
    as the first one's plus 1/STEPS of the second one's."""

    matrix: NDArray[np.int8]
    """[taps·inputs, outputs]; of one that raises the rate, outputs are those of `rate` neighbouring samples."""
    scales: F32
    """Of each output, [outputs]."""
    bias: F32
    """[outputs], added to every row of bytes."""
    given: F32
    """[2 + bytes, inputs]: a value times the first plus the second is rounded to its byte; then the bytes that stand
    for zero, as the samples beyond the ends do."""

    def after(self, factors: NDArray[np.float64], shifts: NDArray[np.float64]) -> Product:
        """The same of inputs that are yet to be multiplied and shifted, [inputs] each."""
        given = self.given.astype(np.float64)
        given[1] += given[0] * shifts
        given[0] *= factors
        return replace(self, given=given.astype(np.float32))


def product(rounded: Rounded, bias: F32 | None, rate: int = 0) -> Product:
    """Of a convolution.

    Args:
        rounded: its weight [outputs, inputs, taps], transposed [inputs, outputs, taps], with a grid.
        bias: [outputs].
        rate: it is a transposed one, and raises the rate as much; 0: it is none.
    """
    grid = rounded.grid
    assert grid is not None
    steps = phases(rounded.steps, rate) if rate else rounded.steps
    outputs, inputs, taps = steps.shape
    scales = np.tile(rounded.scales, rate or 1)
    # What the bytes that stand for zero sum up to is taken off again; of two bytes, each row's takes its share.
    zero = grid.zero + (MIDDLE / STEPS if grid.bytes == 2 else 0.0)
    zeros = np.einsum("oit,i->o", steps.astype(np.float64), zero.astype(np.float64)) * scales
    share = STEPS / (STEPS + 1) if grid.bytes == 2 else 1.0
    own = 0.0 if bias is None else np.tile(bias, rate or 1)
    edges = [grid.zero, np.full_like(grid.zero, MIDDLE)][: grid.bytes]
    return Product(
        matrix=steps.transpose(2, 1, 0).reshape(taps * inputs, outputs),
        scales=scales,
        bias=((own - zeros) * share).astype(np.float32),
        given=np.stack([1 / grid.step, grid.zero, *edges]).astype(np.float32),
    )


def phases(steps: NDArray[np.int8], rate: int) -> NDArray[np.int8]:
    """A transposed convolution, [inputs, outputs, size], as a plain one [rate·outputs, inputs, taps], with as many
    inputs before a sample as after it: each of `rate` neighbouring outputs meets its own of the taps.

    With `pad` = (size - rate)/2 samples cut off either end, output rate·m + p is the sum over j of input m-j times tap
    rate·j + p + pad.
    """
    inputs, outputs, size = steps.shape
    pad = (size - rate) // 2
    assert size - rate == 2 * pad
    around = (rate - 1 + pad) // rate
    made = np.zeros((rate, outputs, inputs, 2 * around + 1), np.int8)
    for phase in range(rate):
        for place in range(made.shape[3]):
            tap = rate * (around - place) + phase + pad
            if 0 <= tap < size:
                made[phase, :, :, place] = steps[:, :, tap].T
    return made.reshape(rate * outputs, inputs, -1)
