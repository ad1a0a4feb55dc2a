"""What lies between the vocoder's products of bytes, compiled for the processor at hand by numba (FACTS §6.3).

The activation doubles the rate of a signal, applies x + sin²(αx)/β, halves the rate again, and rounds what comes out
to the bytes that the next convolution multiplies. As operators of a graph these are thirty passes over memory, and were
seven tenths of the vocoder's time; here it is two, over a window that lies in the cache.

A signal [T, C] is flat memory in which a filter's taps lie C apart, so all loops run over neighbours, whatever the
channels. The doubled signal is kept as two, its even and its odd samples, and nothing is interleaved. Arrays have
AROUND rows more on either side for what filters touch there; beyond the ends the first and the last sample go on.

What is compiled first (some seconds) is kept beside this file, or in the user's cache folder.
"""

from __future__ import annotations

import llvmlite.binding as llvm
import numpy as np
from numba import njit

# Loops over a dozen arrays are vectorised only if LLVM may ask for each pair whether they overlap.
llvm.set_option("omni_edge", "-runtime-memory-check-threshold=128")

AROUND = 3
"""Rows on either side of a signal that filters touch."""
REACH = 5
"""Rows on either side of one that it hangs on: three for what its filter down touches, and three around those for the
filter up, of which neither reaches to the end of the other's doubled row."""
HALF = np.float32(0.5)
LEAST, MOST = np.float32(0), np.float32(255)
STEPS, MIDDLE = np.float32(256), np.float32(128)
"""Of a second byte: how many lie within one of the first, and which stands for zero."""
# Sums keep their order, so that a sample comes out the same wherever in a loop it lies: a byte that falls differently
# when speech is cut into other windows would be heard.
_FAST = {"contract", "nnan", "ninf", "nsz"}
_compiled = {"nogil": True, "fastmath": _FAST, "error_model": "numpy", "cache": True}
_ROW, _ROWS, _BYTES = "f4[::1]", "f4[:, ::1]", "u1[:, :, ::1]"


@njit(**_compiled)
def _doubled(x0, x1, x2, x3, x4, x5, x6, taps, cosine, scale, gain, even, odd):
    """Both halves of the bent signal from seven neighbours: t + gain·cos²(πt) with t = scale·(filtered x)."""
    t0, t1, t2, t3, t4, t5 = taps[11], taps[9], taps[7], taps[5], taps[3], taps[1]
    u0, u1, u2, u3, u4, u5 = taps[10], taps[8], taps[6], taps[4], taps[2], taps[0]
    c0, c1, c2, c3 = cosine[0], cosine[1], cosine[2], cosine[3]
    for i in range(even.size):
        a = (t0 * x0[i] + t1 * x1[i] + t2 * x2[i] + t3 * x3[i] + t4 * x4[i] + t5 * x5[i]) * scale[i]
        b = (u0 * x1[i] + u1 * x2[i] + u2 * x3[i] + u3 * x4[i] + u4 * x5[i] + u5 * x6[i]) * scale[i]
        off = a - np.floor(a + HALF)
        square = off * off
        cos = c0 + square * (c1 + square * (c2 + square * c3))
        even[i] = a + gain[i] * cos * cos
        off = b - np.floor(b + HALF)
        square = off * off
        cos = c0 + square * (c1 + square * (c2 + square * c3))
        odd[i] = b + gain[i] * cos * cos


@njit(**_compiled)
def _halved(e1, e2, e3, e4, e5, e6, o0, o1, o2, o3, o4, o5, t, per, zero, out):
    """The bent signal at half its rate; e and o are its even and odd samples, one row after the other."""
    for i in range(out.size):
        value = t[0] * o0[i] + t[1] * e1[i] + t[2] * o1[i] + t[3] * e2[i] + t[4] * o2[i] + t[5] * e3[i]
        value += t[6] * o3[i] + t[7] * e4[i] + t[8] * o4[i] + t[9] * e5[i] + t[10] * o5[i] + t[11] * e6[i]
        out[i] = value * per[i] + zero[i]


@njit(**_compiled)
def _rounded(values, coarse):
    """To bytes."""
    for i in range(values.size):
        coarse[i] = np.uint8(np.int32(min(max(values[i], LEAST), MOST) + HALF))


@njit(**_compiled)
def _rounded_twice(values, coarse, fine):
    """To bytes, and what these leave to others."""
    for i in range(values.size):
        first = np.floor(min(max(values[i], LEAST), MOST) + HALF)
        coarse[i] = np.uint8(np.int32(first))
        second = min(max((values[i] - first) * STEPS + MIDDLE, LEAST), MOST)
        fine[i] = np.uint8(np.int32(second + HALF))


@njit(**_compiled)
def _raise(x, taps, cosine, table, even, odd):
    """The bent signal at the doubled rate, its ends included."""
    channels = x.shape[1]
    count, width, middle = (len(x) - 2 * AROUND) * channels, table.shape[1], AROUND * channels
    for row in range(AROUND):
        x[row] = x[AROUND]
        x[-1 - row] = x[-1 - AROUND]
    flat, e, o = x.reshape(-1), even.reshape(-1), odd.reshape(-1)
    for start in range(0, count, width):
        size = min(count - start, width)
        at = [start + row * channels for row in range(7)]
        to = middle + start
        _doubled(
            flat[at[0] : at[0] + size], flat[at[1] : at[1] + size], flat[at[2] : at[2] + size],
            flat[at[3] : at[3] + size], flat[at[4] : at[4] + size], flat[at[5] : at[5] + size],
            flat[at[6] : at[6] + size], taps, cosine, table[0, :size], table[1, :size],
            e[to : to + size], o[to : to + size],
        )  # fmt: skip
    for row in range(AROUND):
        odd[row] = even[AROUND]
        even[row] = even[AROUND]
        even[-1 - row] = odd[-1 - AROUND]
        odd[-1 - row] = odd[-1 - AROUND]


