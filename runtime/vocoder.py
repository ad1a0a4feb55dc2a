"""Mel to samples (FACTS §6.3), a chunk at a time, through parts that follow one another, one an upsampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .vocoder_part import Part

WINDOW = 96
"""Most mel frames that a step is given at a time: what it makes is heard before the rest is."""


class Vocoder:
    """Turns mels into samples.

    Args:
        parts: in order; what one gives the next one takes.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    @property
    def held(self) -> int:
        """Samples at the end of what is to be spoken that hang on what may still follow."""
        held = 0
        for part in self.parts:
            held = part.held(held)
        return held

    def begin(self) -> VocoderStream:
        """Start an utterance."""
        return VocoderStream(self)

    def run(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [T·hop] of a whole mel [T, bins] at once."""
        return self.begin().step(mel, last=True)

    def samples(self, mel: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Sound of a whole mel [T, bins], natural logarithm, in pieces [n] f32 that are T·hop together."""
        stream = self.begin()
        for start in range(0, len(mel), WINDOW):
            sound = stream.step(mel[start : start + WINDOW], last=start + WINDOW >= len(mel))
            if sound.size:
                yield sound


class VocoderStream:
    """One utterance.

    Args:
        vocoder: to compute with.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._streams = [part.begin() for part in self._vocoder.parts]

    def step(self, mel: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Take more mel, and speak what can be.

        Args:
            mel: [n, bins], natural logarithm, any number.
            last: the utterance ends with them.

        Returns:
            [m·hop] f32 in [-1, 1]: of all frames that have what they hang on behind them; at the end, all there are.
        """
        rows = mel
        for stream in self._streams:
            rows = stream.step(rows, last=last)
            if not len(rows):
                return np.empty(0, np.float32)
        return rows.reshape(-1)
