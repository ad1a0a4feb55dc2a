"""What left the loudspeaker and when, for an echo canceller."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from .sources import HEARD_RATE, Played

JOINED = HEARD_RATE // 50
"""Samples, 20 ms. Moments are known to some milliseconds, sound is contiguous to the sample: what seems to begin no
further than this from the end of what came before is taken to follow it."""
KEPT = 10
"""Seconds that are kept for who does not ask."""


class FarEnd:
    """A list of `Played` that somebody fills and somebody empties.

    Args:
        rate: samples per second of what is played.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pieces: deque[Played] = deque()
        self._size = 0
        self._end = -float("inf")

    def add(self, samples: NDArray[np.float32], at: float) -> None:
        """Samples [n] that leave from a moment on, counted in the microphone's samples."""
        if not samples.size:
            return
        begin = self._end if abs(at - self._end) <= JOINED else at
        self._end = begin + samples.size * HEARD_RATE / self._rate
        self._pieces.append(Played(samples, round(begin)))
        self._size += samples.size
        while self._size > KEPT * self._rate:
            self._size -= self._pieces.popleft().samples.size

    def take(self) -> list[Played]:
        """All that was added since the last call."""
        pieces, self._size = list(self._pieces), 0
        self._pieces.clear()
        return pieces
