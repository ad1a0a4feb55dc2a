"""Samples to log-mel frames, whole or as they come, and frames to the audio encoder's chunks (FACTS §4.1, §4.2).

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


class StreamingMel:
    """Log-mel spectrogram of one sound, chunk by chunk of the audio encoder, while it is still going on.

    Every value has a floor that hangs on the loudest bin of the *whole* sound. So a chunk's features may change after
    it was finished: when a louder bin lifts the floor above the quietest bin of that chunk. `lowest` against `floor`
    tells whether it does. After `finish` features are, to the last bit, those of the whole sound: a frame is always
    transformed together with the same other frames, however the samples came.

    Args:
        front: window, hop, number of mels, frames of a chunk and longest sound.
    """

    def __init__(self, front: AudioFrontEnd) -> None:
        self._front = front
        self.reset()

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Features of a whole sound, see `log_mel`."""
        self.reset()
        # In pieces of a chunk's length, so that what waits to be transformed is never moved far.
        size = max(1, self._front.chunk_frames * self._front.hop)
        for start in range(0, max(len(samples), 1), size):
            self.step(samples[start : start + size])
        self.finish()
        parts = [self.features(index) for index in range(self.chunks)]
        return np.concatenate([np.zeros((self._front.mels, 0), np.float32), *parts], axis=1)

    def reset(self) -> None:
        """Forget the sound."""
        self.samples = 0
        self._waiting = [np.zeros(0, np.float32)]
        self._start = 0  # of what waits, in samples
        self._log: list[npt.NDArray[np.float64]] = []
        self._loudest = self._ahead = -np.inf  # bin of the chunks, and of the windows after them, in decades
        self._looked = 0  # windows that count
        self.lowest: list[float] = []
        """The quietest bin of each finished chunk, in decades."""

    @property
    def chunks(self) -> int:
        """Finished ones: no further sample changes their bins."""
        return len(self._log)

    @property
    def floor(self) -> float:
        """What the sound so far raises quieter bins to, in decades.

        It counts each window as soon as it is full: the sooner a louder one is known, the sooner what it changes is
        made again.
        """
        return max(self._loudest, self._ahead) - DYNAMIC_RANGE

    def step(self, samples: npt.NDArray[np.float32]) -> None:
        """Hear further samples, mono, [n], in -1..1, at `front.rate`.

        Raises:
            MediaError: the sound becomes longer than `front.max_seconds`; nothing of `samples` is heard then.
            ValueError: `samples` is not one-dimensional.
        """
        front = self._front
        if samples.ndim != 1:
            raise ValueError(f"samples must be mono, [N], not of shape {samples.shape}")
        if self.samples + samples.size > self._longest:
            raise MediaError(
                f"the sound lasts {(self.samples + samples.size) / front.rate:.1f} s; at most {front.max_seconds} s "
                "can be heard at once. Cut it into parts"
            )
        self._waiting.append(samples)
        self.samples += samples.size
        # A chunk's last window ends half a window after the chunk's last frame.
        while self.samples >= ((self.chunks + 1) * front.chunk_frames - 1) * front.hop + front.n_fft // 2:
            self._transform(front.chunk_frames, front.chunk_frames)
        full = (self.samples - front.n_fft // 2) // front.hop + 1
        if full > self._looked:
            log = _log_power(self._windows(self._looked, full - self._looked), front)
            self._ahead, self._looked = max(self._ahead, float(log.max())), full

    def finish(self) -> None:
        """The sound is over: what is left becomes the last chunk, which may be shorter. Only `reset` may follow."""
        front = self._front
        frames = -(-self.samples // front.hop)
        # Windows centred just after the end still see the last samples. They are not returned, but one of
        # them can hold the loudest bin, so they count for the floor.
        seen = min(-(-(self.samples + front.n_fft // 2) // front.hop), self._longest // front.hop) if frames else 0
        done = self.chunks * front.chunk_frames
        for first in range(done, seen, front.chunk_frames):
            self._transform(min(front.chunk_frames, seen - first), min(front.chunk_frames, frames - first))

    def features(self, chunk: int) -> npt.NDArray[np.float32]:
        """Of a finished chunk, float32 [mels, frames], under the present floor."""
        return ((np.maximum(self._log[chunk], self.floor) + 4.0) / 4.0).astype(np.float32)

    @property
    def _longest(self) -> int:
        return self._front.max_seconds * self._front.rate

    def _transform(self, seen: int, frames: int) -> None:
        """The next `seen` windows; the first `frames` of them are kept as a chunk, if there are any."""
        front = self._front
        first = self.chunks * front.chunk_frames
        log = _log_power(self._windows(first, seen), front)
        self._loudest, self._ahead = max(self._loudest, float(log.max())), -np.inf
        if frames > 0:
            self._log.append(np.ascontiguousarray(log[:, :frames]))
            self.lowest.append(float(self._log[-1].min()))
        self._looked = first + seen
        # The next window begins half a window before its frame.
        used = max(0, min(self._looked * front.hop - front.n_fft // 2 - self._start, self._waiting[0].size))
        self._waiting = [self._waiting[0][used:].copy()]
        self._start += used

    def _windows(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """What `count` windows from frame `first` on see of the buffer, [samples].

        The reference mirrors its buffer at both ends. At the start that is the sound; at the end it is
        zeros, unless the sound fills the buffer to within half a window.
        """
        front = self._front
        self._waiting = [np.concatenate(self._waiting)]
        waiting, start = self._waiting[0], first * front.hop - front.n_fft // 2
        places = np.abs(np.arange(start, start + (count - 1) * front.hop + front.n_fft))
        places = np.where(places >= self._longest, 2 * self._longest - 2 - places, places) - self._start
        inside = places < waiting.size
        return np.where(inside, waiting[np.where(inside, places, 0)] if waiting.size else 0, np.float32(0))


def log_mel(samples: npt.NDArray[np.float32], front: AudioFrontEnd) -> npt.NDArray[np.float32]:
    """Log-mel spectrogram of one whole sound.

    Args:
        samples: mono, [N], in -1..1, at `front.rate`.
        front: window, hop, number of mels and longest sound.

    Returns:
        float32 [mels, ceil(N / hop)].

    Raises:
        MediaError: the sound is longer than `front.max_seconds`.
        ValueError: `samples` is not one-dimensional.
    """
    return StreamingMel(front)(samples)


def filled(mel: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A chunk as the audio encoder takes it: filled up with zeros to whole tokens, so that a short one costs little.

    Args:
        mel: float32 [mels, F], F at least 1.

    Returns:
        float32 [1, mels, T], and its true frames, int64 [1].

    Raises:
        ValueError: there are no frames.
    """
    mels, frames = mel.shape
    if frames == 0:
        raise ValueError("there are no mel frames to encode")
    chunk = np.zeros((1, mels, -(-frames // FRAMES_PER_TOKEN) * FRAMES_PER_TOKEN), np.float32)
    chunk[0, :, :frames] = mel
    return chunk, np.array([frames], np.int64)


def audio_tokens(frames: int) -> int:
    """Tokens the audio encoder gives for this many mel frames (FACTS §3.3); fewer than 3 frames give none."""
    positions = (frames - 1) // 2 + 1
    return (positions - 2) // 2 + 1


def _log_power(padded: npt.NDArray[np.float32], front: AudioFrontEnd) -> npt.NDArray[np.float64]:
    """log10 of the mel power of every window, float64 [mels, windows]."""
    windows = np.lib.stride_tricks.sliding_window_view(padded, front.n_fft)[:: front.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(front.n_fft) / front.n_fft)
    spectrum = np.fft.rfft(windows * hann)
    power = spectrum.real**2 + spectrum.imag**2
    bins, weights, starts = _triangles(front.rate, front.n_fft, front.mels)
    mel = np.add.reduceat(power[:, bins] * weights, starts, axis=1)
    return np.log10(np.maximum(mel, POWER_FLOOR)).T


@lru_cache(maxsize=4)
def _triangles(
    rate: int, n_fft: int, mels: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The filters without their zeros: bins and weights, filter after filter, and where each filter starts.

    Hardly three bins of a filter count. A product of matrices also wakes BLAS's threads, which takes ten times as long
    as the sums where other threads are busy.
    """
    filters = _mel_filters(rate, n_fft, mels)
    counts = filters != 0
    counts[~counts.any(axis=1), 0] = True  # a filter between two bins sums to zero
    rows, bins = np.nonzero(counts)
    return bins, filters[rows, bins], np.searchsorted(rows, np.arange(mels))


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
