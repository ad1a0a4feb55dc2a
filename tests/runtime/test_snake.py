"""The compiled activation against the same worked out plainly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.snake import AROUND, REACH, activate, activate_floats, convolve, join, unfold

COSINE = np.array([1.0, -4.934802, 4.058712, -1.335263, 0.0], np.float32)[:4]  # cos(πt) to t⁶: 2e-2 at its worst
rows, channels = st.integers(1, 40), st.sampled_from([1, 3, 16, 24, 50])


def taps() -> np.ndarray:
    window = np.sinc((np.arange(12) - 5.5) / 2) * np.kaiser(12, 4.6)
    return (window / window.sum()).astype(np.float32)


def plain(x, filter_, scale, gain):
    """Doubled, bent and halved, in double precision; the cosine is the polynomial's."""
    count = len(x)
    padded = np.pad(x.astype(np.float64), ((3, 3), (0, 0)), "edge")
    doubled = np.empty((2 * count, x.shape[1]))
    doubled[::2] = sum(filter_[11 - 2 * place] * padded[place : place + count] for place in range(6))
    doubled[1::2] = sum(filter_[10 - 2 * place] * padded[place + 1 : place + 1 + count] for place in range(6))
    turns = doubled * scale
    off = turns - np.floor(turns + 0.5)
    bent = turns + gain * np.polyval(COSINE[::-1].astype(np.float64), off**2) ** 2
    bent = np.pad(bent, ((5, 5), (0, 0)), "edge")
    return sum(filter_[place] * bent[place : place + 2 * count : 2] for place in range(12))


@settings(max_examples=60)
@given(rows, channels, st.integers(0, 7), st.integers(1, 5), st.integers(0, 99))
def test_it_is_what_it_says_at_any_size_and_its_ends(count, width, edge, repeats, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((count, width)) * 4).astype(np.float32)
    scale, gain = rng.uniform(0.2, 1.5, width).astype(np.float32), rng.uniform(-1, 1, width).astype(np.float32)
    per, zero = np.full(width, 5, np.float32), rng.uniform(100, 150, width).astype(np.float32)
    table = np.ascontiguousarray(np.tile(np.stack([scale, gain, per, zero]), (1, repeats)))
    state, even, odd = (np.full((count + 2 * AROUND, width), np.nan, np.float32) for _ in range(3))
    state[AROUND:-AROUND] = x
    out = np.full((2, count + 2 * edge, width), 77, np.uint8)
    activate(state, taps(), COSINE, table, even, odd, out, 0, count, edge)
    wanted = np.clip(plain(x, taps(), scale, gain) * per + zero, 0, 255)
    middle = out[:, edge : edge + count].astype(float)
    made = middle[0] + (middle[1] - 128) / 256
    assert np.abs(made - wanted).max() < 1 / 256 + 1e-3
    assert (out[:, :edge] == 77).all()
    assert (out[:, edge + count :] == 77).all()
    assert (state[AROUND:-AROUND] == x).all()


def test_a_row_hangs_on_its_reach_and_comes_out_the_same_wherever_it_lies():
    rng, width = np.random.default_rng(0), 24
    table = np.tile(np.array([[0.7], [0.5], [9], [120]], np.float32), (1, 3 * width))

    def made(x, first, stop):
        state, even, odd = (np.empty((len(x) + 2 * AROUND, width), np.float32) for _ in range(3))
        state[AROUND:-AROUND] = x
        out = np.empty((2, stop - first, width), np.uint8)
        activate(state, taps(), COSINE, table, even, odd, out, first, stop, 0)
        return out

    x = (rng.standard_normal((60, width)) * 3).astype(np.float32)
    whole = made(x, 0, 60)
    for cut in range(1, 40):
        assert (made(x[cut:], REACH, 60 - cut) == whole[:, cut + REACH :]).all()
        assert (made(x[: 60 - cut], 0, 60 - cut - REACH) == whole[:, : 60 - cut - REACH]).all()
    # The row before that differs, by less than a byte.
    assert (made(x[7:], REACH - 1, 20) != whole[:, 7 + REACH - 1 : 27]).any()


@settings(max_examples=60)
@given(rows, channels, st.sampled_from([1, 3, 7, 11]), st.integers(1, 5))
def test_samples_lie_under_their_taps(count, width, size, dilation):
    x = np.random.default_rng(count).integers(0, 256, (2, count + (size - 1) * dilation, width), np.uint8)
    out = np.empty((2 * count, size * width), np.uint8)
    unfold(x, dilation, out)
    for plane in range(2):
        for tap in range(size):
            there = out[plane * count : (plane + 1) * count, tap * width : (tap + 1) * width]
            assert (there == x[plane, tap * dilation : tap * dilation + count]).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (100, 24)])
def test_two_products_become_one(shape):
    sums, out = (
        np.random.default_rng(0).standard_normal((2 * shape[0], shape[1])).astype(np.float32),
        np.empty(shape, "f4"),
    )
    join(sums, out)
    assert np.abs(out - (sums[: shape[0]] + sums[shape[0] :] / 256)).max() < 1e-6


@settings(max_examples=30)
@given(rows, channels, st.integers(0, 4), st.integers(0, 99))
def test_in_floats_it_is_the_same_unrounded(count, width, place, seed):
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((count, width)) * 4).astype(np.float32)
    scale, gain = rng.uniform(0.2, 1.5, width).astype(np.float32), rng.uniform(-1, 1, width).astype(np.float32)
    table = np.stack([scale, gain, np.full(width, 5, np.float32), np.full(width, 2, np.float32)])
    state, even, odd = (np.full((count + 2 * AROUND, width), np.nan, np.float32) for _ in range(3))
    state[AROUND:-AROUND] = x
    out = np.full((count + place, width), 77, np.float32)
    activate_floats(state, taps(), COSINE, table, even, odd, out, 0, count, place)
    assert np.abs(out[place:] - (plain(x, taps(), scale, gain) * 5 + 2)).max() < 1e-3
    assert (out[:place] == 77).all()


@pytest.mark.parametrize(("count", "size", "width"), [(1, 7, 24), (40, 7, 5), (40, 1, 3)])
def test_a_convolution_to_one_channel(count, size, width):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((count + size - 1, width)), rng.standard_normal((size, width))
    out = np.empty(count, np.float32)
    convolve(x.astype(np.float32), weight.astype(np.float32), out)
    assert np.abs(out - [np.sum(x[row : row + size] * weight) for row in range(count)]).max() < 1e-4
