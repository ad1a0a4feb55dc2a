"""A graph's matrices, read back from what they are stored as."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from omni_edge.quant.blocks import Scheme, pack  # noqa: E402
from omni_edge.quant.measures import relative_rms  # noqa: E402
from omni_edge.quant.read_back import graph_matrices, layer_of, part_of, parts_of  # noqa: E402

MERGED = "thinker.model.layers.12.self_attn.q_proj.weight+k_proj+v_proj"


def graph_file(path, nodes, weights, *, external):
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    model = helper.make_model(helper.make_graph(nodes, "g", values, results, constants))
    onnx.save(model, path, save_as_external_data=external, location=f"{path.name}.data", size_threshold=0)
    return path


def whole(found):
    """In slabs of odd sizes, as any may be asked for."""
    starts = range(0, found.outputs, 7)
    return np.concatenate([found.rows(start, min(start + 7, found.outputs)) for start in starts])


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize("scheme", [Scheme(8, 32), Scheme(4, 16), Scheme(4, 32, symmetric=False)])
def test_blocks_are_made_floats_again(tmp_path, scheme, external):
    matrix = np.random.default_rng(0).standard_normal((24, 40)).astype(np.float32)
    blocks = pack(matrix, scheme)
    stored = {f"{MERGED}.values": blocks.values, f"{MERGED}.scales": blocks.scales}
    if blocks.zeros is not None:
        stored[f"{MERGED}.zeros"] = blocks.zeros
    node = helper.make_node(
        "MatMulNBits", ["x", *stored], ["y"], domain="com.microsoft",
        K=40, N=24, bits=scheme.bits, block_size=scheme.block,
    )  # fmt: skip
    [(name, found)] = graph_matrices(graph_file(tmp_path / "g.onnx", [node], stored, external=external))
    assert name == MERGED
    assert np.array_equal(whole(found), blocks.matrix())
    assert 0.001 < relative_rms([(matrix, whole(found))]) < 0.2


def test_floats_come_as_outputs_by_inputs(tmp_path):
    matrix = np.arange(80, dtype=np.float32).reshape(2, 40)
    nodes = [
        helper.make_node("Add", ["x", "thinker.bias.weight"], ["z"]),
        helper.make_node("MatMul", ["z", "thinker.lm_head.weight.T"], ["y"]),
    ]
    weights = {"thinker.lm_head.weight.T": np.ascontiguousarray(matrix.T), "thinker.bias.weight": matrix[:1]}
    [(name, found)] = graph_matrices(graph_file(tmp_path / "g.onnx", nodes, weights, external=True))
    assert name == "thinker.lm_head.weight"
    assert np.array_equal(whole(found), matrix)


def test_names():
    base = "thinker.model.layers.12.self_attn"
    assert parts_of(MERGED) == [f"{base}.{part}_proj.weight" for part in "qkv"]
    assert (layer_of(MERGED), part_of(MERGED)) == (12, "q k v")
    assert parts_of("thinker.lm_head.weight") == ["thinker.lm_head.weight"]
    assert (layer_of("thinker.lm_head.weight"), part_of("thinker.lm_head.weight")) == (None, "lm_head")
