"""A checkpoint behind the runtime's interfaces."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from omni_edge.export.full_precision import FullPrecision
from omni_edge.export.tiny import SHAPES
from omni_edge.models.bundle import inspect_bundle
from omni_edge.models.errors import BundleError
from omni_edge.models.manifest import VocoderPart
from omni_edge.runtime.encoders import AudioEncoder
from omni_edge.runtime.engine import open_decoder, open_session

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def bundle(tiny):
    return inspect_bundle(tiny.bundle("like-3b"))


@pytest.fixture(scope="module")
def full(tiny):
    return FullPrecision(tiny.checkpoint("like-3b"))


def test_the_runtimes_own_code_runs_it(bundle, full):
    mel = np.random.default_rng(0).standard_normal((bundle.manifest.audio.mels, 777)).astype(np.float32)
    sessions = (full.session("audio_encoder"), open_session(bundle, "audio_encoder", 1))
    ours, theirs = (AudioEncoder(session, bundle.manifest.audio).rows(mel) for session in sessions)
    assert np.abs(ours - theirs).max() < 1e-3 * np.abs(ours).max()


@pytest.mark.parametrize("name", ["thinker", "talker"])
def test_sequences_go_through_the_layers_together(bundle, full, name):
    rng, shape = np.random.default_rng(0), getattr(bundle.manifest, name)
    given = [
        (
            rng.standard_normal((length, shape.rows)).astype(np.float32),
            np.cumsum(rng.integers(0, 3, (3, length)), axis=1),
            np.array([0, length - 1]),
        )
        for length in (5, 9)
    ]
    parts = []
    found = list(full.logits(name, given, parts.append))
    assert parts == [layer / shape.layers for layer in range(shape.layers)]
    for (rows, positions, _), logits in zip(given, found, strict=True):
        decoder = open_decoder(bundle, name, "onnx", 1)
        stepped = [decoder.extend(rows[:1], positions[:, :1])[1], decoder.extend(rows[1:], positions[:, 1:])[1]]
        assert np.abs(logits - np.stack(stepped)).max() < 1e-3 * np.abs(logits).max()


@pytest.mark.parametrize("name", ["thinker", "talker"])
def test_matrices_of_a_full_precision_graph_are_the_checkpoints(bundle, full, name):
    layers = getattr(bundle.manifest, name).layers
    found = list(full.matrices(name, bundle.path(f"{name}.onnx")))
    assert {matrix.error for matrix in found} == {0}
    assert {matrix.part for matrix in found if matrix.layer == layers - 1} == {"q k v", "o", "gate up", "down"}
    assert len(found) == 4 * layers + (1 if name == "thinker" else 2)


def test_matrices_of_a_gguf(tiny, full, tmp_path):
    pytest.importorskip("gguf")
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.gguf_decoder import write_decoder

    path = tmp_path / "thinker.gguf"
    write_decoder(Checkpoint(tiny.checkpoint("like-3b")), "thinker", path, "f16", lambda _: None)
    found = list(full.matrices("thinker", path))
    assert all(0 < matrix.error < 1e-3 for matrix in found)
    assert {matrix.part for matrix in found if matrix.layer == 0} == {"q", "k", "v", "o", "gate", "up", "down"}


def test_a_gguf_of_types_that_cannot_be_read_has_no_matrices_to_show(tiny, full, tmp_path):
    pytest.importorskip("llama_cpp")
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.gguf import write_gguf

    files = write_gguf(Checkpoint(tiny.checkpoint("like-3b")), "thinker", tmp_path, "q2_0", lambda _: None)
    assert list(full.matrices("thinker", tmp_path / files[0])) == []


def test_a_bundle_of_another_model_is_refused(tiny, bundle, full):
    other = next(shape.name for shape in SHAPES if shape.name != "like-3b")
    with pytest.raises(BundleError, match=r"was not exported from .*Name the checkpoint it was exported from"):
        FullPrecision(tiny.checkpoint(other)).check(bundle.manifest, bundle.folder)
    full.check(bundle.manifest, bundle.folder)
    changed = msgspec.structs.replace(bundle.manifest.vocoder, parts=(VocoderPart(rate=7, reach=1),))
    with pytest.raises(BundleError, match="hop of its vocoder is 7, not"):
        full.check(msgspec.structs.replace(bundle.manifest, vocoder=changed), bundle.folder)
