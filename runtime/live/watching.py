"""What a user would want to know about sound and pictures that arrive but are of no use. Each is said once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .sources import HEARD_RATE, Trouble

FULL_SCALE = 0.98
"""A sample beyond this counts as clipped; resampling moves a clipped top a little under 1."""
CLIPPED = HEARD_RATE // 1000
"""Samples of a second that may be clipped: a knock on the table is one or two."""
QUIET = 1e-3
"""-60 dBFS. A quiet room with an open microphone is louder than this at its peaks; a muted one gives zeros."""
PATIENCE = 60
"""Seconds of nothing but silence until it is said, and without clipping until clipping is said again."""
DARK = 16
"""Brightest value of a frame, of 255, that still counts as black: a covered camera's noise is below it."""
BLACK_FRAMES = 4
"""Black frames in a row until it is said: cameras give some while they start."""


class SoundWatch:
    """Looks for clipping and for lasting silence in sound at 16 kHz, a second at a time.

    Args:
        name: what the microphone is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.reset()

    def reset(self) -> None:
        """Begin anew, after the device was gone."""
        self._seen = self._clipped = 0
        self._peak = 0.0
        self._quiet = 0
        self._clean = PATIENCE

    def step(self, samples: NDArray[np.float32]) -> list[Trouble]:
        """Samples [n], any n."""
        troubles: list[Trouble] = []
        while samples.size:
            piece, samples = np.split(samples, [HEARD_RATE - self._seen])
            size = np.abs(piece)
            self._seen += piece.size
            self._clipped += np.count_nonzero(size >= FULL_SCALE)
            self._peak = max(self._peak, float(size.max()))
            if self._seen == HEARD_RATE:
                troubles += self._second()
        return troubles

    def _second(self) -> list[Trouble]:
        clipped, peak = self._clipped > CLIPPED, self._peak
        self._seen = self._clipped = 0
        self._peak = 0.0
        self._quiet = self._quiet + 1 if peak < QUIET else 0
        known, self._clean = self._clean < PATIENCE, 0 if clipped else self._clean + 1
        if clipped and not known:
            return [Trouble(f"{self._name} is too loud and distorts. Lower its level, or speak from further away")]
        if self._quiet == PATIENCE:
            return [
                Trouble(f"{self._name} has given silence for {PATIENCE} s. Check that it is not muted, and its level")
            ]
        return []


class PictureWatch:
    """Looks for black frames.

    Args:
        name: what the camera is called.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._black = 0

    def step(self, frame: NDArray[np.uint8]) -> list[Trouble]:
        """One frame, [h, w, 3]."""
        self._black = self._black + 1 if frame.max(initial=0) <= DARK else 0
        if self._black == BLACK_FRAMES:
            return [Trouble(f"{self._name} gives black pictures. Check that it is not covered or in use elsewhere")]
        return []
