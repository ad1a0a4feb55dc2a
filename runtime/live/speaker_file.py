"""A loudspeaker that nobody hears: it plays by a clock, into a file or into nothing."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..wav import WavWriter
from .clock import Clock
from .far_end import FarEnd
from .playback import Playback
from .sources import HEARD_RATE, Played, Position, Trouble

PIECE = 0.01
"""Seconds between two looks at what has left, for who waits."""


class FileSpeaker:
    """A `Speaker` whose sound leaves as a device's would, at the clock's pace and at once (it has no driver).

    Args:
        clock: what it plays by.
        position: the microphone's.
        rate: samples per second.
        path: a wav file for all that was played, the silence between included: its time is the clock's, from the
            making of this on. It is there after `close`. None: nothing is written.

    Raises:
        OmniError: the file cannot be written; from any method later, when the disk is full.
    """

    def __init__(self, clock: Clock, position: Position, rate: int = 24000, path: Path | None = None) -> None:
        self.rate = rate
        self._clock = clock
        self._position = position
        self._closing = ExitStack()
        self._file = self._closing.enter_context(WavWriter(path, rate)) if path is not None else None
        self._playback = Playback(rate)
        self._far = FarEnd(rate)
        self._lock = threading.RLock()
        self._start = clock.now()
        self._passed = 0  # samples of time, played or silent
        self._closed = False

    def begin(self) -> None:
        """Start a reply."""
        with self._lock:
            self._advance()
            self._playback.begin()

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play samples [n]."""
        while samples.size:
            with self._lock:
                self._advance()
                if self._playback.stopped or self._closed:
                    return
                part, samples = np.split(samples, [self._playback.room])
                self._playback.push(part)
            if samples.size:
                self._clock.wait_until(self._clock.now() + PIECE)

    @property
    def played(self) -> int:
        """Samples of this reply whose time has passed."""
        with self._lock:
            self._advance()
            return self._playback.taken

    @property
    def pending(self) -> int:
        """Samples that wait."""
        with self._lock:
            self._advance()
            return self._playback.waiting

    def duck(self, on: bool) -> None:
        """Change the volume."""
        with self._lock:
            self._advance()
            self._playback.duck(on)

    def stop(self) -> int:
        """Be silent after 5 ms; they are counted."""
        with self._lock:
            self._advance()
            self._playback.stop()
            return self._playback.taken + self._playback.waiting

    def drain(self) -> None:
        """Wait for the end."""
        while self.pending and not self._closed:
            self._clock.wait_until(self._clock.now() + PIECE)

    def far(self) -> list[Played]:
        """What has been played."""
        with self._lock:
            self._advance()
            return self._far.take()

    def troubles(self) -> list[Trouble]:
        """Never any."""
        return []

    def close(self) -> None:
        """Finish the file."""
        with self._lock:
            if not self._closed:
                self._advance()
                self._closed = True
                self._closing.close()

    def _advance(self) -> None:
        """Let the time that has passed since the last call take its samples."""
        now = self._clock.now()
        count = int((now - self._start) * self.rate + 1e-6) - self._passed
        if count <= 0 or self._closed:
            return
        begin = self._start + self._passed / self.rate
        samples = self._playback.take(count)
        self._far.add(samples, count, self._position() - (now - begin) * HEARD_RATE)
        self._passed += count
        if self._file is not None:
            self._file.write(np.pad(samples, (0, count - samples.size)))
