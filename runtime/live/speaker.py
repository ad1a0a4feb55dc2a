"""A loudspeaker: counts what has really left it, stops at once, and stays out of the way when it is gone."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError
from .clock import Clock
from .far_end import FarEnd
from .playback import Playback
from .reopening import EVERY, Reopening
from .resampling import Resampler
from .sound_streams import OpenOutput
from .sources import HEARD_RATE, Played, Position, Trouble

STALLED = 2.0
"""Seconds without the driver asking for sound after which the device counts as lost."""
LOOK = 0.02
"""Seconds between two looks, for who waits."""


_Take = Callable[["_Output", int, float], NDArray[np.float32]]


class _Output:
    """An open device, which may run at another rate."""

    def __init__(self, open_device: OpenOutput, rate: int, take: _Take) -> None:
        self._source = rate
        self._take = take
        self._resampler: Resampler | None = None
        self._ready = np.zeros(0, np.float32)
        self._held = 0.0
        self.stream = open_device(rate, self._fill)
        self._resampler = Resampler(rate, self.stream.rate)

    def close(self) -> None:
        self.stream.close()

    def _fill(self, count: int, ahead: float) -> NDArray[np.float32]:
        """In the driver's thread."""
        if self._resampler is None:
            return np.zeros(count, np.float32)
        pieces, size = [self._ready], self._ready.size
        while size < count:
            wanted = math.ceil((count - size) * self._source / self.stream.rate)
            pieces.append(self._resampler.step(self._take(self, wanted, ahead + self._held)))
            self._held += wanted / self._source
            size += pieces[-1].size
        filled, self._ready = np.split(np.concatenate(pieces), [count])
        self._held -= count / self.stream.rate
        return filled


class DeviceSpeaker:
    """A `Speaker` on a device.

    One that is missing, busy, lost or stalled is said once and tried again until it is there.

    Args:
        open_device: opens it, or raises DeviceError (`sound_streams.open_output`).
        clock: real time.
        position: the microphone's.
        rate: samples per second of what is written.
        every: seconds between two attempts to open it.
    """

    def __init__(
        self, open_device: OpenOutput, clock: Clock, position: Position, rate: int = 24000, every: float = EVERY
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._position = position
        self._every = every
        self._attempt = partial(_Output, open_device, rate, self._take)
        self._playback = Playback(rate)
        self._far = FarEnd(rate)
        self._leaving: deque[tuple[float, int, int]] = deque()  # moment, samples before, samples
        self._left = 0
        self._troubles: list[Trouble] = []
        self._lock = threading.RLock()
        self._name = "the loudspeaker"
        self._asked = clock.now()
        self._output: _Output | None = None
        self._reopening: Reopening[_Output] | None = None
        self._closed = False
        try:
            self._use(self._attempt())
        except DeviceError as error:
            self._lose(str(error))

    def begin(self) -> None:
        """Start a reply."""
        self._look()
        with self._lock:
            self._playback.begin()
            self._leaving.clear()
            self._left = 0

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play samples [n]."""
        while samples.size:
            self._look()
            with self._lock:
                if self._output is None or self._playback.stopped or self._closed:
                    return
                part, samples = np.split(samples, [self._playback.room])
                self._playback.push(part)
            if samples.size:
                self._clock.wait_until(self._clock.now() + LOOK)

    @property
    def played(self) -> int:
        """Samples of this reply that have passed the driver's buffer as well."""
        with self._lock:
            return self._count()

    @property
    def pending(self) -> int:
        """Samples here and in the driver's buffer."""
        with self._lock:
            self._count()
            return self._playback.waiting + sum(size for _, _, size in self._leaving)

    def duck(self, on: bool) -> None:
        """Change the volume of what leaves next."""
        with self._lock:
            self._playback.duck(on)

    def stop(self) -> int:
        """Be silent as soon as the driver's buffer has run empty; what is in it counts as heard."""
        with self._lock:
            self._playback.stop()
            return self._playback.taken + self._playback.waiting

    def drain(self) -> None:
        """Wait for the end."""
        while self.pending and not self._closed:
            self._look()
            self._clock.wait_until(self._clock.now() + LOOK)

    def far(self) -> list[Played]:
        """What has been played."""
        with self._lock:
            return self._far.take()

    def troubles(self) -> list[Trouble]:
        """What has happened to the device."""
        self._look()
        with self._lock:
            troubles, self._troubles = self._troubles, []
            return troubles

    def close(self) -> None:
        """Let the device go."""
        with self._lock:
            self._closed = True
            output, self._output = self._output, None
            reopening, self._reopening = self._reopening, None
        if output is not None:
            output.close()
        if reopening is not None:
            reopening.cancel()

    def _take(self, output: _Output, count: int, ahead: float) -> NDArray[np.float32]:
        """In the driver's thread: the next samples, filled up with silence."""
        at = self._position() + ahead * HEARD_RATE
        with self._lock:
            self._asked = self._clock.now()
            if self._output is not output:
                return np.zeros(count, np.float32)
            before = self._playback.taken
            samples = self._playback.take(count)
            self._far.add(samples, count, at)
            if samples.size:
                self._leaving.append((self._asked + ahead, before, samples.size))
        return np.pad(samples, (0, count - samples.size))

    def _count(self) -> int:
        """Samples that have left; forgets the pieces that have."""
        now = self._clock.now()
        while self._leaving:
            moment, before, size = self._leaving[0]
            gone = int((now - moment) * self.rate)
            self._left = max(self._left, before + min(max(gone, 0), size))
            if gone < size:
                break
            self._leaving.popleft()
        return self._left

    def _look(self) -> None:
        """Notice a device that is gone, and one that is back."""
        with self._lock:
            output, reopening = self._output, self._reopening
            if output is not None and self._clock.now() - self._asked > STALLED:
                self._lose(f"{self._name} takes no sound")
            elif output is not None and not output.stream.active:
                self._lose(f"{self._name} is gone")
            opened = reopening.take() if reopening is not None else None
            if opened is not None:
                self._use(opened)
                self._troubles.append(Trouble(f"{self._name} is there again"))

    def _use(self, output: _Output) -> None:
        self._name = output.stream.name
        self._asked = self._clock.now()
        self._reopening = None
        self._output = output

    def _lose(self, why: str) -> None:
        if self._closed:
            return
        output, self._output = self._output, None
        self._playback.drop()
        self._count()
        self._leaving.clear()
        self._troubles.append(Trouble(f"{why}. Going on without; it is used again as soon as it is there"))
        self._reopening = Reopening(self._attempt, output, self._every)
