"""Weights of convolutions and tables as bytes."""

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from omni_edge.quant.channels import by_channel  # noqa: E402

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CASES = {
    "Conv": (helper.make_node("Conv", ["x", "w"], ["y"]), normal(20, 12, 7), normal(1, 12, 30)),
    "ConvTranspose": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2]), normal(20, 16, 4), normal(1, 20, 9),
    ),
    "Gather": (helper.make_node("Gather", ["w", "x"], ["y"]), normal(50, 40), np.array([3, 49, 0])),
    "Gather, more axes": (helper.make_node("Gather", ["w", "x"], ["y"]), normal(50, 8, 5), np.array([[3, 49], [0, 1]])),
}  # fmt: skip


def model(node, weight, x):
    kind = TensorProto.FLOAT if x.dtype == np.float32 else TensorProto.INT64
    values = [helper.make_tensor_value_info("x", kind, x.shape)]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", values, [result], [numpy_helper.from_array(weight, "w")])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def run(graph, path, x):
    ir.save(graph, path)
    return ort.InferenceSession(path).run(None, {"x": x})[0]


@pytest.mark.parametrize("kind", CASES)
def test_weights_become_bytes_with_a_scale_a_channel(tmp_path, kind):
    node, weight, x = CASES[kind]
    before = run(model(node, weight, x), tmp_path / "a.onnx", x)
    graph = model(node, weight, x)
    assert by_channel(graph) == 1
    after = run(graph, tmp_path / "b.onnx", x)
    # Rounding is off by half a step of a 127th; sums of n such errors grow as the root of n, as the sums do.
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.01 * before.std()
    assert not np.array_equal(after, before)
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(tmp_path / "b.onnx").graph.initializer}
    assert stored == {"w.int8": TensorProto.INT8, "w.scale": TensorProto.FLOAT}


def test_a_channel_of_small_weights_keeps_its_precision(tmp_path):
    node, weight, x = CASES["Conv"]
    weight = weight.copy()
    weight[0] *= 1e-4
    before = run(model(node, weight, x), tmp_path / "a.onnx", x)[:, 0]
    graph = model(node, weight, x)
    by_channel(graph)
    after = run(graph, tmp_path / "b.onnx", x)[:, 0]
    assert np.abs(after - before).max() < 0.02 * np.abs(before).max()


def test_small_tensors_stay():
    node, _, x = CASES["Conv"]
    assert by_channel(model(node, normal(4, 12, 7), x)) == 0


def test_of_a_table_only_what_is_looked_up_becomes_floats(tmp_path):
    node, weight, x = CASES["Gather"]
    graph = model(node, weight, x)
    by_channel(graph)
    assert [each.op_type for each in graph.graph].count("DequantizeLinear") == 0
    steps = np.abs(weight).max(1, keepdims=True) / 127
    expected = np.rint(weight / steps)[x] * steps[x]
    assert np.allclose(run(graph, tmp_path / "a.onnx", x), expected, atol=1e-6)
