"""How many rows around one what a part of the vocoder makes hangs on: what its shape allows, and what can be heard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .checkpoint import Checkpoint
from .config import VocoderConfig
from .graphs import open_graph
from .snake import NEIGHBOURS
from .vocoder import run_parts, whole_parts

INAUDIBLE = 1e-5
"""Largest difference of a sample, in -1..1, that all parts make together: a third of a step of 16-bit sound. The first
part may make half of it, for its rows are the longest and speech waits for them; the others share the rest."""
Signals = list[NDArray[np.float32]]
"""Of `run_parts`."""


def measured_reaches(checkpoint: Checkpoint, mels: Sequence[np.ndarray], folder: Path) -> tuple[int, ...]:
    """Of each part the fewest rows around a stretch of its input that give its sound as if all were there.

    What a sample hangs on falls off fast with distance, for the ends of some fifty filters lie on top of one another:
    from half the rows that the shape allows on it is what a float cannot hold.

    Args:
        checkpoint: its vocoder is measured in floats: a byte more or less is not what is looked for.
        mels: f32 [frames, bins] each, what it is to speak.
        folder: for its graphs while they are measured.
    """
    config = checkpoint.config.vocoder
    most = [part_reach(config, part) for part in range(len(config.upsample_rates))]
    frames = 3 * max(math.ceil(each / density) for each, density in zip(most, _densities(config), strict=True))
    with whole_parts(checkpoint, folder) as paths:
        sessions = [open_graph(path) for path in paths]
    spoken = [run_parts(sessions, np.resize(mel, (1, frames, mel.shape[1])).astype(np.float32)) for mel in mels]
    return tuple(_least(sessions, spoken, part, config.upsample_rates[part], limit) for part, limit in enumerate(most))


def part_reach(config: VocoderConfig, part: int) -> int:
    """How many rows of its input on either side what a part makes can depend on, rounded up.

    Counted outward at the rate of its output: a convolution of size k and dilation d reaches d·(k-1)/2 samples, an
    activation 3 of each filter at its input's rate, a transposed convolution of size k and stride r k/r inputs.
    """
    rate, kernel = config.upsample_rates[part], config.upsample_kernels[part]
    inside = max(
        sum((size - 1) * (dilation + 1) / 2 + 4 * NEIGHBOURS for dilation in dilations)
        for size, dilations in zip(config.kernels, config.dilations, strict=True)
    )
    before = 3 if part == 0 else 0
    after = 2 * NEIGHBOURS + 3 if part == len(config.upsample_rates) - 1 else 0
    return math.ceil(before + kernel / rate + (inside + after) / rate)


def _densities(config: VocoderConfig) -> list[int]:
    """Rows of each part's input for a mel frame."""
    return [math.prod(config.upsample_rates[:part]) for part in range(len(config.upsample_rates))]


def _least(sessions: Sequence[ort.InferenceSession], spoken: Sequence[Signals], part: int, rate: int, most: int) -> int:
    """By halving; the middle third of a part's input is cut out, and what it makes put into what the next one takes."""
    allowed = INAUDIBLE / 2 if part == 0 else INAUDIBLE / 2 / (len(sessions) - 1)

    def enough(reach: int) -> bool:
        for signals in spoken:
            third = signals[part].shape[1] // 3
            cut = signals[part][:, third - reach : 2 * third + reach]
            made = run_parts(sessions[part : part + 1], cut)[-1][:, reach * rate : (reach + third) * rate]
            rows = signals[part + 1].copy()
            rows[:, third * rate : 2 * third * rate] = made
            sound = run_parts(sessions[part + 1 :], rows)[-1]
            if np.abs(sound - signals[-1]).max() > allowed:
                return False
        return True

    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low
