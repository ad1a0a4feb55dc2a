"""Mels of a reply to sound, the first of it early.

What a vocoder gives of a frame hangs on frames that follow, and of a first chunk of one block most or all would be held
back. But the flow has solved its look-ahead too: what follows is known, if not as closely as it will be. So the first
chunk is heard with that behind it, up to where little hangs on what is not known, and when what follows is there as it
is to stay, the sound goes on with that, blended over one frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .vocoder import WINDOW, Vocoder

F32 = NDArray[np.float32]
GUARD = 16
"""Mel frames that are known behind what is heard early. With fewer, the sound that goes on from it differs more from
what was foreseen (`python -m benchmarks.early`)."""


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


def early_frames(rows: int, ahead: int) -> int:
    """Of a first chunk of `rows` mel frames, with `ahead` more known behind it, those that are heard early."""
    return max(0, min(rows, rows + ahead - GUARD))


class Sounding:
    """One utterance.

    Args:
        vocoder: to compute with.
        hop: samples of a frame.
    """

    def __init__(self, vocoder: Vocoder, hop: int) -> None:
        self._vocoder, self._hop = vocoder, hop
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._stream = self._vocoder.begin()
        self._is_first = True
        self._waiting: F32 | None = None
        """The first chunk, which the stream has not been given."""
        self._heard = 0
        """Samples of it that were heard and that the stream will give again."""
        self._guess = np.empty(0, np.float32)
        """What came after them in the early sound."""

    def step(self, mel: Mel) -> Iterator[F32]:
        """Samples [n] f32 of what can be heard, a window of the vocoder at a time: the first of a long chunk is heard
        while the rest is still made."""
        is_first, self._is_first = self._is_first, False
        if is_first and not mel.last:
            self._waiting = mel.rows
            count = early_frames(len(mel.rows), len(mel.ahead))
            if count:
                yield self._early(mel, count)
            return
        rows = mel.rows if self._waiting is None else np.concatenate([self._waiting, mel.rows])
        self._waiting = None
        for at in range(0, max(len(rows), 1), WINDOW):
            made = self._stream.step(rows[at : at + WINDOW], last=mel.last and at + WINDOW >= len(rows))
            samples = self._unheard(made)
            if samples.size:
                yield samples

    def _early(self, mel: Mel, frames: int) -> F32:
        self._heard = frames * self._hop
        ahead = mel.ahead[: math.ceil(self._vocoder.held / self._hop) + 1]
        samples = self._vocoder.run(np.concatenate([mel.rows, ahead]))
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
