"""Convolutions as matrix products, and rounded with error correction."""

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from omni_edge.quant import convolutions as c  # noqa: E402
from omni_edge.quant.channels import Rounded, by_channel, rounded, scales  # noqa: E402


def model(kind, weight, attributes, channels):
    node = helper.make_node(kind, ["x", "w"], ["y"], **attributes)
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, "T"])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", values, [result], [numpy_helper.from_array(weight, "w")])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def run(graph, path, x):
    ir.save(graph, path)
    return ort.InferenceSession(path).run(None, {"x": x})[0]


def signal(rng, channels, samples):
    """Neighbours in time and channel go together, as in sound."""
    rough = rng.standard_normal((channels + 4, samples + 8))
    smooth = sum(rough[i : channels + i, j : samples + j] for i in range(5) for j in range(9))
    return smooth.astype(np.float32)


CASES = [
    ("Conv", (24, 12, 7), {"pads": [3, 3]}),
    ("Conv", (24, 12, 5), {"pads": [6, 6], "dilations": [3]}),
    ("Conv", (30, 40, 1), {}),
    ("ConvTranspose", (20, 16, 4), {"strides": [2], "pads": [1, 1]}),
]


@pytest.mark.parametrize(("kind", "shape", "attributes"), CASES)
def test_corrected_weights_keep_the_outputs_nearer(kind, shape, attributes, tmp_path):
    rng = np.random.default_rng(0)
    weight, channels = rng.standard_normal(shape).astype(np.float32), shape[0 if kind == "ConvTranspose" else 1]
    graph = model(kind, weight, attributes, channels)
    (found,) = c.convolutions(graph, lambda _: False)
    assert (found.weight, found.input, found.shape) == ("w", "x", shape)
    signals = [signal(rng, channels, 900) for _ in range(2)]
    corrected = c.correct([found], lambda _: weight, lambda names: ({names[0]: x} for x in signals), lambda _: None)
    fresh = signal(rng, channels, 500)[None]
    whole = run(graph, tmp_path / "whole.onnx", fresh)

    def error(given):
        rounded_graph = model(kind, weight, attributes, channels)
        assert by_channel(rounded_graph, given) == 1
        return np.square(run(rounded_graph, tmp_path / "g.onnx", fresh) - whole).mean()

    assert error(corrected) < 0.7 * error(None)
    axis = 1 if kind == "ConvTranspose" else 0
    np.testing.assert_array_equal(corrected["w"].scales, scales(weight, axis))
    assert np.abs(corrected["w"].steps.astype(int) - rounded(weight, axis)).max() < 40


@settings(max_examples=20)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 3), st.integers(0, 4), st.integers(0, 9))
def test_the_unfolded_inputs_are_those_under_the_taps(channels, taps, dilation, pad, seed):
    """trace(W H W') is the energy of the output."""
    rng = np.random.default_rng(seed)
    weight, x = rng.standard_normal((3, channels, taps)), rng.standard_normal((channels, 30))
    products = c.Convolution("w", "x", weight.shape, False, dilation, (pad, pad)).products(x)
    padded = np.pad(x, ((0, 0), (pad, pad)))
    count = padded.shape[1] - (taps - 1) * dilation
    out = np.zeros((3, count))
    for tap in range(taps):
        out += weight[:, :, tap] @ padded[:, tap * dilation : tap * dilation + count]
    matrix = weight.reshape(3, -1)
    np.testing.assert_allclose(np.trace(matrix @ products @ matrix.T), np.square(out).sum(), rtol=1e-9)


def test_as_many_at_a_time_as_memory_holds(monkeypatch):
    monkeypatch.setattr(c, "MOST_PRODUCTS", 200)
    found = [c.Convolution(f"w{n}", f"x{n}", (4, 10, 1), False) for n in range(5)]
    asked = []

    def inputs(names):
        asked.append(names)
        yield {name: np.ones((10, 50), np.float32) for name in names}

    done = []
    given = c.correct(found, lambda _: np.ones((4, 10, 1), np.float32), inputs, done.append)
    assert asked == [["x0", "x1"], ["x2", "x3"], ["x4"]]
    assert list(given) == [each.weight for each in found]
    assert done == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_depthwise_filters_stay_floats():
    weight = np.ones((64, 1, 24), np.float32)
    graph = model("Conv", weight, {"group": 64}, 64)
    assert c.convolutions(graph, lambda _: False) == []
    assert by_channel(graph, {"w": Rounded(np.zeros(1, np.int8), np.zeros(1, np.float32))}) == 0
