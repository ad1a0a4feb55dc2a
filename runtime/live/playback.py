"""What waits for a loudspeaker, and its volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BUFFER = 0.2
"""Seconds that may wait."""
DUCKED = 10 ** (-15 / 20)
"""Volume while the user seems to speak: -15 dB."""
RAMP = 0.02
"""Seconds that the whole way between the two volumes takes."""
FADE = 0.005
"""Seconds over which sound that is stopped fades, so that it does not click."""


class Playback:
    """The short buffer of one reply. Not locked: whoever owns it sees to that.

    Args:
        rate: samples per second.
    """

    def __init__(self, rate: int) -> None:
        self._limit = round(BUFFER * rate)
        self._fade = round(FADE * rate)
        self._step = (1 - DUCKED) / (RAMP * rate)
        self.begin()

    def begin(self) -> None:
        """A new reply: nothing waits, full volume."""
        self._waiting = np.zeros(0, np.float32)
        self._volume = self._wanted = 1.0
        self.taken = 0
        self.stopped = False

    @property
    def waiting(self) -> int:
        """Samples that were pushed and not taken."""
        return self._waiting.size

    @property
    def room(self) -> int:
        """Samples that may be pushed."""
        return self._limit - self._waiting.size

    def push(self, samples: NDArray[np.float32]) -> None:
        """Append samples [n], n at most `room`."""
        self._waiting = np.concatenate([self._waiting, samples])

    def take(self, count: int) -> NDArray[np.float32]:
        """The next samples at their volume, [n], n at most `count`."""
        samples, self._waiting = self._waiting[:count], self._waiting[count:]
        self.taken += samples.size
        return samples * self._volumes(samples.size)

    def duck(self, on: bool) -> None:
        """Move the volume from now on."""
        self._wanted = DUCKED if on else 1.0

    def stop(self) -> None:
        """Drop what waits but for some milliseconds that fade; take no more until `begin`."""
        if not self.stopped:
            self.stopped = True
            tail = self._waiting[: self._fade]
            self._waiting = tail * np.linspace(1, 0, tail.size, dtype=np.float32)

    def drop(self) -> None:
        """Forget what waits: there is nobody to take it."""
        self._waiting = self._waiting[:0]

    def _volumes(self, count: int) -> NDArray[np.float32]:
        way = self._wanted - self._volume
        steps = np.arange(1, count + 1, dtype=np.float32) * self._step
        volumes = self._volume + np.sign(way) * np.minimum(steps, abs(way))
        if count:
            self._volume = float(volumes[-1])
        return volumes.astype(np.float32)