@njit(**_compiled)
def _lower(even, odd, start, taps, table, out):
    """What comes of the bent signal's rows, flat and from `start` on, as much as `out` holds."""
    channels, size = even.shape[1], out.size
    e, o = even.reshape(-1), odd.reshape(-1)
    t = (
        taps[0], taps[1], taps[2], taps[3], taps[4], taps[5], taps[6], taps[7], taps[8], taps[9], taps[10], taps[11],
    )  # fmt: skip
    at = [start + row * channels for row in range(7)]
    e1, e2, e3 = e[at[1] : at[1] + size], e[at[2] : at[2] + size], e[at[3] : at[3] + size]
    e4, e5, e6 = e[at[4] : at[4] + size], e[at[5] : at[5] + size], e[at[6] : at[6] + size]
    o0, o1, o2 = o[at[0] : at[0] + size], o[at[1] : at[1] + size], o[at[2] : at[2] + size]
    o3, o4, o5 = o[at[3] : at[3] + size], o[at[4] : at[4] + size], o[at[5] : at[5] + size]
    _halved(e1, e2, e3, e4, e5, e6, o0, o1, o2, o3, o4, o5, t, table[2, :size], table[3, :size], out)


@njit(f"void({_ROWS}, {_ROW}, {_ROW}, {_ROWS}, {_ROWS}, {_ROWS}, {_BYTES}, i8, i8, i8)", **_compiled)
def activate(x, taps, cosine, table, even, odd, out, first, stop, place):
    """Activate a signal and round it.

    Args:
        x: f32 [T + 2·AROUND, C]; rows beyond the ends are filled in.
        taps: of both filters, f32 [12].
        cosine: factors of cos(πt) for |t| ≤ 1/2 as a polynomial of t², f32 [4].
        table: f32 [4, n], n a multiple of C: scale and gain of `_doubled`, and what a value is multiplied by and what
            is added to make it a byte; the channels' values again and again.
        even, odd: of the doubled signal, f32 [T + 2·AROUND, C]; what they hold does not matter.
        out: u8 [1, any, C], bytes; or [2, any, C], bytes and those of what they leave, 1/STEPS as large.
        first, stop: the rows that are made. One hangs on REACH rows on either side.
        place: the row of `out` that is made first.
    """
    _raise(x, taps, cosine, table, even, odd)
    channels, width = x.shape[1], table.shape[1]
    values = np.empty(width, np.float32)
    coarse, fine = out[0].reshape(-1)[place * channels :], out[-1].reshape(-1)[place * channels :]
    for start in range(first * channels, stop * channels, width):
        size, to = min(stop * channels - start, width), start - first * channels
        _lower(even, odd, start, taps, table, values[:size])
        if len(out) == 1:
            _rounded(values[:size], coarse[to : to + size])
        else:
            _rounded_twice(values[:size], coarse[to : to + size], fine[to : to + size])


@njit(f"void({_ROWS}, {_ROW}, {_ROW}, {_ROWS}, {_ROWS}, {_ROWS}, {_ROWS}, i8, i8, i8)", **_compiled)
def activate_floats(x, taps, cosine, table, even, odd, out, first, stop, place):
    """As `activate`, not rounded: `out` is f32 [any, C]."""
    _raise(x, taps, cosine, table, even, odd)
    channels, width, flat = x.shape[1], table.shape[1], out.reshape(-1)
    for start in range(first * channels, stop * channels, width):
        size, to = min(stop * channels - start, width), start + (place - first) * channels
        _lower(even, odd, start, taps, table, flat[to : to + size])


@njit(f"void({_ROWS}, {_ROWS}, {_ROW})", **_compiled)
def convolve(x, weight, out):
    """A convolution to a single channel: f32 [n + taps - 1, C] with weights [taps, C] to [n]."""
    for row in range(out.size):
        total = np.float32(0)
        for tap in range(len(weight)):
            for channel in range(x.shape[1]):
                total += x[row + tap, channel] * weight[tap, channel]
        out[row] = total


@njit(f"void({_BYTES}, i8, u1[:, ::1])", **_compiled)
def unfold(given, dilation, out):
    """The samples under each tap of a convolution, side by side.

    Args:
        given: u8 [planes, T + (taps - 1)·dilation, C].
        dilation: samples between taps.
        out: u8 [planes·T, taps·C].
    """
    planes, length, channels = given.shape
    taps = out.shape[1] // channels
    count = length - (taps - 1) * dilation
    flat = given.reshape(-1)
    # Without dilation they lie side by side already.
    run = out.shape[1] if dilation == 1 else channels
    for plane in range(planes):
        for row in range(count):
            target = out[plane * count + row]
            for tap in range(out.shape[1] // run):
                start = (plane * length + row + tap * dilation) * channels
                source, place = flat[start : start + run], target[tap * run : (tap + 1) * run]
                for i in range(run):
                    place[i] = source[i]


@njit(f"void({_ROWS}, {_ROWS})", **_compiled)
def join(sums, out):
    """Products of first and of second bytes, f32 [2·T, C], to what they are together, f32 [T, C]."""
    count = len(out) * out.shape[1]
    first, second, flat = sums.reshape(-1)[:count], sums.reshape(-1)[count:], out.reshape(-1)
    for i in range(count):
        flat[i] = first[i] + second[i] / STEPS
