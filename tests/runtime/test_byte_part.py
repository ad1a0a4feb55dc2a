"""nano's vocoder in bytes: what the runtime has compiled is what an export was checked by, and both are the network."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.graphs import open_graph
from omni_edge.export.precisions import BY_NAME
from omni_edge.export.subnetworks import export_vocoder
from omni_edge.export.vocoder import whole_vocoder
from omni_edge.export.vocoder_bytes_run import PlainPart, run_byte_parts
from omni_edge.export.voices import read_voices
from omni_edge.models.bundle import open_bundle
from omni_edge.models.errors import DeviceError
from omni_edge.quant.measures import signal_to_noise
from omni_edge.runtime import byte_part
from omni_edge.runtime.byte_layer import Layer
from omni_edge.runtime.engine import session_of
from omni_edge.runtime.vocoder import Vocoder
from omni_edge.runtime.vocoder_parts import product_threads, vocoder_of

pytestmark = pytest.mark.torch
NANO = Path(__file__).parents[2] / "models" / "nano"
SETTINGS = open_bundle(NANO / "bundle").manifest.vocoder


class Exported(NamedTuple):
    """Of nano's checkpoint."""

    graphs: list[Path]
    checkpoint: Checkpoint
    mel: np.ndarray
    """Of a voice, f32 [frames, bins]."""

    def vocoder(self, threads: int = 1, product_threads: int = 1) -> Vocoder:
        sessions = [session_of(path, product_threads, any_length=True) for path in self.graphs]
        return vocoder_of(sessions, SETTINGS, threads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Exported:
    folder, checkpoint = tmp_path_factory.mktemp("bytes"), Checkpoint(NANO / "checkpoint")
    files = export_vocoder(checkpoint, folder, BY_NAME["int8-dynamic"].rounding, lambda _: None).files
    mel = next(iter(read_voices(checkpoint.folder).values())).ref_mel[:170]
    return Exported([folder / file for file in files if file.endswith(".onnx")], checkpoint, mel)


def test_it_is_the_network(exported, tmp_path):
    with whole_vocoder(exported.checkpoint, tmp_path) as path:
        (sound,) = open_graph(path).run(None, {"rows": exported.mel[None]})
    made = exported.vocoder().run(exported.mel)
    assert made.shape == (len(exported.mel) * SETTINGS.hop,)
    assert signal_to_noise(np.asarray(sound).reshape(-1), made) > 38


def test_silence_stays_silent(exported, tmp_path):
    """What is rounded in steps that fit loud speech must not be heard where nobody speaks."""
    quiet = np.repeat(exported.mel[:1], 60, axis=0)
    with whole_vocoder(exported.checkpoint, tmp_path) as path:
        (sound,) = open_graph(path).run(None, {"rows": quiet[None]})
    error = exported.vocoder().run(quiet) - np.asarray(sound).reshape(-1)
    assert np.sqrt(np.square(sound).mean()) < 2e-3
    assert np.sqrt(np.square(error).mean()) < 4e-4


def test_each_layer_is_what_the_export_was_checked_by(exported):
    rows = exported.mel
    for path, part in zip(exported.graphs, exported.vocoder().parts, strict=True):
        plain = PlainPart(open_graph(path))
        x = rows if part.limits is None else np.clip(rows, *part.limits)
        for layer in (*part.pre, part.up):
            x = layer.begin().step(x, last=True)
        x = x.reshape(-1, part.blocks[0][0][0].channels)
        for step, dilation in enumerate(SETTINGS.dilations[0]):
            first, second = part.blocks[0][step]
            between = first.begin().step(x, last=True)
            added = second.begin().step(between, last=True)
            _are_same(between, plain.activated(f"0.{step}.0", x, dilation))
            _are_same(added, plain.activated(f"0.{step}.1", between))
            x = x + added
        rows = part.begin().step(rows, last=True)
        _are_same(rows, plain.activated("post", x) if part.post else x)


def _are_same(made, plain):
    """But where a value lies between two bytes and falls to either."""
    assert signal_to_noise(plain, made) > 60


def test_it_is_what_the_export_was_checked_by(exported):
    sessions = [open_graph(path) for path in exported.graphs]
    rows = exported.mel
    for session, part in zip(sessions, exported.vocoder().parts, strict=True):
        plain = run_byte_parts([session], SETTINGS.dilations, rows[None])[0]
        made = part.begin().step(rows, last=True)
        # A byte that falls differently leads to others further on.
        assert signal_to_noise(plain, made) > 40
        rows = made


@settings(max_examples=25)
@given(st.lists(st.integers(0, 60), max_size=6), st.integers(1, 120))
def test_pieces_are_the_whole_to_the_last_bit(both, sizes, frames):
    vocoder, mel = both
    stream, pieces, start = vocoder.begin(), [], 0
    whole = vocoder.run(mel[:frames])
    for size in sizes:
        pieces.append(stream.step(mel[:frames][start : start + size], last=False))
        start += size
        assert sum(map(len, pieces)) == max(0, min(start, frames) * SETTINGS.hop - vocoder.held)
    sound = np.concatenate([*pieces, stream.step(mel[:frames][start:], last=True)])
    assert sound.shape == whole.shape == (frames * SETTINGS.hop,)
    assert (sound == whole).all()


def test_a_stream_begun_anew_gives_the_same_again(exported):
    stream = exported.vocoder().begin()
    first = stream.step(exported.mel, last=True)
    stream.step(exported.mel[:50], last=False)
    stream.reset()
    assert (stream.step(exported.mel, last=True) == first).all()


@pytest.mark.parametrize("threads", [(2, 1), (3, 1), (4, 2)])
def test_threads_change_nothing(exported, threads):
    assert (exported.vocoder(*threads).run(exported.mel) == exported.vocoder().run(exported.mel)).all()


def test_products_share_the_threads_that_blocks_leave(exported):
    session = session_of(exported.graphs[0], 1)
    assert [product_threads(session, threads) for threads in (1, 2, 3, 4, 8)] == [1, 1, 1, 2, 4]


def test_what_goes_through_at_a_time_changes_nothing(exported, monkeypatch):
    vocoder = exported.vocoder()
    whole = vocoder.run(exported.mel)
    monkeypatch.setattr(byte_part, "PIECE", 3000)
    assert (vocoder.run(exported.mel) == whole).all()


def test_a_chunk_costs_the_same_wherever_it_lies(exported, monkeypatch):
    rows = []
    multiplied = Layer.multiplied
    monkeypatch.setattr(Layer, "multiplied", lambda self, given: rows.append(given.size) or multiplied(self, given))
    stream, costs = exported.vocoder().begin(), []
    for _ in range(12):
        stream.step(exported.mel[:24], last=False)
        costs.append(sum(rows))
        rows.clear()
    assert len(set(costs[4:])) == 1


def test_without_a_folder_for_compiled_code_it_says_what_to_do(exported, monkeypatch):
    from numba.core import caching

    for name in ("byte_part", "byte_layer", "snake"):
        monkeypatch.delitem(sys.modules, f"omni_edge.runtime.{name}", raising=False)
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    with pytest.raises(DeviceError, match="Set NUMBA_CACHE_DIR to one that can be written"):
        exported.vocoder()


def test_no_mel_is_no_sound(exported):
    assert exported.vocoder().begin().step(np.empty((0, 80), np.float32), last=True).size == 0


@pytest.fixture(scope="module")
def both(exported) -> tuple[Vocoder, np.ndarray]:
    return exported.vocoder(), exported.mel
