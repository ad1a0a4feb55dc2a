"""Sound made chunk by chunk is that of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime import vocoder as module
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.vocoder import Vocoder


@pytest.fixture(scope="module")
def vocoder(bundle) -> Vocoder:
    return Vocoder(open_session(bundle, "vocoder", 1), bundle.manifest.vocoder)


def noise(frames: int) -> np.ndarray:
    return (np.random.default_rng(frames).standard_normal((frames, 80)) * 2.5 - 5.5).astype(np.float32)


def streamed(stream, mel, sizes):
    pieces, start = [], 0
    for size in sizes:
        pieces.append(stream.step(mel[start : start + size], last=False))
        start += size
    return np.concatenate([*pieces, stream.step(mel[start:], last=True)])


@settings(max_examples=20)
@given(st.integers(1, 120), st.lists(st.integers(0, 50), max_size=6))
def test_chunks_equal_the_whole(vocoder, bundle, frames, sizes):
    mel = noise(frames)
    sound = streamed(vocoder.begin(), mel, sizes)
    assert sound.size == frames * bundle.manifest.vocoder.hop
    assert np.abs(sound - vocoder.run(mel)).max() < 1e-5
    assert np.abs(sound).max() <= 1


@pytest.mark.parametrize(("frames", "window"), [(1, 1), (13, 5), (50, 7), (50, 50), (50, 49)])
def test_a_whole_mel_is_spoken_in_windows(frames, window, vocoder, monkeypatch):
    mel = noise(frames)
    monkeypatch.setattr(module, "WINDOW", window)
    assert np.abs(np.concatenate(list(vocoder.samples(mel))) - vocoder.run(mel)).max() < 1e-5


def test_a_stream_begun_anew_gives_the_same_again(vocoder):
    stream, mel = vocoder.begin(), noise(90)
    first = streamed(stream, mel, [40, 40])
    stream.reset()
    assert (streamed(stream, mel, [40, 40]) == first).all()


def test_a_chunk_costs_the_same_wherever_it_lies(vocoder, bundle, monkeypatch):
    lengths = []
    stream, run = vocoder.begin(), vocoder.run
    monkeypatch.setattr(vocoder, "run", lambda mel: lengths.append(len(mel)) or run(mel))
    for _ in range(20):
        stream.step(noise(24), last=False)
    assert set(lengths[5:]) == {24 + 2 * bundle.manifest.vocoder.reach}


def test_a_sample_hangs_on_its_reach_and_no_more(vocoder, bundle):
    reach, hop = bundle.manifest.vocoder.reach, bundle.manifest.vocoder.hop
    mel = np.full((2 * reach + 20, 80), -4.0, np.float32)
    other = mel.copy()
    other[-1] = 0.0
    changed = np.flatnonzero(np.abs(vocoder.run(mel) - vocoder.run(other)) > 1e-5)
    assert changed.size
    assert changed[0] >= (len(mel) - 1 - reach) * hop


def test_no_mel_is_no_sound(vocoder):
    assert list(vocoder.samples(np.empty((0, 80), np.float32))) == []
    assert vocoder.begin().step(np.empty((0, 80), np.float32), last=True).size == 0
