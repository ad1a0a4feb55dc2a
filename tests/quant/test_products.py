"""Convolutions as products of bytes."""

import numpy as np
import onnxruntime as ort
import pytest

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from omni_edge.quant import convolutions as c  # noqa: E402
from omni_edge.quant.channels import by_channel  # noqa: E402
from omni_edge.quant.products import as_products  # noqa: E402

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((24, 12, 7)).astype(np.float32)
BIAS = RNG.standard_normal(24).astype(np.float32)


def model(bias, dilation):
    node = helper.make_node(
        "Conv", ["x", "w", "b"][: 2 + bias], ["y"], pads=[3 * dilation] * 2, dilations=[dilation]
    )  # fmt: skip
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 12, "T"])]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    weights = [numpy_helper.from_array(WEIGHT, "w"), numpy_helper.from_array(BIAS, "b")][: 1 + bias]
    graph = helper.make_graph([node], "g", values, [result], weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def signal(samples):
    """Channels of very different widths, all but one lopsided."""
    width = np.geomspace(0.05, 4, 12)[:, None]
    return (width * (RNG.standard_normal((12, samples)) + np.r_[0, np.full(11, 1.5)][:, None])).astype(np.float32)


def run(graph, path, x):
    ir.save(graph, path)
    return ort.InferenceSession(path).run(None, {"x": x})[0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dilation", [1, 3])
def test_a_product_is_the_convolution(bias, dilation, tmp_path):
    graph = model(bias, dilation)
    (found,) = c.convolutions(graph, lambda _: 1)
    given = c.correct([found], lambda _: WEIGHT, lambda names: iter([{names[0]: signal(2000)}]), lambda _: None)
    x = signal(300)[None]
    whole = run(graph, tmp_path / "whole.onnx", x)
    assert as_products(graph, given) == 1
    assert by_channel(graph, given) == 0
    assert not set(graph.graph.initializers) & {"w", "b"}
    made = run(graph, tmp_path / "g.onnx", x)
    assert made.shape == whole.shape
    assert np.square(made - whole).mean() < 3e-4 * np.square(whole).mean()  # the ends, which are padded, included
    ends = np.r_[:3, -3:0]
    assert np.square(made - whole)[..., ends].mean() < 3e-4 * np.square(whole).mean()


def test_weights_whose_inputs_stay_floats_are_left_to_by_channel():
    graph = model(True, 1)
    (found,) = c.convolutions(graph, lambda _: 0)
    given = c.correct([found], lambda _: WEIGHT, lambda names: iter([{names[0]: signal(2000)}]), lambda _: None)
    assert as_products(graph, given) == 0
    assert by_channel(graph, given) == 1


def test_a_channel_that_hardly_moves_is_not_made_finer_than_it_need_be():
    grid = c.Span(np.array([0, -1], np.float32), np.array([1e-9, 1], np.float32)).grid(1)
    assert grid.step[0] == pytest.approx(grid.step[1] * c.LEAST_SHARE)
    assert grid.zero[1] in (127, 128)


def test_zero_and_more_than_the_span_are_within_the_bytes():
    span = c.Span(np.array([-0.5, 0], np.float32), np.array([3, 2], np.float32))
    grid = span.grid(1)
    low, high = (0 - grid.zero.astype(float)) * grid.step, (255 - grid.zero.astype(float)) * grid.step
    assert (low <= span.low * 1.1).all()
    assert (high >= span.high * 1.1).all()


@pytest.mark.parametrize(("rate", "size"), [(5, 11), (3, 7), (2, 4), (2, 6)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_transposed_one_is_a_product_too(rate, size, count, tmp_path):
    weight, pad = RNG.standard_normal((12, 24, size)).astype(np.float32), (size - rate) // 2
    node = helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"], pads=[pad] * 2, strides=[rate])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "C", "T"]) for name in "xy")
    weights = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(BIAS, "b")]
    opset = [helper.make_opsetid("", 21)]
    graph = ir.from_proto(
        helper.make_model(helper.make_graph([node], "g", [x], [y], weights), opset_imports=opset, ir_version=10)
    )
    (found,) = c.convolutions(graph, lambda _: count)
    given = c.correct([found], lambda _: weight, lambda names: iter([{names[0]: signal(2000)}]), lambda _: None)
    heard = signal(50)[None]
    whole = run(graph, tmp_path / "whole.onnx", heard)
    assert as_products(graph, given) == 1
    made = run(graph, tmp_path / "g.onnx", heard)
    assert made.shape == whole.shape
    assert np.square(made - whole).mean() < 3e-4 * np.square(whole).mean()


def test_a_second_byte_takes_most_of_the_error_away(tmp_path):
    errors = []
    for count in (1, 2):
        graph = model(True, 1)
        (found,) = c.convolutions(graph, lambda _, count=count: count)
        # Weights that are steps already, so that what goes in is all that is rounded.
        ones = c.Rounded(np.ones(WEIGHT.shape, np.int8), np.ones(24, np.float32), c.Span.of(signal(2000)).grid(count))
        x = signal(300)[None]
        made = run_product(graph, {found.weight: ones}, tmp_path / "g.onnx", x)
        tapped = np.pad(x[0], ((0, 0), (3, 3))) * ones.grid.step[:, None] ** -1
        exact = sum(tapped[:, tap : tap + 300].sum(0) for tap in range(7)) + BIAS[:, None]
        errors.append(np.abs(made[0] - exact).max())
    assert errors[1] < errors[0] / 20


def run_product(graph, given, path, x):
    as_products(graph, given)
    return run(graph, path, x)
