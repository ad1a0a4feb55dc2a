"""A camera: the newest frame at a set rate."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError
from .capture import Capture, OpenCapture
from .reopening import EVERY
from .sources import HEARD_RATE, Position, Seen, Trouble
from .watching import PictureWatch

TRIES = 5
"""Frames in a row that may fail to come before a camera counts as lost."""
STALLED = 4 * HEARD_RATE
"""Samples of sound without a frame after which it is said that the camera has stopped."""


class DeviceCamera:
    """A `Camera` on a device, read in a thread that keeps the newest frame.

    One that is missing, busy or lost is said once and tried again until it is there.

    Args:
        open_device: opens it, or raises DeviceError (`capture.open_capture`).
        fps: frames a second that `read` gives at most.
        position: the microphone's; frames are stamped with it when they arrive.
        every: seconds between two attempts to open it.
    """

    def __init__(self, open_device: OpenCapture, fps: float, position: Position, every: float = EVERY) -> None:
        self._open = open_device
        self._step = HEARD_RATE / fps
        self._position = position
        self._every = every
        self._lock = threading.Lock()
        self._newest: tuple[int, NDArray[np.uint8]] | None = None
        self._troubles: list[Trouble] = []
        self._name = "the camera"
        self._watch = PictureWatch(self._name)
        self._start = position()
        self._alive: int | None = None  # when the last frame came; None while there is no device
        self._given = 0  # frame times that have passed
        self._stalled = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def read(self) -> list[Seen | Trouble]:
        """The newest frame, if its time has come and it has not been given before."""
        now = self._position()
        due = int((now - self._start) / self._step) + 1
        with self._lock:
            events: list[Seen | Trouble] = [*self._troubles, *self._stall(now)]
            self._troubles = []
            if self._newest is None or due <= self._given:
                return events
            (at, frame), self._newest = self._newest, None
        self._given = due
        return [*events, *self._watch.step(frame), Seen(frame, at)]

    def close(self) -> None:
        """Let the device go; a driver that hangs is left to itself."""
        self._closed.set()
        self._thread.join(timeout=1)

    def _run(self) -> None:
        again = False
        while not self._closed.is_set():
            try:
                capture = self._open()
            except DeviceError as error:
                if not again:
                    self._say(f"{error}. Going on without; it is used again as soon as it is there")
                again = True
                self._closed.wait(self._every)
                continue
            self._use(capture.name, again)
            self._follow(capture)
            capture.close()
            with self._lock:
                self._alive = None
            if not self._closed.is_set():
                again = True
                self._say(f"{capture.name} is gone. Going on without; it is used again as soon as it is there")
                self._closed.wait(self._every)

    def _follow(self, capture: Capture) -> None:
        """Until it is closed or lost."""
        failed = 0
        converted = -self._step
        while not self._closed.is_set() and failed < TRIES:
            if not capture.grab():
                failed += 1
                self._closed.wait(0.05)
                continue
            failed = 0
            at = self._position()
            # Twice the rate that is asked for is new enough; converting every frame would cost a core.
            frame = capture.retrieve() if at - converted >= self._step / 2 else None
            with self._lock:
                self._alive = at
                if frame is not None:
                    self._newest, converted = (at, frame), at

    def _use(self, name: str, again: bool) -> None:
        with self._lock:
            self._alive = self._position()
            if name != self._name:
                self._name, self._watch = name, PictureWatch(name)
        if again:
            self._say(f"{name} is there again")

    def _stall(self, now: int) -> list[Trouble]:
        """Said once: a driver that hangs in `grab` gives no other sign."""
        stalled = self._alive is not None and now - self._alive > STALLED
        known, self._stalled = self._stalled, stalled
        return [Trouble(f"{self._name} gives no pictures any more. Going on without")] if stalled and not known else []

    def _say(self, text: str) -> None:
        with self._lock:
            self._troubles.append(Trouble(text))
