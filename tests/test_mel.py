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
from omni_edge.runtime.mel import audio_tokens, cut_chunks, log_mel

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
def test_chunks_hold_every_frame_once(frames: int, quarter: int) -> None:
    chunk_frames = 4 * quarter
    mel = np.random.default_rng(frames).standard_normal((3, frames)).astype(np.float32)
    chunks, lengths = cut_chunks(mel, chunk_frames)
    width = chunk_frames if frames > chunk_frames else -(-frames // 4) * 4
    assert chunks.shape == (-(-frames // chunk_frames), 3, width)
    assert (chunks.dtype, lengths.dtype) == (np.float32, np.int64)
    assert (lengths[:-1] == chunk_frames).all()
    whole = np.concatenate([chunk[:, :length] for chunk, length in zip(chunks, lengths, strict=True)], axis=1)
    np.testing.assert_array_equal(whole, mel)
    assert not chunks[-1, :, lengths[-1] :].any()
    # 200 frames are 50 tokens, and chunks are encoded one by one: their tokens must add up.
    assert sum(audio_tokens(int(length)) for length in lengths) == audio_tokens(frames)


def test_no_frames_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="no mel frames"):
        cut_chunks(np.zeros((128, 0), np.float32), 200)


def test_tokens_of_known_lengths() -> None:
    assert [audio_tokens(frames) for frames in range(9)] == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert [audio_tokens(-(-size // 160)) for size in (320, 321, 16000, 16001, 4_800_000)] == [0, 1, 25, 25, 7500]
