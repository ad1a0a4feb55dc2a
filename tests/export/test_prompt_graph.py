"""The graph that reads long prompts: with floats it is the decoder's own, with bytes it is near it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from omni_edge.export.bundle import export_bundle
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.precisions import BY_NAME, choose
from omni_edge.export.subnetworks import write_prompt_graph
from omni_edge.models.bundle import open_bundle
from omni_edge.runtime import decoder as module
from omni_edge.runtime.decoder import OnnxDecoder
from omni_edge.runtime.engine import open_decoder, open_session, session_of

pytestmark = pytest.mark.torch
NETWORKS = ("thinker", "talker")
LENGTH = 40
cuts = st.lists(st.integers(1, LENGTH - 1), max_size=4, unique=True).map(sorted)
few = settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class Pair:
    """A decoder with a second graph, and without."""

    plain: OnnxDecoder
    helped: OnnxDecoder
    rows: np.ndarray
    positions: np.ndarray

    def read(self, decoder, edges):
        decoder.truncate(0)
        parts = [decoder.extend(self.rows[a:b], self.positions[:, a:b]) for a, b in itertools.pairwise(edges)]
        return np.concatenate([hidden for hidden, _ in parts]), parts[-1][1]


@pytest.fixture(scope="module")
def pairs(tiny, tmp_path_factory):
    """By network and whether the second graph is rounded."""
    bundle, checkpoint = open_bundle(tiny.bundle()), Checkpoint(tiny.checkpoint())
    made = {}
    for name, rounded in itertools.product(NETWORKS, (False, True)):
        folder = tmp_path_factory.mktemp("prompt")
        rounding = BY_NAME["int4-128+int8"].prompt if rounded else None
        graph, *_ = write_prompt_graph(name, checkpoint, folder, rounding, lambda _: None)
        shape, step = getattr(bundle.manifest, name), open_session(bundle, name, 1)
        prompt = session_of(folder / graph, 1, keep_in_file=True)
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((LENGTH, shape.rows), np.float32)
        positions = np.cumsum(rng.integers(0, 3, (3, LENGTH)), axis=1)
        made[name, rounded] = Pair(OnnxDecoder(step, shape), OnnxDecoder(step, shape, prompt), rows, positions)
    return made


@few
@example([1, 34], 6, 6, "thinker")  # the last six rows are as many as the second graph takes, and need logits
@given(cuts, st.integers(2, 9), st.integers(3, 20), st.sampled_from(NETWORKS))
def test_any_cut_equals_the_decoder_without_it(pairs, cut, least, most, name):
    pair = pairs[name, False]
    wanted = pair.read(pair.plain, [0, LENGTH])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PROMPT_ROWS", least)
        patch.setattr(module, "PREFILL_ROWS", most)
        found = pair.read(pair.helped, [0, *cut, LENGTH])
    for one, two in zip(found, wanted, strict=True):
        assert np.abs(one - two).max() < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_bytes_stay_near_floats(pairs, name, monkeypatch):
    pair = pairs[name, True]
    wanted, _ = pair.read(pair.plain, [0, LENGTH])
    monkeypatch.setattr(module, "PROMPT_ROWS", 4)
    found, _ = pair.read(pair.helped, [0, LENGTH])
    error = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    assert 0 < error.max() < 0.05


def test_short_prompts_are_left_to_the_first_graph(pairs):
    """Rounding would show."""
    pair = pairs["thinker", True]
    assert len(pair.rows) <= module.PROMPT_ROWS
    found, _ = pair.read(pair.helped, [0, LENGTH])
    wanted, _ = pair.read(pair.plain, [0, LENGTH])
    assert (found == wanted).all()


def test_a_bundle_names_it_and_the_runtime_finds_it(tiny, cheap, tmp_path):
    manifest = export_bundle(tiny.checkpoint(), tmp_path / "bundle", choice=choose(["thinker=int4-128+int8"]))
    graph = manifest.subnetworks["thinker"].on("onnx")
    assert graph.graph == "thinker.onnx"
    assert graph.prompt == "thinker.prompt.onnx"
    assert manifest.subnetworks["talker"].on("onnx").prompt is None
    bundle = open_bundle(tmp_path / "bundle")
    decoder = open_decoder(bundle, "thinker", "onnx", 1)
    plain = OnnxDecoder(open_session(bundle, "thinker", 1), bundle.manifest.thinker)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((module.PROMPT_ROWS + 9, bundle.manifest.thinker.rows), np.float32)
    places = np.broadcast_to(np.arange(len(rows)), (3, len(rows)))
    found, wanted = decoder.extend(rows, places)[0], plain.extend(rows, places)[0]
    assert 0 < np.abs(found - wanted).max() < 0.2 * np.abs(wanted).max()
