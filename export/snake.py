"""The vocoder's anti-aliased activation as an ONNX graph (FACTS §6.3).

It doubles the rate, applies x + sin²(αx)/β, and halves it again. Both filters have 12 taps. Over a window of BLOCK
samples either is a product with a banded matrix, so that a signal stays [1, T, C], as the products of bytes around it
want it: nothing is interleaved or turned round. The indices of the windows stop at the signal's ends, which repeats its
first and its last sample; those of the doubled signal likewise.

ONNX Runtime's `Sin` costs as much as ten multiplications, so sin² is 1 - cos², and the cosine a polynomial of the
square of what αx/π is off the nearest whole number. What each channel is multiplied by is left for after the filter
down, where there is half as much.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .builder import GraphBuilder

TAPS = 12
NEIGHBOURS = 3
"""Neighbours on either side that a filter at the doubled rate touches at the original rate."""
BLOCK = 16
"""Samples of a window. A longer one has less around it that is worked out twice, and more zeros in its matrices."""


def scale(alpha: np.ndarray) -> np.ndarray:
    """What a signal is multiplied by so that sin² has a period of 1, f32 [C]."""
    return (alpha / math.pi).astype(np.float32)


class Snakes:
    """Activations of one graph; those at one rate share the indices of their windows.

    Args:
        builder: takes the nodes.
        degree: of the cosine's polynomial in the square of its argument.
    """

    def __init__(self, builder: GraphBuilder, degree: int) -> None:
        self.builder = builder
        self.cosine = cosine_polynomial(degree)
        self.matrices = [
            builder.constant(f"snake.{name}", matrix)
            for name, matrix in zip(("up", "down"), band_matrices(), strict=True)
        ]
        self.shared: dict[str, ir.Value] = {}

    def apply(self, x: ir.Value, name: str, rate: str, alpha: np.ndarray, beta: np.ndarray) -> ir.Value:
        """Activate a signal [1, T, C].

        Args:
            x: times `scale(alpha)`.
            name: of the activation.
            rate: names all signals that are as long.
            alpha, beta: f32 [C].
        """
        op = self.builder.op
        gain = -(self.cosine[-1] ** 2) / (beta.astype(np.float64) + 1e-9)
        turns = self._filtered(x, rate, len(alpha), 1)
        share = self._channels(f"{name}.share", math.pi / alpha / gain)
        swung = op("Add", [op("Mul", [turns, share]), self._squared_cosine(turns)])
        y = self._filtered(swung, rate, len(alpha), 2)
        y = op("Slice", [y, self._number(0), self._length(x, rate), self._number(1)])
        y = op("Mul", [y, self._channels(f"{name}.gain", gain)])
        return op("Add", [y, self._channels(f"{name}.rest", 1 / (beta.astype(np.float64) + 1e-9))])

    def _filtered(self, x: ir.Value, rate: str, channels: int, density: int) -> ir.Value:
        """Up from the signal's own rate (density 1), or down from the doubled one (2)."""
        op = self.builder.op
        windows = op("Gather", [x, self._windows(x, rate, density)], {"axis": 1})
        shape = self.builder.constant(f"flat_{channels}", np.array([1, -1, channels], np.int64))
        return op("Reshape", [op("MatMul", [self.matrices[density - 1], windows]), shape])

    def _squared_cosine(self, turns: ir.Value) -> ir.Value:
        """cos²(π·turns) over the square of the polynomial's highest factor, by Horner's scheme."""
        op, factors = self.builder.op, self.cosine / self.cosine[-1]
        off = op("Sub", [turns, op("Round", [turns])])
        square = op("Mul", [off, off])
        value = square
        for power in range(len(factors) - 2, 0, -1):
            value = op("Mul", [op("Add", [value, self._factor(factors, power)]), square])
        value = op("Add", [value, self._factor(factors, 0)])
        return op("Mul", [value, value])

    def _windows(self, x: ir.Value, rate: str, density: int) -> ir.Value:
        """Indices i64 [windows, samples of one and what its filter touches around it]."""
        key = f"{rate}.windows.{density}"
        if key not in self.shared:
            op, size = self.builder.op, density * BLOCK
            around = NEIGHBOURS if density == 1 else TAPS // 2 - 1
            length = self._length(x, rate)
            if density == 2:
                length = op("Mul", [length, self._number(2)])
            count = op("Div", [op("Add", [length, self._number(size - 1)]), self._number(size)])
            zero, one = (self.builder.constant(f"only_{value}", np.array(value, np.int64)) for value in (0, 1))
            order = op("Range", [zero, op("Squeeze", [count]), one])
            starts = op("Unsqueeze", [op("Mul", [order, self._number(size)]), self._number(1)])
            offsets = self.builder.constant(f"offsets_{density}", np.arange(-around, size + around)[None])
            last = op("Sub", [length, self._number(1)])
            index = op("Min", [op("Max", [op("Add", [starts, offsets]), self._number(0)]), last])
            self.shared[key] = index
        return self.shared[key]

    def _length(self, x: ir.Value, rate: str) -> ir.Value:
        key = f"{rate}.length"
        if key not in self.shared:
            self.shared[key] = self.builder.op("Shape", [x], {"start": 1, "end": 2})
        return self.shared[key]

    def _channels(self, name: str, values: np.ndarray) -> ir.Value:
        return self.builder.constant(name, values.astype(np.float32)[None, None])

    def _factor(self, factors: np.ndarray, power: int) -> ir.Value:
        return self.builder.constant(f"cosine_{power}", np.array(factors[power], np.float32))

    def _number(self, value: int) -> ir.Value:
        return self.builder.constant(f"number_{value}", np.array([value], np.int64))


