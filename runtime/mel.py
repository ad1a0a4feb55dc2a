"""Samples to log-mel frames, and log-mel frames to the chunks the audio encoder takes (FACTS §4.1, §4.2).

Gives what Whisper's feature extractor gives for the same sound inside its fixed, zero-filled buffer of
`max_seconds`, without building that buffer: only the zeros that some window can see are made.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..models.errors import MediaError
from ..models.manifest import AudioFrontEnd

# The log, its floor and its scaling belong to Whisper's definition of the feature, not to one checkpoint.
POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0
"""Decades kept below the loudest bin of the whole sound."""
FRAMES_PER_TOKEN = 4
"""A convolution of stride 2, then an average over pairs."""
BLOCK = 512
"""Frames transformed at once, so that memory stays small however long the sound is."""


def log_mel(samples: npt.NDArray[np.float32], front: AudioFrontEnd) -> npt.NDArray[np.float32]:
    """Log-mel spectrogram of one whole sound.

    Args:
        samples: mono, [N], in -1..1, at `front.rate`.
        front: window, hop, number of mels and longest sound.

    Returns:
        float32 [mels, ceil(N / hop)]. The floor hangs on the loudest bin of the whole sound, so
        parts of a sound cannot be transformed one by one.

    Raises:
        MediaError: the sound is longer than `front.max_seconds`.
        ValueError: `samples` is not one-dimensional.
    """
    if samples.ndim != 1:
        raise ValueError(f"samples must be mono, [N], not of shape {samples.shape}")
    longest = front.max_seconds * front.rate
    if samples.size > longest:
        raise MediaError(
            f"the sound lasts {samples.size / front.rate:.1f} s; at most {front.max_seconds} s can be heard "
            "at once. Cut it into parts"
        )
    frames = -(-samples.size // front.hop)
    if frames == 0:
        return np.zeros((front.mels, 0), np.float32)
    # Windows centred just after the end still see the last samples. They are not returned, but one of
    # them can hold the loudest bin, so they count for the floor.
    seen = min(-(-(samples.size + front.n_fft // 2) // front.hop), longest // front.hop)
    log = _log_power(_padded(samples, (seen - 1) * front.hop + front.n_fft, front), front)
    np.maximum(log, log.max() - DYNAMIC_RANGE, out=log)
    return np.ascontiguousarray((log[:, :frames] + 4.0) / 4.0, np.float32)


def cut_chunks(
    mel: npt.NDArray[np.float32], chunk_frames: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Cut a log-mel into the encoder's independent chunks; the tail is filled up with zeros.

    Args:
        mel: float32 [mels, F], F at least 1.
        chunk_frames: frames of a full chunk.

    Returns:
        chunks: float32 [n, mels, T]. T is `chunk_frames`, except for a single shorter chunk: then it
            is F rounded up to whole tokens, so that a short question costs little.
        lengths: int64 [n], the true frames of each chunk.

    Raises:
        ValueError: there are no frames.
    """
    mels, frames = mel.shape
    if frames == 0:
        raise ValueError("there are no mel frames to cut")
    count = -(-frames // chunk_frames)
    width = chunk_frames
    if count == 1:
        width = min(chunk_frames, -(-frames // FRAMES_PER_TOKEN) * FRAMES_PER_TOKEN)
    filled = np.zeros((mels, count * width), np.float32)
    filled[:, :frames] = mel
    chunks = np.ascontiguousarray(filled.reshape(mels, count, width).transpose(1, 0, 2))
    lengths = np.full(count, chunk_frames, np.int64)
    lengths[-1] = frames - (count - 1) * chunk_frames
    return chunks, lengths


def audio_tokens(frames: int) -> int:
    """Tokens the audio encoder gives for this many mel frames (FACTS §3.3); fewer than 3 frames give none."""
    positions = (frames - 1) // 2 + 1
    return (positions - 2) // 2 + 1


def _padded(samples: npt.NDArray[np.float32], length: int, front: AudioFrontEnd) -> npt.NDArray[np.float32]:
    """The `length` samples that the windows see: half a window before the sound, and zeros after it.

    The reference mirrors its buffer at both ends. At the start that is the sound; at the end it is
    zeros, unless the sound fills the buffer to within half a window.
    """
    half = front.n_fft // 2
    longest = front.max_seconds * front.rate

    def at(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        inside = positions < samples.size
        return np.where(inside, samples[np.where(inside, positions, 0)], np.float32(0))

    padded = np.zeros(length, np.float32)
    padded[:half] = at(np.arange(half, 0, -1))
    shown = min(samples.size, length - half)
    padded[half : half + shown] = samples[:shown]
    beyond = max(0, length - half - longest)
    padded[length - beyond :] = at(longest - 2 - np.arange(beyond))
    return padded


def _log_power(padded: npt.NDArray[np.float32], front: AudioFrontEnd) -> npt.NDArray[np.float64]:
    """log10 of the mel power of every window, float64 [mels, windows]."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, front.n_fft)[:: front.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front.n_fft) / front.n_fft)
    filters = _mel_filters(front.rate, front.n_fft, front.mels)
    log = np.empty((front.mels, len(windows)))
    for start in range(0, len(windows), BLOCK):
        spectrum = np.fft.rfft(windows[start : start + BLOCK] * hann)
        power = spectrum.real**2 + spectrum.imag**2
        log[:, start : start + BLOCK] = np.log10(np.maximum(filters @ power.T, POWER_FLOOR))
    return log


@lru_cache(maxsize=4)
def _mel_filters(rate: int, n_fft: int, mels: int) -> npt.NDArray[np.float64]:
    """Slaney's triangular filters from 0 to rate/2, each scaled to the same area: float64 [mels, n_fft/2 + 1]."""
    edges = _mel_to_hertz(np.linspace(0.0, _hertz_to_mel(rate / 2), mels + 2))
    bins = np.linspace(0.0, rate / 2, n_fft // 2 + 1)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    filters.flags.writeable = False
    return filters


# Slaney's mel scale: linear up to 1 kHz (mel 15), then logarithmic with 27 steps to 6.4 kHz.
_BREAK_HERTZ = 1000.0
_BREAK_MEL = 15.0
_LOG_STEP = np.log(6.4) / 27.0


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _BREAK_HERTZ:
        return hertz * _BREAK_MEL / _BREAK_HERTZ
    return float(_BREAK_MEL + np.log(hertz / _BREAK_HERTZ) / _LOG_STEP)


def _mel_to_hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mel * _BREAK_HERTZ / _BREAK_MEL
    return np.where(mel < _BREAK_MEL, linear, _BREAK_HERTZ * np.exp((mel - _BREAK_MEL) * _LOG_STEP))
