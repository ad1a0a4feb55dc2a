"""Log-mel against a plain restatement of the definition and, where installed, against transformers."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omni_edge.models.errors import MediaError
from omni_edge.models.manifest import AudioFrontEnd
from omni_edge.runtime import mel as mel_module
from omni_edge.runtime.mel import StreamingMel, audio_tokens, filled, log_mel

RATE = 16000
LONG = AudioFrontEnd(rate=RATE, n_fft=400, hop=160, mels=128, max_seconds=300, chunk_frames=200)
SHORT = AudioFrontEnd(rate=RATE, n_fft=400, hop=160, mels=128, max_seconds=4, chunk_frames=200)
Samples = npt.NDArray[np.float32]


@cache
def extractor(seconds: int) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.WhisperFeatureExtractor(feature_size=128, hop_length=160, n_fft=400, chunk_length=seconds)


def by_transformers(samples: Samples, front: AudioFrontEnd, *, torch: bool) -> Samples:
    """What transformers gives, cut to the valid frames: its torch path as shipped, or its numpy path."""
    whisper = extractor(front.max_seconds)
    frames = -(-samples.size // front.hop)
    if torch:
        features = whisper(samples, sampling_rate=RATE, padding="max_length", return_tensors="np").input_features[0]
    else:
        buffer = np.pad(samples, (0, whisper.n_samples - samples.size))
        features = whisper._np_extract_fbank_features(buffer[None], "cpu")[0]
    return features[:, :frames]


def plainly(samples: Samples, front: AudioFrontEnd) -> npt.NDArray[np.float64]:
    """The definition, with the whole buffer, one frame at a time and the discrete Fourier sum written out."""
    buffer = np.pad(samples.astype(np.float64), (0, front.max_seconds * front.rate - samples.size))
    half = front.n_fft // 2
    buffer = np.pad(buffer, half, mode="reflect")
    turns = np.arange(half + 1)[:, None] * np.arange(front.n_fft) / front.n_fft
    fourier = np.exp(-2j * np.pi * turns) * np.hanning(front.n_fft + 1)[:-1]
    starts = range(0, front.max_seconds * front.rate, front.hop)
    power = np.stack([abs(fourier @ buffer[start : start + front.n_fft]) ** 2 for start in starts], axis=1)
    log = np.log10(np.maximum(mel_module._mel_filters(front.rate, front.n_fft, front.mels) @ power, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4)[:, : -(-samples.size // front.hop)] / 4


def sounds() -> dict[str, Samples]:
    rng = np.random.default_rng(0)
    time = np.arange(4 * RATE) / RATE
    burst = np.zeros(1600)
    burst[-40:] = rng.uniform(-1, 1, 40)
    chirp = np.sin(2 * np.pi * (100 + 800 * time) * time) * np.linspace(0, 1, time.size)
    return {
        "noise": rng.standard_normal(40000).astype(np.float32) * 0.1,
        "whisper": rng.standard_normal(20000).astype(np.float32) * 1e-4,
        "tone": np.sin(2 * np.pi * 440 * time[:30001]).astype(np.float32),
        "chirp over the whole buffer": chirp.astype(np.float32),
        "all but five samples": chirp[:-5].astype(np.float32),
        "loudest just after the last frame": burst.astype(np.float32),
        "silence": np.zeros(500, np.float32),
        "seven samples": rng.standard_normal(7).astype(np.float32),
    }


SOUNDS = sounds()


@pytest.mark.torch
@pytest.mark.parametrize("name", SOUNDS)
def test_equals_transformers(name: str) -> None:
    ours = log_mel(SOUNDS[name], SHORT)
    np.testing.assert_allclose(ours, by_transformers(SOUNDS[name], SHORT, torch=False), atol=1e-6)
    np.testing.assert_allclose(ours, by_transformers(SOUNDS[name], SHORT, torch=True), atol=1e-4)


@pytest.mark.torch
def test_equals_transformers_in_the_buffer_of_300_seconds() -> None:
    samples = SOUNDS["noise"]
    np.testing.assert_allclose(log_mel(samples, LONG), by_transformers(samples, LONG, torch=True), atol=1e-5)


@pytest.mark.torch
@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 60000), seed=st.integers(0, 2**32 - 1), fade=st.floats(0, 1))
@example(size=60000, seed=0, fade=1.0)
@example(size=161, seed=0, fade=1.0)
def test_equals_transformers_at_any_length(size: int, seed: int, fade: float) -> None:
    samples = np.random.default_rng(seed).uniform(-1, 1, size).astype(np.float32)
    samples[: int(size * fade)] *= 1e-3
    ours = log_mel(samples, SHORT)
    assert ours.shape == (128, -(-size // 160))
    np.testing.assert_allclose(ours, by_transformers(samples, SHORT, torch=False), atol=1e-5)


@pytest.mark.torch
def test_filters_equal_transformers() -> None:
    ours = mel_module._mel_filters(RATE, 400, 128)
    np.testing.assert_allclose(ours, extractor(4).mel_filters.T, atol=1e-12)


@pytest.mark.parametrize("name", SOUNDS)
def test_follows_the_definition(name: str) -> None:
    front = AudioFrontEnd(rate=RATE, n_fft=400, hop=160, mels=40, max_seconds=4, chunk_frames=200)
    ours = log_mel(SOUNDS[name], front)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, plainly(SOUNDS[name], front), atol=1e-6)


def test_silence_is_flat_and_nothing_has_no_frames() -> None:
    np.testing.assert_array_equal(log_mel(np.zeros(1600, np.float32), SHORT), np.full((128, 10), -1.5))
    assert log_mel(np.zeros(0, np.float32), SHORT).shape == (128, 0)


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(MediaError, match=r"lasts 4\.0 s; at most 4 s"):
        log_mel(np.zeros(4 * RATE + 1, np.float32), SHORT)
    with pytest.raises(ValueError, match="mono"):
        log_mel(np.zeros((2, 100), np.float32), SHORT)


@settings(max_examples=60, deadline=None)
@given(frames=st.integers(1, 900), quarter=st.integers(1, 60))
def test_chunks_add_up(frames: int, quarter: int) -> None:
    """200 frames are 50 tokens, and chunks are encoded one by one: their tokens must add up."""
    lengths = [min(4 * quarter, frames - start) for start in range(0, frames, 4 * quarter)]
    assert sum(map(audio_tokens, lengths)) == audio_tokens(frames)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 199, 200])
def test_a_chunk_is_filled_to_whole_tokens(frames: int) -> None:
    mel = np.random.default_rng(frames).standard_normal((3, frames)).astype(np.float32)
    chunk, length = filled(mel)
    assert chunk.shape == (1, 3, -(-frames // 4) * 4)
    assert (chunk.dtype, length.dtype, length.tolist()) == (np.float32, np.int64, [frames])
    np.testing.assert_array_equal(chunk[0, :, :frames], mel)
    assert not chunk[0, :, frames:].any()


def test_no_frames_are_no_chunk() -> None:
    with pytest.raises(ValueError, match="no mel frames"):
        filled(np.zeros((128, 0), np.float32))


@settings(max_examples=80, deadline=None)
@given(
    size=st.integers(0, 4 * RATE),
    seed=st.integers(0, 2**32 - 1),
    levels=st.lists(st.floats(-9, 0), min_size=1, max_size=8),
    cuts=st.lists(st.integers(1, 40000), min_size=1, max_size=30),
)
@example(size=4 * RATE, seed=0, levels=[0.0], cuts=[1000])
@example(size=4 * RATE - 100, seed=0, levels=[-9.0, 0.0], cuts=[32040, 159, 1])
@example(size=RATE, seed=1, levels=[-9.0, -9.0, 0.0], cuts=[160])
def test_a_sound_as_it_comes_is_the_whole_sound_to_the_bit(
    size: int, seed: int, levels: list[float], cuts: list[int]
) -> None:
    """Short chunks here, so that there are many; and what a finished chunk says of its own features is true."""
    front = AudioFrontEnd(rate=RATE, n_fft=400, hop=160, mels=128, max_seconds=4, chunk_frames=40)
    rng = np.random.default_rng(seed)
    loudness = np.repeat(10.0 ** np.array(levels), -(-size // len(levels)))[:size]
    samples = (rng.uniform(-1, 1, size) * loudness).astype(np.float32)
    mel, start, known = StreamingMel(front), 0, dict[int, tuple[float, Samples]]()
    for cut in cuts * (1 + size // sum(cuts)):
        mel.step(samples[start : start + cut])
        start += cut
        for chunk, (floor, features) in known.items():
            is_same = mel.lowest[chunk] >= mel.floor or floor == mel.floor
            assert not is_same or np.array_equal(mel.features(chunk), features)
        known = {chunk: (mel.floor, mel.features(chunk)) for chunk in range(mel.chunks)}
    mel.finish()
    parts = [mel.features(chunk) for chunk in range(mel.chunks)]
    whole = log_mel(samples, front)
    assert all(part.shape[1] == 40 for part in parts[:-1])
    np.testing.assert_array_equal(np.concatenate([whole[:, :0], *parts], axis=1), whole)
    mel.reset()
    np.testing.assert_array_equal(mel(samples), whole)


def test_tokens_of_known_lengths() -> None:
    assert [audio_tokens(frames) for frames in range(9)] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert [audio_tokens(-(-size // 160)) for size in (320, 321, 16000, 16001, 4_800_000)] == [0, 1, 25, 25, 7500]
