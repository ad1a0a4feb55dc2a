"""How far two outputs lie apart: the numbers a report is made of. Numpy only; `full` is always the full precision."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FFT_SIZES = (512, 1024, 2048)
_FRAMES = {512: (240, 50), 1024: (600, 120), 2048: (1200, 240)}
"""FFT size -> window and hop in samples, as in Yamamoto et al. 2020, table 1."""
_FLOOR = 1e-7
"""Least power of a bin: below lies rounding, whose logarithm means nothing."""


def kl_divergence(full: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a distribution loses when another stands in for it: sum of p·(log p - log q), p and q softmax of logits.

    Source: Kullback and Leibler, On Information and Sufficiency, 1951.

    Args:
        full, other: logits [n, vocab].

    Returns:
        [n] in nats, 0 or more.
    """
    # Row by row: in double precision, all rows of a large vocabulary at once would fill a small machine.
    return np.array([_divergence(*rows) for rows in zip(full, other, strict=True)], np.float64)


def same_choice(full: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether the likeliest ids agree: logits [n, vocab] twice -> [n]."""
    return full.argmax(axis=1) == other.argmax(axis=1)


def cosines(full: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """x·y / (|x|·|y|) row by row: [n, width] twice -> [n], 1 where both rows are zero."""
    x, y = full.astype(np.float64), other.astype(np.float64)
    sizes = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    both_zero = ~x.any(axis=1) & ~y.any(axis=1)
    # Rounding can lead past 1.
    return np.where(both_zero, 1.0, np.minimum(1.0, (x * y).sum(axis=1) / np.maximum(sizes, 1e-300)))


def relative_rms(pairs: Iterable[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> float:
    """|x - y| / |x|, both in the Frobenius norm, of two arrays that come in slabs (x, y); 0 for two zero arrays."""
    difference, size = 0.0, 0.0
    for full, other in pairs:
        difference += float(np.linalg.norm(full - other)) ** 2
        size += float(np.linalg.norm(full)) ** 2
    return math.sqrt(difference) / max(math.sqrt(size), 1e-30) if difference else 0.0


def mel_distance(full: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean of |x - y| over all frames and bins, in the unit of the mels (natural logarithm of the amplitude)."""
    return float(np.abs(full.astype(np.float64) - other).mean())


def stft_distance(full: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    """Spectral convergence and log magnitude distance, each the mean over FFT_SIZES.

    With X and Y the magnitudes of the two spectrograms (Hann windows):
    convergence = |X - Y| / |X| in the Frobenius norm; log magnitude = mean of |ln X - ln Y|.

    Source: Yamamoto, Song and Kim, Parallel WaveGAN, ICASSP 2020, section 2.2, equations 5 and 6, with the windows and
    hops of table 1. Those are samples at 24 kHz, and stay samples here whatever the rate.

    Args:
        full, other: samples [n], n at least 1.
    """
    distances = []
    for size in FFT_SIZES:
        x, y = _magnitudes(full, size), _magnitudes(other, size)
        convergence = float(np.linalg.norm(x - y) / np.linalg.norm(x))
        distances.append((convergence, float(np.abs(np.log(x) - np.log(y)).mean())))
    convergence, magnitude = np.mean(distances, axis=0).tolist()
    return convergence, magnitude


def signal_to_noise(full: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """10·log10(sum of x² / sum of (x - y)²) in dB: samples [n] twice; infinite when they are equal."""
    x = full.astype(np.float64)
    signal, noise = float(np.square(x).sum()), float(np.square(x - other).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(max(signal, 1e-30) / noise)


def _divergence(full: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    p, q = _log_softmax(full), _log_softmax(other)
    # Where p is 0 its logarithm is -inf, and the limit of p·log p is 0.
    possible = np.exp(p) > 0
    return max(0.0, float((np.exp(p[possible]) * (p[possible] - q[possible])).sum()))


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """[vocab] -> [vocab]"""
    shifted = logits.astype(np.float64) - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def _magnitudes(samples: NDArray[np.float32], size: int) -> NDArray[np.float64]:
    """[frames, size / 2 + 1]; the ends are padded with silence, so that every sample lies in a frame."""
    length, hop = _FRAMES[size]
    padded = np.pad(samples.astype(np.float64), (length // 2, length))
    starts = np.arange(0, len(samples), hop)
    # Periodic, as the reference implementations have it.
    window = np.hanning(length + 1)[:-1]
    frames = padded[starts[:, None] + np.arange(length)] * window
    return np.sqrt(np.maximum(np.square(np.abs(np.fft.rfft(frames, size))), _FLOOR))
