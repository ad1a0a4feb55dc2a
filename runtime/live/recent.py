"""The sound and the pictures that a turn may still need."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from .sources import HEARD_RATE, Seen

IN_VIEW = 2 * HEARD_RATE
"""Samples for which a frame is in view if none follows: after that the camera is off, or gone."""


class Recent:
    """What was heard, from some sample on."""

    def __init__(self) -> None:
        self._pieces: deque[NDArray[np.float32]] = deque()
        self._from = 0
        self.now = 0
        """Samples so far."""

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Append [n]."""
        self._pieces.append(samples)
        self.now += samples.size

    def since(self, at: int) -> NDArray[np.float32]:
        """All from a sample on."""
        pieces: list[NDArray[np.float32]] = []
        begin = self.now
        for piece in reversed(self._pieces):  # what is asked for is mostly the last one
            if begin <= at:
                break
            pieces.append(piece)
            begin -= piece.size
        sound = np.concatenate([np.zeros(0, np.float32), *reversed(pieces)])
        return sound[max(0, at - begin) :]

    def forget(self, before: int) -> None:
        """Samples before this one will not be asked for."""
        while self._pieces and self._from + self._pieces[0].size <= before:
            self._from += self._pieces.popleft().size


class Frames:
    """What was seen, dealt out at the model's rate: the i-th frame of a turn is what was in view i / fps after its
    first sample; where nothing was yet, what comes first. A camera that is slower than that repeats itself, one that is
    faster leaves frames out. One that gives nothing for as long as IN_VIEW gives nothing more to the turn.

    Args:
        fps: frames a second that the model takes.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._seen: deque[Seen] = deque()
        self._start = self._given = 0

    def __bool__(self) -> bool:
        """Whether anything is in view, or was since what has been forgotten."""
        return bool(self._seen)

    def see(self, seen: Seen) -> None:
        """The next frame of the camera."""
        self._seen.append(seen)

    def forget(self, before: int) -> None:
        """Frames that went out of view before this sample will not be asked for."""
        while self._seen and (
            self._seen[0].at + IN_VIEW <= before or (len(self._seen) > 1 and self._seen[1].at <= before)
        ):
            self._seen.popleft()

    def begin(self, at: int) -> None:
        """A turn whose first sample this is."""
        self.forget(at)
        self._start, self._given = at, 0

    def due(self, now: int) -> list[NDArray[np.uint8]]:
        """Frames of the turn that were in view before `now`, [h, w, 3] each, that were not given yet."""
        frames: list[NDArray[np.uint8]] = []
        while self._seen and (moment := self._start + self._given * HEARD_RATE / self._fps) < now:
            newest = next((seen for seen in reversed(self._seen) if seen.at <= moment), self._seen[0])
            if newest.at + IN_VIEW <= moment:
                break
            frames.append(newest.frame)
            self._given += 1
        return frames
