"""How many mel frames on either side a sample of the vocoder hangs on: what its shape allows, and what can be heard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .checkpoint import Checkpoint
from .config import VocoderConfig
from .graphs import open_graph
from .snake import NEIGHBOURS
from .vocoder import whole_vocoder

INAUDIBLE = 2e-6
"""Largest difference of a sample, in -1..1: five of these make up the 1e-5 that streamed sound may be off."""


def measured_reach(checkpoint: Checkpoint, mels: Sequence[np.ndarray], folder: Path) -> int:
    """The fewest frames around a stretch of mel that give its sound as if all were there.

    What a sample hangs on falls off fast with distance, for the ends of some fifty filters lie on top of one another:
    from half the frames that the shape allows on it is what a float cannot hold.

    Args:
        checkpoint: its vocoder is measured in floats: a byte more or less is not what is looked for.
        mels: f32 [frames, bins] each, what it is to speak.
        folder: for its graph while it is measured.
    """
    most = vocoder_reach(checkpoint.config.vocoder)
    with whole_vocoder(checkpoint, folder) as path:
        session = open_graph(path)
    middles = [np.resize(mel, (3 * most, mel.shape[1])).astype(np.float32) for mel in mels]

    def speak(mel: np.ndarray) -> np.ndarray:
        return np.asarray(session.run(None, {"mel": np.ascontiguousarray(mel.T[None])})[0])

    wholes = [speak(mel) for mel in middles]
    hop = len(wholes[0]) // (3 * most)

    def enough(reach: int) -> bool:
        for mel, whole in zip(middles, wholes, strict=True):
            part = speak(mel[most - reach : 2 * most + reach])[reach * hop : (reach + most) * hop]
            if np.abs(part - whole[most * hop : 2 * most * hop]).max() > INAUDIBLE:
                return False
        return True

    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def vocoder_reach(config: VocoderConfig) -> int:
    """How many mel frames on either side a sample depends on, rounded up.

    Counted outward from the input at each stage's own rate: a convolution of size k and dilation d reaches
    d·(k-1)/2 samples, an activation 3 of each filter, a transposed convolution of size k and stride r k/r.
    """
    rate, reach = 1, 3.0
    for up, kernel in zip(config.upsample_rates, config.upsample_kernels, strict=True):
        reach += kernel / up / rate
        rate *= up
        blocks = (
            sum((size - 1) * (dilation + 1) / 2 + 4 * NEIGHBOURS for dilation in dilations)
            for size, dilations in zip(config.kernels, config.dilations, strict=True)
        )
        reach += max(blocks) / rate
    return math.ceil(reach + (2 * NEIGHBOURS + 3) / rate)
