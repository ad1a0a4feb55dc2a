"""Small pictures of sounds and clips, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH_A_SECOND = 160
WAVE_HEIGHT, SPECTRUM_HEIGHT = 48, 128
N_FFT, TOP_HZ = 1024, 8000
INK, PAPER = (40, 70, 140), (255, 255, 255)


def sound_picture(samples: NDArray[np.float32], rate: int) -> Image.Image:
    """A spectrogram up to 8 kHz, 80 dB deep, over the waveform."""
    width = max(80, int(len(samples) / rate * WIDTH_A_SECOND))
    picture = Image.new("RGB", (width, SPECTRUM_HEIGHT + WAVE_HEIGHT), PAPER)
    picture.paste(Image.fromarray(_spectrogram(samples, rate)).resize((width, SPECTRUM_HEIGHT)), (0, 0))
    brush = ImageDraw.Draw(picture)
    middle = SPECTRUM_HEIGHT + WAVE_HEIGHT // 2
    edges = np.linspace(0, len(samples), width + 1).astype(int)
    for x in range(width):
        piece = samples[edges[x] : max(edges[x] + 1, edges[x + 1])]
        low, high = float(piece.min(initial=0)), float(piece.max(initial=0))
        brush.line((x, middle - high * WAVE_HEIGHT / 2, x, middle - low * WAVE_HEIGHT / 2), fill=INK)
    return picture


def _spectrogram(samples: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """[rows, columns, 3], low frequencies at the bottom."""
    padded = np.pad(samples, (N_FFT // 2, N_FFT))
    starts = np.arange(0, len(samples), N_FFT // 8)
    frames = np.stack([padded[start : start + N_FFT] for start in starts]) * np.hanning(N_FFT)
    size = np.abs(np.fft.rfft(frames, axis=1))[:, : N_FFT * TOP_HZ // rate]
    level = 20 * np.log10(np.maximum(size, 1e-9) / max(1e-9, float(size.max())))
    shade = np.clip(1 + level.T[::-1] / 80, 0, 1)[:, :, None]
    return (np.array(PAPER) + shade * (np.array(INK) * 0.6 - np.array(PAPER))).astype(np.uint8)


def joined(frames: Sequence[Image.Image], beep: tuple[float, float] | None) -> Image.Image:
    """Frames side by side; `beep` is from where to where it sounds, in frames."""
    side = frames[0].width
    gap, mark = 4, 10
    strip = Image.new("RGB", (len(frames) * (side + gap) - gap, side + mark), PAPER)
    for index, frame in enumerate(frames):
        strip.paste(frame, (index * (side + gap), 0))
    if beep is not None:
        start, end = (edge * (side + gap) for edge in beep)
        ImageDraw.Draw(strip).rectangle((start, side + 3, end - gap, side + mark - 1), fill=(215, 35, 35))
    return strip
