import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.quant.blocks import Scheme, pack

SCHEMES = [Scheme(bits, block, symmetric) for bits in (4, 8) for block in (16, 32, 128) for symmetric in (True, False)]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_the_kernel_reads_the_blocks_as_we_do(scheme, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    inputs, outputs = 200, 24  # no whole number of blocks
    blocks, x = pack(normal(outputs, inputs), scheme), normal(3, inputs, seed=1)
    weights = [numpy_helper.from_array(blocks.values, "w"), numpy_helper.from_array(blocks.scales, "s")]
    names = ["x", "w", "s"]
    if blocks.zeros is not None:
        weights.append(numpy_helper.from_array(blocks.zeros, "z"))
        names.append("z")
    node = helper.make_node(
        "MatMulNBits", names, ["y"], domain="com.microsoft", K=inputs, N=outputs, bits=scheme.bits,
        block_size=scheme.block, accuracy_level=1,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, outputs])], weights,
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "g.onnx")
    y = ort.InferenceSession(tmp_path / "g.onnx").run(None, {"x": x})[0]
    np.testing.assert_allclose(y, x @ blocks.matrix().T, rtol=1e-4, atol=1e-3)


@given(st.integers(1, 70), st.integers(1, 9), st.sampled_from(SCHEMES), st.integers(0, 99))
def test_no_weight_moves_by_more_than_a_step(inputs, outputs, scheme, seed):
    matrix = normal(outputs, inputs, seed=seed)
    blocks = pack(matrix, scheme)
    step = np.repeat(np.abs(blocks.scales), scheme.block, axis=1)[:, :inputs]
    # Half a step from rounding; symmetric four bits also cut what lies a step beyond +7.
    most = 1.0 if scheme.symmetric and scheme.bits == 4 else 0.51
    assert (np.abs(blocks.matrix() - matrix) <= most * step + 1e-6).all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_zeros_stay_zeros_and_constants_survive(scheme):
    assert not pack(np.zeros((4, 64), np.float32), scheme).matrix().any()
    constant = pack(np.full((4, 64), -0.37, np.float32), scheme).matrix()
    np.testing.assert_allclose(constant, -0.37, rtol=0.01)


def test_more_bits_smaller_blocks_and_zero_points_are_nearer():
    matrix = np.abs(normal(32, 512))  # one-sided, where zero points pay

    def error(scheme):
        return np.square(pack(matrix, scheme).matrix() - matrix).mean()

    assert error(Scheme(8)) < error(Scheme(4)) / 50
    assert error(Scheme(4, 16)) < error(Scheme(4, 128))
    assert error(Scheme(4, 32, symmetric=False)) < error(Scheme(4, 32)) / 2


@pytest.mark.parametrize(("bits", "block"), [(3, 32), (8, 24), (4, 8)])
def test_what_no_kernel_reads_is_refused(bits, block):
    with pytest.raises(ValueError, match="no kernel; use"):
        Scheme(bits, block)
