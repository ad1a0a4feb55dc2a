"""The vocoder's anti-aliased activation as an ONNX graph in which nothing is interleaved (FACTS §6.3).

It doubles the rate, applies x + sin²(αx)/β, and halves it again. Both filters have 12 taps and the function is
elementwise, so the doubled signal stays as two signals, its even samples and its odd ones: two filters of 7 taps up,
two down. The doubled signal's replicated edges are its first even and its last odd sample.

Written for what ONNX Runtime is fast at. A filter with one input and one output a channel over a signal
[1, C, 1, T] runs in its blocked layout, a fifth of the time of one with two. Its `Sin` runs on one thread and
without wide instructions, so sin² is 1/2 - cos(2αx)/2, and the cosine a polynomial of what αx/π is off the nearest
whole number. α/π is part of the filters up, 1/β of those down.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from numpy.polynomial import Chebyshev, Polynomial

from .builder import GraphBuilder

NEIGHBOURS = 3
"""Neighbours on either side that a 12-tap filter at the doubled rate touches at the original rate."""


def snake(
    builder: GraphBuilder, x: ir.Value, name: str, alpha: np.ndarray, beta: np.ndarray, *, degree: int
) -> ir.Value:
    """Apply it to a signal [1, T, C].

    Args:
        builder: takes the nodes.
        x: the signal.
        name: of the activation.
        alpha, beta: f32 [C].
        degree: of the cosine's polynomial in the square of its argument.
    """
    build = _Snake(builder, name)
    up, down = phase_filters()
    cosine = cosine_polynomial(degree)
    gain = -cosine[-1] / 2 / (beta.astype(np.float64) + 1e-9)  # what the polynomial over its highest factor counts
    doubled = build.to_channels(build.extended(x))
    even, odd = (
        build.to_samples(build.filter(doubled, f"up.{phase}", alpha[:, None] / math.pi * up[phase]))
        for phase in range(2)
    )
    first, last = build.rows(even, 0, 1), build.rows(odd, -1, None)
    share = builder.constant(f"{name}.share", (math.pi / alpha / gain).astype(np.float32)[None, None])
    halves = []
    for phase, signal in enumerate((even, odd)):
        turns = builder.op("Concat", [first] * NEIGHBOURS + [signal] + [last] * NEIGHBOURS, {"axis": 1})
        swung = builder.op("Add", [build.cosine(turns, cosine), builder.op("Mul", [turns, share])])
        rest = (1 - cosine[0]) / 2 / (beta + 1e-9) if phase else None
        halves.append(build.filter(build.to_channels(swung), f"down.{phase}", gain[:, None] * down[phase], rest))
    return build.to_samples(builder.op("Add", halves))


class _Snake:
    def __init__(self, builder: GraphBuilder, name: str) -> None:
        self.builder, self.name = builder, name

    def cosine(self, turns: ir.Value, factors: np.ndarray) -> ir.Value:
        """cos(2π·turns) but for its constant, over its highest factor: Horner's scheme in the square."""
        op = self.builder.op
        off = op("Sub", [turns, op("Round", [turns])])
        square = op("Mul", [off, off])
        value = square
        for power in range(len(factors) - 2, 0, -1):
            factor = np.array(factors[power] / factors[-1], np.float32)
            value = op("Add", [value, self.builder.constant(f"cosine_{len(factors)}_{power}", factor)])
            value = op("Mul", [value, square])
        return value

    def filter(self, x: ir.Value, kind: str, taps: np.ndarray, bias: np.ndarray | None = None) -> ir.Value:
        """One filter [taps] a channel over [1, C, 1, T], without edges."""
        name, channels = f"{self.name}.{kind}", len(taps)
        feeds = [x, self.builder.constant(name, taps.astype(np.float32)[:, None, None])]
        if bias is not None:
            feeds.append(self.builder.constant(f"{name}.bias", bias.astype(np.float32)))
        return self.builder.op("Conv", feeds, {"group": channels})

    def extended(self, x: ir.Value) -> ir.Value:
        """Its first and its last sample some more times."""
        first, last = self.rows(x, 0, 1), self.rows(x, -1, None)
        return self.builder.op("Concat", [first] * NEIGHBOURS + [x] + [last] * NEIGHBOURS, {"axis": 1})

    def rows(self, x: ir.Value, start: int, stop: int | None) -> ir.Value:
        end = np.iinfo(np.int64).max if stop is None else stop
        return self.builder.op("Slice", [x, self.place(start), self.place(end), self.place(1)])

    def to_channels(self, x: ir.Value) -> ir.Value:
        """[1, T, C] -> [1, C, 1, T]."""
        row = self.builder.op("Unsqueeze", [x, self.place(1)])
        return self.builder.op("Transpose", [row], {"perm": [0, 3, 1, 2]})

    def to_samples(self, x: ir.Value) -> ir.Value:
        """[1, C, 1, T] -> [1, T, C]."""
        row = self.builder.op("Transpose", [x], {"perm": [0, 2, 3, 1]})
        return self.builder.op("Squeeze", [row, self.place(1)])

    def place(self, value: int) -> ir.Value:
        return self.builder.constant(f"place_{value}", np.array([value], np.int64))


def cosine_polynomial(degree: int) -> np.ndarray:
    """Factors f64 [degree + 1] of cos(2πx) for |x| ≤ 1/2 as a polynomial of x², by Chebyshev's points.

    Its largest error is 1.5e-3 at degree 3, 4.2e-5 at 4, 8e-7 at 5.
    """
    series = Chebyshev.interpolate(lambda square: np.cos(2 * np.pi * np.sqrt(square)), degree, domain=[0, 0.25])
    return series.convert(kind=Polynomial).coef


def phase_filters() -> tuple[np.ndarray, np.ndarray]:
    """The anti-aliasing filter (12 taps, cutoff 1/4, half width 0.3) as phases: up [2, 7], down [2, 7], f32.

    With f the 12 taps and x the signal, the doubled signal y is (FACTS §6.3)
    y[2j] = 2·Σ f[11-2i]·x[j-3+i] and y[2j+1] = 2·Σ f[10-2i]·x[j-2+i] for i = 0..5; back again,
    z[j] = Σ f[k]·y[2j+k-5], whose odd k meet even samples from j-2 on and whose even k meet odd ones from j-3 on.
    """
    taps = kaiser_sinc(12, cutoff=0.25, half_width=0.3)
    up, down = np.zeros((2, 7), np.float32), np.zeros((2, 7), np.float32)
    up[0, :6], up[1, 1:] = 2 * taps[11::-2], 2 * taps[10::-2]
    down[0, 1:], down[1, :6] = taps[1::2], taps[0::2]
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
