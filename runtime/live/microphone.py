"""A microphone: whatever the driver gives, to 16 kHz mono without a gap."""

from __future__ import annotations

import threading
from collections import deque
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError
from .clock import Clock
from .reopening import EVERY, Reopening
from .resampling import Resampler
from .sound_streams import OpenInput
from .sources import HEARD_RATE, Heard, Trouble
from .watching import SoundWatch

KEPT = 10.0
"""Seconds of sound that wait for a reader before more is dropped."""
SILENT = 2.0
"""Seconds without anything from a driver after which the device counts as lost."""
PIECE = 0.02
"""Seconds between pieces of silence while there is no device."""


class _Recording:
    """An open device and what it has given that nobody has read."""

    def __init__(self, open_device: OpenInput, clock: Clock) -> None:
        self._clock = clock
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._size = self._received = 0
        self._age = self._dropped = 0.0
        self._limit = float("inf")
        self._arrived = threading.Condition()
        self.last = clock.now()
        self.stream = open_device(self._put)
        self.opened = self.last = clock.now()
        self._limit = KEPT * self.stream.rate
        self.resampler = Resampler(self.stream.rate, HEARD_RATE)

    def close(self) -> None:
        self.stream.close()

    @property
    def silent(self) -> bool:
        """Whether the device has stopped giving sound."""
        return not self.stream.active or self._clock.now() - self.last > SILENT

    def position(self) -> float:
        """Seconds of sound since it was opened, up to what is in the air."""
        with self._arrived:
            since = min(self._clock.now() - self.last, SILENT)
            return self._received / self.stream.rate + since + self._age

    def take(self, timeout: float) -> NDArray[np.float32]:
        """All samples that wait, [n], at the device's rate."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._blocks, timeout)
            blocks, self._size = list(self._blocks), 0
            self._blocks.clear()
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    def take_dropped(self) -> float:
        """Seconds that were lost since the last call."""
        with self._arrived:
            dropped, self._dropped = self._dropped, 0.0
            return dropped

    def _put(self, block: NDArray[np.float32], age: float, gap: float) -> None:
        """In the driver's thread."""
        with self._arrived:
            self.last = self._clock.now()
            self._age = age
            self._dropped += gap
            if self._size + block.size > self._limit:
                self._dropped += block.size / self.stream.rate
                return
            self._received += block.size
            self._size += block.size
            self._blocks.append(block)
            self._arrived.notify_all()


class DeviceMicrophone:
    """A `Microphone` on a device.

    One that is missing, busy or lost is said once and tried again until it is there; silence comes meanwhile.

    Args:
        open_device: opens it, or raises DeviceError (`sound_streams.open_input`).
        clock: real time.
        every: seconds between two attempts to open it.
    """

    def __init__(self, open_device: OpenInput, clock: Clock, every: float = EVERY) -> None:
        self._attempt = partial(_Recording, open_device, clock)
        self._clock = clock
        self._every = every
        self._name = "the microphone"
        self._given = self._lost = 0
        self._troubles: list[Heard | Trouble] = []
        self._recording: _Recording | None = None
        self._reopening: Reopening[_Recording] | None = None
        self._closed = False
        self._change = threading.Lock()
        self._silent_from = clock.now()
        try:
            self._use(self._attempt())
        except DeviceError as error:
            self._lose(str(error))

    @property
    def lost(self) -> int:
        """Samples at 16 kHz that were dropped by the driver, or here because nobody read."""
        return self._lost

    @property
    def ended(self) -> bool:
        """Never."""
        return False

    def position(self) -> int:
        """From the samples that have come, and the time since the last of them."""
        recording = self._recording
        if recording is None:
            return self._given + max(0, round((self._clock.now() - self._silent_from) * HEARD_RATE))
        return self._begin + round(recording.position() * HEARD_RATE)

    def read(self, timeout: float) -> list[Heard | Trouble]:
        """All that the driver has given, or silence while there is none."""
        events, self._troubles = self._troubles, []
        timeout = 0.0 if events else timeout
        recording = self._recording
        if recording is None:
            return events + self._absent(timeout)
        samples = recording.take(timeout)
        if samples.size:
            events += self._heard(recording.resampler.step(samples))
        elif recording.silent:
            events += self._heard(recording.resampler.finish())
            self._silent_from = recording.last
            self._lose(f"{self._name} is gone")
        return events + self._dropped(recording)

    def close(self) -> None:
        """Let the device go."""
        with self._change:
            self._closed = True
            recording, self._recording = self._recording, None
            reopening, self._reopening = self._reopening, None
        if recording is not None:
            recording.close()
        if reopening is not None:
            reopening.cancel()

    def _use(self, recording: _Recording) -> None:
        self._name = recording.stream.name
        self._watch = SoundWatch(self._name)
        self._begin = self._given
        self._recording = recording

    def _lose(self, why: str) -> None:
        with self._change:
            if self._closed:
                return
            recording, self._recording = self._recording, None
            self._troubles.append(Trouble(f"{why}. Going on without; it is used again as soon as it is there"))
            self._reopening = Reopening(self._attempt, recording, self._every)

    def _absent(self, timeout: float) -> list[Heard | Trouble]:
        if self._closed:
            return []
        self._clock.wait_until(self._clock.now() + min(timeout, PIECE))
        with self._change:
            recording = self._reopening.take() if self._reopening is not None else None
            if recording is None:
                return self._silence(self._clock.now())
            self._reopening = None
            events = self._silence(recording.opened)
            self._use(recording)
        return [*events, Trouble(f"{self._name} is there again")]

    def _silence(self, until: float) -> list[Heard | Trouble]:
        count = int((until - self._silent_from) * HEARD_RATE)
        if count <= 0:
            return []
        self._silent_from += count / HEARD_RATE
        self._given += count
        return [Heard(np.zeros(count, np.float32), self._given - count)]

    def _heard(self, samples: NDArray[np.float32]) -> list[Heard | Trouble]:
        if not samples.size:
            return []
        self._given += samples.size
        return [*self._watch.step(samples), Heard(samples, self._given - samples.size)]

    def _dropped(self, recording: _Recording) -> list[Heard | Trouble]:
        dropped = recording.take_dropped()
        if not dropped:
            return []
        self._lost += max(1, round(dropped * HEARD_RATE))
        return [Trouble(f"{dropped:.2f} s of {self._name} were lost: this machine is too busy")]
