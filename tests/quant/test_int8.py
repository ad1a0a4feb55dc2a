import shutil

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from omni_edge.models.bundle import open_bundle  # noqa: E402
from omni_edge.quant.int8 import to_int8  # noqa: E402

RNG = np.random.default_rng(0)


def graph_file(path, nodes, weights, inputs, opset=21):
    """A model of float inputs [name -> shape] and one output y."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", values, [result], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


CASES = {
    "MatMul": ([helper.make_node("MatMul", ["x", "w"], ["y"])], normal(40, 64), (3, 40)),
    "Gemm": ([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], normal(64, 40), (3, 40)),
    "Conv": ([helper.make_node("Conv", ["x", "w"], ["y"])], normal(20, 12, 7), (1, 12, 30)),
    "ConvTranspose": (
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])],
        normal(20, 16, 4),
        (1, 20, 9),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_weights_become_bytes_with_a_scale_a_channel(tmp_path, kind):
    nodes, weight, shape = CASES[kind]
    path = graph_file(tmp_path / "g.onnx", nodes, {"w": weight}, {"x": shape})
    feeds = {"x": normal(*shape)}
    before = ort.InferenceSession(path).run(None, feeds)[0]
    assert to_int8(path) == 1
    after = ort.InferenceSession(path).run(None, feeds)[0]
    # Rounding is off by half a step of a 127th; sums of n such errors grow as the root of n, as the sums do.
    assert np.sqrt(np.mean((after - before) ** 2)) < 0.01 * before.std()
    assert not np.array_equal(after, before)
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(path).graph.initializer}
    assert stored["w.int8"] == TensorProto.INT8
    assert "w" not in stored


def test_a_channel_of_small_weights_keeps_its_precision(tmp_path):
    weight = normal(40, 64)
    weight[:, 0] *= 1e-4
    path = graph_file(tmp_path / "g.onnx", CASES["MatMul"][0], {"w": weight}, {"x": (3, 40)})
    feeds = {"x": normal(3, 40)}
    before = ort.InferenceSession(path).run(None, feeds)[0][:, 0]
    to_int8(path)
    after = ort.InferenceSession(path).run(None, feeds)[0][:, 0]
    assert np.abs(after - before).max() < 0.02 * np.abs(before).max()


def test_small_tensors_and_biases_stay(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])]
    path = graph_file(tmp_path / "g.onnx", nodes, {"w": normal(8, 8), "b": normal(8)}, {"x": (1, 8)})
    assert to_int8(path) == 0
    assert {tensor.data_type for tensor in onnx.load(path).graph.initializer} == {TensorProto.FLOAT}


@pytest.mark.slow
@pytest.mark.torch
def test_a_decoders_matrices_become_blocks_and_its_step_stays_the_same(tiny, tmp_path):
    source = tiny.bundle()
    bundle = tmp_path / "bundle"
    shutil.copytree(source, bundle)
    count = to_int8(bundle / "thinker.onnx")
    kinds = [node.op_type for node in onnx.load(bundle / "thinker.onnx").graph.node]
    assert kinds.count("MatMulNBits") == count
    assert "MatMul" not in kinds
    config = open_bundle(source).manifest.thinker
    feeds = {
        "rows": normal(1, 5, config.rows),
        "positions": np.tile(np.arange(5), (3, 1, 1)).astype(np.int64),
        "last_index": np.array([4], np.int32),
        "total": np.array(5, np.int32),
    }
    for layer in range(config.layers):
        for kind in ("key", "value"):
            feeds[f"past_{kind}.{layer}"] = np.zeros((1, config.kv_heads, 8, config.head_dim), np.float32)
    files = (source / "thinker.onnx", bundle / "thinker.onnx")
    whole, small = (ort.InferenceSession(file).run(["logits"], feeds)[0] for file in files)
    assert np.corrcoef(whole.ravel(), small.ravel())[0, 1] > 0.999
    rotary = 2 * config.context * config.head_dim // 2 * 4  # cos and sin, which stay floats
    sizes = [file.with_name("thinker.onnx.data").stat().st_size - rotary for file in files]
    assert sizes[1] < 0.35 * sizes[0]