def cosine_polynomial(degree: int) -> np.ndarray:
    """Factors f64 [degree + 1] of cos(πx) for |x| ≤ 1/2 as a polynomial of x².

    It is squared, which makes errors count as much as the cosine does. So it meets the cosine in the middles of equal
    parts of x rather than in Chebyshev's points: the square's largest error is then a third, 4e-4 at degree 2, 6e-6 at
    3, 7e-8 at 4.
    """
    points = (np.arange(degree + 1) + 0.5) / (2 * degree + 2)
    return np.polyfit(points**2, np.cos(np.pi * points), degree)[::-1]


def band_matrices() -> tuple[np.ndarray, np.ndarray]:
    """The anti-aliasing filter (12 taps, cutoff 1/4, half width 0.3) over a window: up
    [2·BLOCK, BLOCK + 2·NEIGHBOURS], down [BLOCK, 2·BLOCK + TAPS - 2], f32.

    With f the 12 taps and x the signal, the doubled signal y is (FACTS §6.3)
    y[2j] = 2·Σ f[11-2i]·x[j-3+i] and y[2j+1] = 2·Σ f[10-2i]·x[j-2+i] for i = 0..5; back again,
    z[j] = Σ f[k]·y[2j+k-5].
    """
    taps = kaiser_sinc(TAPS, cutoff=0.25, half_width=0.3)
    up = np.zeros((2 * BLOCK, BLOCK + 2 * NEIGHBOURS), np.float32)
    down = np.zeros((BLOCK, 2 * BLOCK + TAPS - 2), np.float32)
    for sample in range(BLOCK):
        up[2 * sample, sample : sample + TAPS // 2] = 2 * taps[11::-2]
        up[2 * sample + 1, sample + 1 : sample + 1 + TAPS // 2] = 2 * taps[10::-2]
        down[sample, 2 * sample : 2 * sample + TAPS] = taps
    return up, down


def kaiser_sinc(size: int, *, cutoff: float, half_width: float) -> np.ndarray:
    """Low-pass filter of even length `size`, sum 1; β from the stop-band attenuation (Kaiser 1974).

    The one filter of this network attenuates by 51 dB, in the upper range (above 50) of Kaiser's formula.
    """
    attenuation = 2.285 * (size // 2 - 1) * math.pi * 4 * half_width + 7.95
    assert attenuation > 50
    beta = 0.1102 * (attenuation - 8.7)
    time = np.arange(-size // 2, size // 2) + 0.5
    taps = np.kaiser(size, beta) * np.sinc(2 * cutoff * time)
    return taps / taps.sum()
