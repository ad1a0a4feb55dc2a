"""Convolutions as products of bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx_ir")
torch = pytest.importorskip("torch")

from omni_edge.quant import convolutions as c  # noqa: E402
from omni_edge.quant.channels import Rounded  # noqa: E402
from omni_edge.quant.products import STEPS, Product, phases, product  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((24, 12, 7)).astype(np.float32)
BIAS = RNG.standard_normal(24).astype(np.float32)


def signal(samples):
    """Channels of very different widths, all but one lopsided: [12, samples]."""
    width = np.geomspace(0.05, 4, 12)[:, None]
    return (width * (RNG.standard_normal((12, samples)) + np.r_[0, np.full(11, 1.5)][:, None])).astype(np.float32)


def rounded(weight, transposed, count, dilation=1):
    pads = (3 * dilation, 3 * dilation)
    one = c.Convolution("w", "x", weight.shape, transposed, dilation, (0, 0) if transposed else pads, count)
    return c.correct([one], lambda _: weight, lambda _: iter([{"x": signal(2000)}]), lambda _: None)["w"]


def multiplied(own: Product, x, dilation=1, rate=1):
    """As a runtime does it: values [C, T] to bytes, those under the taps side by side, times the matrix: [C', T']."""
    factor, shift, *edges = own.given
    values = x.T * factor + shift
    planes = [np.clip(np.rint(values), 0, 255)]
    if len(edges) == 2:
        planes.append(np.clip(np.rint((values - planes[0]) * STEPS + 128), 0, 255))
    taps, total = len(own.matrix) // x.shape[0], 0.0
    around = (taps - 1) * dilation // 2
    for plane, edge, weight in zip(planes, edges, (1, 1 / STEPS), strict=False):
        beyond = np.tile(edge, (around, 1))
        padded = np.concatenate([beyond, plane, beyond])
        rows = np.concatenate([padded[tap * dilation :][: len(plane)] for tap in range(taps)], axis=1)
        total = total + weight * (rows @ own.matrix.astype(np.float64) * own.scales + own.bias)
    return total.reshape(len(values) * rate, -1).T


def exact(x, weight, bias, dilation=1, rate=0):
    args = [torch.from_numpy(each) for each in (x[None], weight, bias)]
    if rate:
        return torch.nn.functional.conv_transpose1d(*args, stride=rate, padding=(weight.shape[2] - rate) // 2)[
            0
        ].numpy()
    return torch.nn.functional.conv1d(*args, padding="same", dilation=dilation)[0].numpy()


def error(made, whole) -> float:
    return float(np.square(made - whole).mean() / np.square(whole).mean())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_product_is_the_convolution_its_padded_ends_included(count, dilation):
    own = product(rounded(WEIGHT, False, count, dilation), BIAS)
    x = signal(300)
    made, whole = multiplied(own, x, dilation), exact(x, WEIGHT, BIAS, dilation)
    assert made.shape == whole.shape
    assert error(made, whole) < 3e-4
    assert error(made[:, :3], whole[:, :3]) < 3e-4
    assert error(made[:, -3:], whole[:, -3:]) < 3e-4


@pytest.mark.parametrize(("rate", "size"), [(5, 11), (3, 7), (2, 4), (2, 6)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_transposed_one_is_a_product_too(rate, size, count):
    weight = RNG.standard_normal((12, 24, size)).astype(np.float32)
    own = product(rounded(weight, True, count), BIAS, rate)
    x = signal(50)
    made, whole = multiplied(own, x, rate=rate), exact(x, weight, BIAS, rate=rate)
    assert made.shape == whole.shape
    assert error(made, whole) < 3e-4


@settings(max_examples=30)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 40), st.integers(0, 99))
def test_phases_are_the_transposed_convolution_to_the_last_step(rate, pad, length, seed):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-127, 128, (2, 3, rate + 2 * pad)).astype(np.int8)
    x = rng.integers(-9, 10, (2, length)).astype(np.float32)
    none = np.zeros(3, np.float32)
    plain = phases(steps, rate)
    made = exact(x, plain.astype(np.float32), np.zeros(len(plain), np.float32))
    whole = exact(x, steps.astype(np.float32), none, rate=rate)
    assert (whole == made.T.reshape(length * rate, 3).T).all()


def test_what_is_left_to_do_to_an_input_is_done_where_it_becomes_bytes():
    own = product(rounded(WEIGHT, False, 2), BIAS)
    factors, shifts = RNG.uniform(0.5, 2, 12), RNG.standard_normal(12)
    x, later = signal(100).T, own.after(factors, shifts)
    before = (x - shifts) / factors
    assert np.abs((before * later.given[0] + later.given[1]) - (x * own.given[0] + own.given[1])).max() < 1e-3
    assert (later.given[2:] == own.given[2:]).all()


def test_a_second_byte_takes_most_of_the_error_away():
    errors = []
    for count in (1, 2):
        # Weights that are steps already, so that what goes in is all that is rounded.
        ones = Rounded(np.ones(WEIGHT.shape, np.int8), np.ones(24, np.float32), c.Span.of(signal(2000)).grid(count))
        x = signal(300)
        whole = exact(x / ones.grid.step[:, None], np.ones_like(WEIGHT), BIAS)
        errors.append(np.abs(multiplied(product(ones, BIAS), x) - whole).max())
    assert errors[1] < errors[0] / 20


def test_a_channel_that_hardly_moves_is_not_made_finer_than_it_need_be():
    grid = c.Span(np.array([0, -1], np.float32), np.array([1e-9, 1], np.float32)).grid(1)
    assert grid.step[0] == pytest.approx(grid.step[1] * c.LEAST_SHARES[1])
    assert grid.zero[1] in (127, 128)


def test_two_bytes_have_one_step_for_all_channels():
    grid = c.Span(np.array([0, -1], np.float32), np.array([0.1, 1], np.float32)).grid(2)
    assert grid.step[0] == grid.step[1] == pytest.approx(2 * c.MARGINS[2] / 255)


def test_zero_and_more_than_the_span_are_within_the_bytes():
    span = c.Span(np.array([-0.5, 0], np.float32), np.array([3, 2], np.float32))
    grid = span.grid(1)
    low, high = (0 - grid.zero.astype(float)) * grid.step, (255 - grid.zero.astype(float)) * grid.step
    assert (low <= span.low * 1.1).all()
    assert (high >= span.high * 1.1).all()
