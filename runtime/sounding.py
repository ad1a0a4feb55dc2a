"""Mels of a reply to sound, the first of it early.

What a vocoder gives of a frame hangs on frames that follow. Where these are more than a block of codes, a first chunk
of one block would be held back whole. But the flow has solved its look-ahead too: what follows is known, if not as
closely as it will be. So the first chunk is heard with that behind it, and when what follows is there as it is to stay,
the sound goes on with that, blended over one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .vocoder import WINDOW, Vocoder

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Mel:
    """A chunk of an utterance.

    Args:
        rows: [n, bins], natural logarithm.
        ahead: [m, bins], what follows them as far as can be told yet.
        last: the utterance ends with `rows`.
    """

    rows: F32
    ahead: F32
    last: bool


class Sounding:
    """One utterance.

    Args:
        vocoder: to compute with.
        hop: samples of a frame.
        early: whether the first chunk is heard before all it hangs on is there.
    """

    def __init__(self, vocoder: Vocoder, hop: int, *, early: bool) -> None:
        self._vocoder, self._hop = vocoder, hop
        self._is_early = early
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._stream = self._vocoder.begin()
        self._is_first = True
        self._waiting: F32 | None = None
        """Rows that were heard and that the stream has not been given."""
        self._heard = 0
        """Samples of them that the stream will give again."""
        self._guess = np.empty(0, np.float32)
        """What came after them in the early sound."""

    def step(self, mel: Mel) -> Iterator[F32]:
        """Samples [n] f32 of what can be heard, a window of the vocoder at a time: the first of a long chunk is heard
        while the rest is still made."""
        is_first, self._is_first = self._is_first, False
        if is_first and self._is_early and not mel.last:
            yield self._early(mel)
            return
        rows = mel.rows if self._waiting is None else np.concatenate([self._waiting, mel.rows])
        self._waiting = None
        for at in range(0, max(len(rows), 1), WINDOW):
            made = self._stream.step(rows[at : at + WINDOW], last=mel.last and at + WINDOW >= len(rows))
            samples = self._unheard(made)
            if samples.size:
                yield samples

    def _early(self, mel: Mel) -> F32:
        ahead = mel.ahead[: math.ceil(self._vocoder.held / self._hop) + 1]
        samples = self._vocoder.run(np.concatenate([mel.rows, ahead]))
        self._waiting, self._heard = mel.rows, len(mel.rows) * self._hop
        self._guess = samples[self._heard : self._heard + self._hop]
        return samples[: self._heard]

    def _unheard(self, samples: F32) -> F32:
        """What goes on where the early sound ended."""
        again = min(self._heard, len(samples))
        self._heard -= again
        samples = samples[again:]
        count = min(len(self._guess), len(samples))
        if count:
            # The frame counts down from its whole length, whatever the pieces it comes in.
            share = np.arange(len(self._guess), 0, -1, dtype=np.float32)[:count] / np.float32(self._hop + 1)
            samples = samples.copy()
            samples[:count] += share * (self._guess[:count] - samples[:count])
            self._guess = self._guess[count:]
        return samples
