"""What left the loudspeaker and when, for an echo canceller."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from .sources import HEARD_RATE, Played

SMOOTHING = 32
"""Blocks over which the measured moments are averaged: single ones are some milliseconds off, a canceller needs one."""
PAUSE = 0.5
"""Seconds of silence after which the average is looked at again; sound between two pauses is contiguous."""
LEAP = HEARD_RATE // 4
"""Samples that a measured moment may be off the average before it counts as a new beginning: the device was lost."""
KEPT = 10
"""Seconds that are kept for who does not ask."""


class FarEnd:
    """A list of `Played` that somebody fills and somebody empties.

    Args:
        rate: samples per second of what is played.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._scale = HEARD_RATE / rate
        self._pieces: deque[Played] = deque()
        self._size = 0
        self._passed = 0  # samples given to the device, silence included
        self._offset: float | None = None  # of the microphone's count from the device's
        self._anchor = 0.0  # the offset that the present sound goes by
        self._silent = PAUSE * rate

    def add(self, samples: NDArray[np.float32], count: int, at: float) -> None:
        """A block for the device.

        Args:
            samples: what is played at its beginning, [n], n at most `count`; the rest is silence.
            count: samples of the block.
            at: when it leaves, as well as it is known, counted in the microphone's samples.
        """
        measured = at - self._passed * self._scale
        if self._offset is None or abs(measured - self._offset) > LEAP:
            self._offset, self._silent = measured, PAUSE * self._rate
        self._offset += (measured - self._offset) / SMOOTHING
        if samples.size:
            if self._silent >= PAUSE * self._rate:
                self._anchor = self._offset
            self._append(Played(samples, round(self._passed * self._scale + self._anchor)))
            self._silent = 0
        self._silent += count - samples.size
        self._passed += count

    def take(self) -> list[Played]:
        """All that was added since the last call."""
        pieces, self._size = list(self._pieces), 0
        self._pieces.clear()
        return pieces

    def _append(self, piece: Played) -> None:
        self._pieces.append(piece)
        self._size += piece.samples.size
        while self._size > KEPT * self._rate:
            self._size -= self._pieces.popleft().samples.size
