"""Sound made chunk by chunk is that of the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime import vocoder as module
from omni_edge.runtime.engine import open_vocoder
from omni_edge.runtime.vocoder import Vocoder
from omni_edge.runtime.window_part import WindowPart


@pytest.fixture(scope="module")
def vocoder(bundle) -> Vocoder:
    return open_vocoder(bundle, 1)


def at_once(vocoder: Vocoder, mel: np.ndarray) -> np.ndarray:
    """Without windows."""
    rows = mel
    for part in vocoder.parts:
        rows = part.run(rows)
    return rows.reshape(-1)


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
    assert np.abs(sound - at_once(vocoder, mel)).max() < 1e-5
    assert np.abs(sound).max() <= 1


@pytest.mark.parametrize("window", [1, 5, 7, 50, 96])
@pytest.mark.parametrize("frames", [1, 13, 50, 131])
def test_a_whole_mel_is_spoken_in_windows(frames, window, vocoder, monkeypatch):
    mel = noise(frames)
    monkeypatch.setattr(module, "WINDOW", window)
    assert np.abs(np.concatenate(list(vocoder.samples(mel))) - at_once(vocoder, mel)).max() < 1e-5


@settings(max_examples=20)
@given(st.integers(1, 250), st.integers(0, 100), st.integers(1, 3))
def test_windows_on_several_threads_equal_the_whole(several, frames, first, threads):
    mel, first = noise(frames), min(first, frames - 1)
    part = several[threads].parts[0]
    made = part.windows(mel, first, frames)
    assert np.abs(made - part.run(mel)[first * len(made) // (frames - first) :]).max() < 1e-4


@pytest.fixture(scope="module")
def several(bundle) -> dict[int, Vocoder]:
    return {threads: open_vocoder(bundle, threads) for threads in (1, 2, 3)}


def test_a_stream_begun_anew_gives_the_same_again(vocoder):
    stream, mel = vocoder.begin(), noise(90)
    first = streamed(stream, mel, [40, 40])
    stream.reset()
    assert (streamed(stream, mel, [40, 40]) == first).all()


def test_a_chunk_costs_the_same_wherever_it_lies(vocoder, monkeypatch):
    lengths = []
    stream = vocoder.begin()
    run = WindowPart.run
    monkeypatch.setattr(WindowPart, "run", lambda part, rows: lengths.append(len(rows)) or run(part, rows))
    costs = []
    for _ in range(20):
        stream.step(noise(24), last=False)
        costs.append(sum(lengths))
        lengths.clear()
    assert len(set(costs[5:])) == 1
    assert costs[5] > 0


def test_a_sample_hangs_on_its_reach_and_no_more(vocoder, bundle):
    reach, hop = bundle.manifest.vocoder.whole.reach, bundle.manifest.vocoder.hop
    mel = np.full((2 * reach + 20, 80), -4.0, np.float32)
    other = mel.copy()
    other[-1] = 0.0
    changed = np.flatnonzero(np.abs(at_once(vocoder, mel) - at_once(vocoder, other)) > 1e-5)
    assert changed.size
    assert changed[0] >= (len(mel) - 1 - reach) * hop


def test_no_mel_is_no_sound(vocoder):
    assert list(vocoder.samples(np.empty((0, 80), np.float32))) == []
    assert vocoder.begin().step(np.empty((0, 80), np.float32), last=True).size == 0
