"""Error-corrected rounding keeps what comes out nearer than rounding to the nearest does."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx_ir")

from omni_edge.quant.blocks import Scheme, pack
from omni_edge.quant.gptq import DAMPING, Corrector, spreading
from omni_edge.quant.matrices import Matrix

SCHEMES = [Scheme(4, 32), Scheme(4, 32, symmetric=False), Scheme(8, 16)]


def inputs(rng, rows, mixing):
    """Correlated, as activations are."""
    noise = 0.1 * rng.standard_normal((rows, mixing.shape[1]))
    return (rng.standard_normal((rows, len(mixing))) @ mixing + noise).astype(np.float32)


def both(width, outputs, scheme, seed):
    """Errors of the outputs on inputs not seen before: corrected, and to the nearest."""
    rng = np.random.default_rng(seed)
    weight, mixing = rng.standard_normal((outputs, width)).astype(np.float32), rng.standard_normal((width // 3, width))
    x, fresh = inputs(rng, 1000, mixing), inputs(rng, 400, mixing)
    corrected = Corrector(x.T @ x, scheme).pack(Matrix(outputs, width, lambda start, stop: weight[start:stop]))

    def error(blocks):
        return np.square(fresh @ (blocks.matrix() - weight).T).mean()

    return error(corrected), error(pack(weight, scheme)), corrected


@settings(max_examples=10)
@given(st.integers(33, 150), st.sampled_from(SCHEMES), st.integers(0, 99))
def test_outputs_are_nearer(width, scheme, seed):
    corrected, nearest, blocks = both(width, 24, scheme, seed)
    assert corrected < 0.7 * nearest
    assert blocks.matrix().shape == (24, width)


@pytest.mark.parametrize("size", [3, 64, 150, 301])
def test_the_spreading_is_the_factor_of_the_inverse(size):
    x = np.random.default_rng(0).standard_normal((2 * size, size), np.float32)
    products = x.T @ x
    upper = products.copy()
    assert spreading(upper) is upper
    np.testing.assert_array_equal(upper, np.triu(upper))
    damped = products + DAMPING * np.diagonal(products).mean() * np.eye(size)
    np.testing.assert_allclose(upper.T @ upper @ damped, np.eye(size), atol=1e-4)


def test_the_spreading_of_inputs_that_are_nearly_one_input():
    """All of the products lie in one direction; what keeps their factor apart from nothing is the damping alone."""
    size = 700
    x = np.ones((5, size), np.float32) + 1e-4 * np.random.default_rng(0).standard_normal((5, size), np.float32)
    products = x.T @ x
    upper = spreading(products.copy()).astype(np.float64)
    damped = products + DAMPING * np.diagonal(products).mean() * np.eye(size)
    wanted = np.linalg.inv(damped)
    assert np.abs(upper.T @ upper - wanted).max() < 1e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_inputs_that_are_never_there_do_no_harm(scheme):
    rng = np.random.default_rng(0)
    weight, x = rng.standard_normal((8, 64)).astype(np.float32), inputs(rng, 200, rng.standard_normal((20, 64)))
    x[:, 10:20] = 0
    blocks = Corrector(x.T @ x, scheme).pack(Matrix(8, 64, lambda start, stop: weight[start:stop]))
    assert np.isfinite(blocks.matrix()).all()
    nothing = np.zeros((64, 64), np.float32)
    blocks = Corrector(nothing, scheme).pack(Matrix(8, 64, lambda start, stop: weight[start:stop]))
    # Without anything to go by, weights move about as far as rounding moves them.
    step = np.repeat(np.abs(blocks.scales), scheme.block, axis=1)
    assert (np.abs(blocks.matrix() - weight) <= 2.5 * step).all()
