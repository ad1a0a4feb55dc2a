"""The anti-aliased activation against the reference's own modules."""

import numpy as np
import onnxruntime as ort
import pytest

ir = pytest.importorskip("onnx_ir")

from omni_edge.export.builder import GraphBuilder  # noqa: E402
from omni_edge.export.snake import Snakes, cosine_polynomial, scale  # noqa: E402
from omni_edge.export.vocoder import CLOSE, EXACT  # noqa: E402

pytestmark = pytest.mark.torch
CHANNELS = 16


@pytest.fixture(scope="module")
def logarithms() -> np.ndarray:
    """Of α and β: f32 [2, C]."""
    return (np.random.default_rng(0).standard_normal((2, CHANNELS)) * 0.5).astype(np.float32)


def reference(x, logarithms):
    import torch
    from transformers.models.qwen2_5_omni import modeling_qwen2_5_omni as reference

    alpha, beta = torch.from_numpy(logarithms)
    act = reference.Qwen2_5OmniSnakeBeta(CHANNELS)
    act.load_state_dict({"alpha": alpha, "beta": beta})
    with torch.no_grad():
        made = reference.Qwen2_5OmniAntiAliasedActivation1d(activation=act)(torch.from_numpy(x.transpose(0, 2, 1)))
    return made.numpy().transpose(0, 2, 1)


def built(logarithms, degree, path):
    alpha, beta = np.exp(logarithms)
    builder = GraphBuilder(None)  # type: ignore[arg-type]
    x = builder.input("x", ir.DataType.FLOAT, [1, "T", CHANNELS])
    scaled = builder.op("Mul", [x, builder.constant("scale", scale(alpha))])
    y = Snakes(builder, degree).apply(scaled, "act", "rate", alpha, beta)
    builder.declare(y, ir.DataType.FLOAT, [1, "T", CHANNELS])
    ir.save(builder.model("snake", [y]), path)
    return ort.InferenceSession(path)


@pytest.mark.parametrize(("degree", "most"), [(EXACT, 1e-4), (CLOSE, 2e-4)])
def test_it_is_the_reference_at_any_length_and_its_ends(degree, most, logarithms, tmp_path):
    session = built(logarithms, degree, tmp_path / "snake.onnx")
    for samples in (1, 2, 7, 16, 17, 50, 333):
        x = (np.random.default_rng(samples).standard_normal((1, samples, CHANNELS)) * 4).astype(np.float32)
        made = session.run(None, {"x": x})[0]
        expected = reference(x, logarithms)
        assert made.shape == x.shape
        assert np.abs(made - expected).max() < most
        assert np.abs(expected - x).max() > 100 * most


@pytest.mark.parametrize(("degree", "most"), [(2, 4.1e-4), (3, 6.5e-6), (4, 7.5e-8)])
def test_a_polynomial_squared_is_the_squared_cosine_over_half_a_turn(degree, most):
    turns = np.linspace(-0.5, 0.5, 1001)
    error = np.abs(np.polyval(cosine_polynomial(degree)[::-1], turns**2) ** 2 - np.cos(np.pi * turns) ** 2).max()
    assert most / 2 < error < most


def test_activations_of_one_rate_share_their_windows():
    builder = GraphBuilder(None)  # type: ignore[arg-type]
    snakes, alpha = Snakes(builder, CLOSE), np.ones(CHANNELS, np.float32)
    x = builder.input("x", ir.DataType.FLOAT, [1, "T", CHANNELS])
    counts = []
    for name, rate in (("one", "slow"), ("two", "slow"), ("three", "fast")):
        before = sum(node.op_type == "Range" for node in builder.nodes)
        x = snakes.apply(x, name, rate, alpha, alpha)
        counts.append(sum(node.op_type == "Range" for node in builder.nodes) - before)
    assert counts == [2, 0, 2]
