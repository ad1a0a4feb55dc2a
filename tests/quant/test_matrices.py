"""Linear nodes of a graph become operators that ONNX Runtime has."""

import numpy as np
import onnxruntime as ort
import pytest

ir = pytest.importorskip("onnx_ir")

from omni_edge.quant import matrices as m  # noqa: E402
from omni_edge.quant.blocks import Scheme, pack  # noqa: E402

SCHEMES = [None, Scheme(8, 32), Scheme(4, 32), Scheme(4, 128, symmetric=False)]
WEIGHT = np.random.default_rng(0).standard_normal((48, 40)).astype(np.float32)
BIAS = np.random.default_rng(1).standard_normal(48).astype(np.float32)


def linear_model(bias=True, count=1):
    """x [n, 40] through `count` Linear nodes side by side, summed."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["a", "b", 40]))
    weights = [ir.Value(name=f"w{n}", const_value=ir.tensor(np.zeros((48, 40), np.float32))) for n in range(count)]
    constants = [*weights]
    nodes = []
    for n, weight in enumerate(weights):
        weight.const_value.name = weight.name
        feeds = [x, weight]
        if bias:
            constants.append(ir.Value(name=f"b{n}", const_value=ir.tensor(BIAS, name=f"b{n}")))
            feeds.append(constants[-1])
        nodes.append(ir.node(m.OPERATOR, feeds, domain=m.DOMAIN))
        nodes[-1].outputs[0].name = f"y{n}"
    result = nodes[-1].outputs[0]
    if count > 1:
        nodes.append(ir.node("Sum", [node.outputs[0] for node in nodes]))
        result = nodes[-1].outputs[0]
    result.name = "y"
    result.type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [result], nodes=nodes, initializers=constants, opset_imports={"": 21, m.DOMAIN: 1}, name="g")
    return ir.Model(graph, ir_version=10)


def matrix(weight=WEIGHT, reads=None):
    def rows(start, stop):
        if reads is not None:
            reads.append((start, stop))
        return weight[start:stop]

    return m.Matrix(*weight.shape, rows)


def rounding(scheme):
    return scheme and m.Rounding(scheme)


def run(model, tmp_path, x):
    ir.save(model, tmp_path / "g.onnx")
    return ort.InferenceSession(tmp_path / "g.onnx").run(None, {"x": x})[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_a_product_is_what_it_was(scheme, bias, tmp_path):
    model = linear_model(bias)
    m.lower(model, {"w0": matrix()}, rounding(scheme))
    x = np.random.default_rng(2).standard_normal((2, 3, 40)).astype(np.float32)
    weight = WEIGHT if scheme is None else pack(WEIGHT, scheme).matrix()
    wanted = x @ weight.T + (BIAS if bias else 0)
    y = run(model, tmp_path, x)
    # The kernel rounds what it multiplies with to eight bits as well.
    assert np.abs(y - wanted).max() < (1e-5 if scheme is None else 0.01) * np.abs(wanted).max()
    assert "w0" not in model.graph.initializers
    assert m.DOMAIN not in model.graph.opset_imports


def test_a_matrix_is_read_once_in_slabs_when_the_file_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(m, "SLAB_BYTES", 40 * 4 * 20)
    reads = []
    model = linear_model()
    m.lower(model, {"w0": matrix(reads=reads)}, m.Rounding(Scheme(4, 32, symmetric=False)))
    assert reads == []
    run(model, tmp_path, np.zeros((1, 1, 40), np.float32))
    assert reads == [(0, 20), (20, 40), (40, 48)]


def test_slabs_make_the_same_blocks(monkeypatch):
    for scheme in SCHEMES[1:]:
        whole = m.nearest(m.Rounding(scheme))("w", matrix())
        monkeypatch.setattr(m, "SLAB_BYTES", 1)
        parts = m.nearest(m.Rounding(scheme))("w", matrix())
        monkeypatch.undo()
        np.testing.assert_array_equal(whole.matrix(), parts.matrix())


@pytest.mark.parametrize("names", [[], ["w0", "w1", "w2"], ["w0", "other"]])
def test_no_matrix_is_passed_over(names):
    """A tracer that makes one of two weights, or loses one, must not go unseen."""
    with pytest.raises(ValueError, match="not used or not known"):
        m.lower(linear_model(count=2), dict.fromkeys(names, matrix()), None)


def test_a_packer_makes_the_blocks(tmp_path):
    scheme = Scheme(8, 32)
    model = linear_model(bias=False)
    m.lower(model, {"w0": matrix()}, m.Rounding(scheme), lambda name, given: pack(2 * given.rows(0, 48), scheme))
    x = np.ones((1, 1, 40), np.float32)
    wanted = 2 * x @ WEIGHT.T
    assert np.abs(run(model, tmp_path, x) - wanted).max() < 0.01 * np.abs(wanted).max()


def test_some_matrices_are_kept_finer(tmp_path):
    mixed = m.Rounding(Scheme(4, 32), finer=("w1",))
    model = linear_model(count=2)
    m.lower(model, {"w0": matrix(), "w1": matrix()}, mixed)
    bits = {node.inputs[1].name: node.attributes["bits"].as_int() for node in model.graph if node.op_type != "Sum"}
    assert bits == {"w0.values": 4, "w1.values": 8}
    assert m.nearest(mixed)("w1", matrix()).scheme == Scheme(8, 32)
    assert np.isfinite(run(model, tmp_path, np.ones((1, 1, 40), np.float32))).all()


@pytest.mark.parametrize("bias", [True, False])
def test_dynamic_rounding_multiplies_bytes(bias, tmp_path):
    model = linear_model(bias)
    m.lower(model, {"w0": matrix()}, m.Rounding(Scheme(8), dynamic=True))
    assert [node.op_type for node in model.graph] == ["DynamicQuantizeMatMul"]
    x = np.random.default_rng(2).standard_normal((2, 5, 40)).astype(np.float32)
    expected = x @ WEIGHT.T + (BIAS if bias else 0)
    assert np.abs(run(model, tmp_path, x) - expected).max() < 0.02 * np.abs(expected).max()


def test_dynamic_rounding_leaves_what_is_kept_finer_in_blocks():
    model = linear_model(count=2)
    m.lower(model, {"w0": matrix(), "w1": matrix()}, m.Rounding(Scheme(8), finer=("w1",), dynamic=True))
    assert sorted(node.op_type for node in model.graph) == ["DynamicQuantizeMatMul", "MatMulNBits", "Sum"]


@pytest.mark.parametrize("bias", [True, False])
def test_each_row_has_a_scale_of_its_own(bias, tmp_path):
    """A decoder's rows differ in size a thousandfold; one scale for all would leave nothing of the small ones."""
    model = linear_model(bias)
    m.lower(model, {"w0": matrix()}, m.Rounding(Scheme(8), dynamic=True, by_row=True))
    sizes = np.array([1e-3, 1, 1e3], np.float32)[None, :, None]
    x = np.random.default_rng(2).standard_normal((1, 3, 40)).astype(np.float32) * sizes
    x[:, 2, 7] *= 50
    product = x @ WEIGHT.T
    off = np.abs(run(model, tmp_path, x) - product - (BIAS if bias else 0))
    assert (off.max(-1) < 0.02 * np.abs(product).max(-1)).all()


def test_a_row_of_zeros_gives_the_bias(tmp_path):
    model = linear_model()
    m.lower(model, {"w0": matrix()}, m.Rounding(Scheme(8), dynamic=True, by_row=True))
    assert (run(model, tmp_path, np.zeros((1, 2, 40), np.float32)) == BIAS).all()
