"""Mels and sounds as pictures and audio that a page carries in itself."""

from __future__ import annotations

import base64
import io
import wave

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT = 220
WIDTH = 420
N_FFT, HOP = 1024, 128
DEPTH = 80.0
"""Decibels below the loudest bin that are shown."""
_ANCHORS = np.array(
    [(0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)], np.float64
)
"""Dark to light, rising evenly in lightness, so that it reads the same without colour."""


def levels(samples: NDArray[np.float32], rate: int, top_hz: int) -> NDArray[np.float32]:
    """Samples [n] to decibels [frames, bins up to top_hz]."""
    padded = np.pad(samples.astype(np.float64), N_FFT // 2)
    starts = np.arange(0, len(samples), HOP)
    frames = padded[starts[:, None] + np.arange(N_FFT)] * np.hanning(N_FFT)
    size = np.abs(np.fft.rfft(frames, axis=1))[:, : N_FFT * top_hz // rate + 1]
    return (20 * np.log10(np.maximum(size, 1e-6))).astype(np.float32)


def heat(values: NDArray[np.floating], low: float, high: float) -> str:
    """[frames, bins] as a PNG in a data URI, time to the right, low bins at the bottom."""
    shade = np.clip((values.T[::-1] - low) / max(high - low, 1e-9), 0, 1) * (len(_ANCHORS) - 1)
    below = np.minimum(shade.astype(int), len(_ANCHORS) - 2)
    part = (shade - below)[:, :, None]
    pixels = _ANCHORS[below] * (1 - part) + _ANCHORS[below + 1] * part
    picture = Image.fromarray(pixels.astype(np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    # A palette of 128 shades of this one ramp loses nothing that an eye sees, and two thirds of the size.
    picture.quantize(128).save(file, "PNG", optimize=True)
    return _data("image/png", file.getvalue())


def sound(samples: NDArray[np.float32], rate: int) -> str:
    """Samples [n] as 16-bit WAV in a data URI."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(np.clip(samples * 32767, -32768, 32767).astype("<i2").tobytes())
    return _data("audio/wav", file.getvalue())


def _data(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
