"""The same quantised type on both engines: what differs is how each rounds activations, not what the weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp")

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.gguf import write_gguf
from omni_edge.export.graphs import open_graph
from omni_edge.export.precisions import BY_NAME
from omni_edge.export.subnetworks import write_decoder
from omni_edge.models.bundle import open_bundle
from omni_edge.runtime.decoder import OnnxDecoder
from omni_edge.runtime.llama import LlamaDecoder

pytestmark = [pytest.mark.torch, pytest.mark.slow]
NANO = Path(__file__).parents[2] / "models" / "nano"


def distance(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2) / np.mean(other**2)))


@pytest.mark.parametrize(("onnx", "llama", "share"), [("int8", "q8_0", 1.5), ("int4", "q4_0", 0.2)])
def test_both_engines_round_the_same_weights(onnx, llama, share, tmp_path):
    checkpoint, shape = Checkpoint(NANO / "checkpoint"), open_bundle(NANO / "bundle").manifest.thinker
    rows = 0.5 * np.random.default_rng(0).standard_normal((40, shape.rows)).astype(np.float32)
    positions = np.tile(np.arange(40), (3, 1))
    hidden = {}
    for name in ("fp32", onnx):
        write_decoder("thinker", checkpoint, tmp_path, BY_NAME[name].rounding, lambda _: None)
        decoder = OnnxDecoder(open_graph(tmp_path / "thinker.onnx"), shape)
        hidden[name] = decoder.extend(rows, positions)[0]
    write_gguf(checkpoint, "thinker", tmp_path, llama, lambda _: None)
    hidden[llama] = LlamaDecoder(tmp_path / "thinker.gguf", shape, threads=1).extend(rows, positions)[0]
    error = distance(hidden[onnx], hidden["fp32"])
    # Eight bits leave so little that rounding the activations, which each does its way, is all there is.
    assert distance(hidden[llama], hidden[onnx]) < share * error
    assert distance(hidden[llama], hidden["fp32"]) < 1.2 * error
