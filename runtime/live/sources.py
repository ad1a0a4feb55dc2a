"""What a live conversation hears, sees and speaks through, whether devices or files stand behind it.

There is one clock: the number of samples that the microphone has given since it was opened, at 16 kHz. What is heard
carries the number of its first sample, a camera's frame the number at which it was taken, and what the loudspeaker
plays the number at which it leaves. `Position` is how a camera and a loudspeaker are told that number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

HEARD_RATE = 16000
"""Samples per second of everything heard, and of the clock (FACTS §4.1)."""

Position = Callable[[], int]
"""The number of the sample that is in the air now: `Microphone.position`."""


@dataclass(frozen=True)
class Heard:
    """Sound from the microphone. Pieces are contiguous: each starts where the one before it ended."""

    samples: NDArray[np.float32]
    """Mono at 16 kHz, [n], any n > 0; full scale is -1..1."""
    start: int
    """Number of the first sample."""


@dataclass(frozen=True)
class Seen:
    """One frame of the camera."""

    frame: NDArray[np.uint8]
    """RGB, [h, w, 3]."""
    at: int
    """Number of the sample that was heard when it was taken. Rises from frame to frame."""


@dataclass(frozen=True)
class Trouble:
    """Something the user should know about a device; the conversation goes on."""

    text: str
    """One or two sentences for the screen: what happened, and what to do."""


@dataclass(frozen=True)
class Played:
    """Sound that leaves the loudspeaker, volume as it really was, for an echo canceller."""

    samples: NDArray[np.float32]
    """Mono at the loudspeaker's `rate`, [n]."""
    at: int
    """Number of the microphone's sample that is taken when the first of them leaves. Where nothing is played there
    is a gap; without one, pieces follow each other, to the nearest sample."""


class Microphone(Protocol):
    """Gives sound without a gap. While a device is lost it gives silence as long as the time that passes, so that
    the clock goes on; so does a file after its end."""

    def read(self, timeout: float) -> list[Heard | Trouble]:
        """What is new. Waits for something at most `timeout` seconds, and may return an empty list."""
        ...

    def position(self) -> int:
        """Number of the sample that is in the air now; what `read` has given may end a little earlier."""
        ...

    @property
    def lost(self) -> int:
        """Samples, at 16 kHz, that came from the device and could not be kept. Each time it grows a Trouble says so."""
        ...

    @property
    def ended(self) -> bool:
        """Whether all of a file has been given. Never true of a device."""
        ...

    def close(self) -> None:
        """Let the device go. May be called twice, and while another thread is in `read`."""
        ...


class Camera(Protocol):
    """Gives frames at a set rate."""

    def read(self) -> list[Seen | Trouble]:
        """What is new; never waits for a frame. Call it often (after each `Microphone.read`)."""
        ...

    def close(self) -> None:
        """Let the device go. May be called twice."""
        ...


class Speaker(Protocol):
    """Plays one reply after another. All methods may be called from any thread.

    A reply is: `begin`, `write` again and again, `drain`. `stop` ends it early; what is written between `stop` and
    the next `begin` is dropped, so that a stage that has not yet noticed does no harm.
    """

    @property
    def rate(self) -> int:
        """Samples per second that `write` takes and that all counts are in."""
        ...

    def begin(self) -> None:
        """Start a reply: `played` counts from 0, the volume is back to full."""
        ...

    def write(self, samples: NDArray[np.float32]) -> None:
        """Play samples [n], mono, -1..1. Waits while the buffer of about 200 ms is full.

        A loudspeaker that is lost or stalls does not hold anyone up: what is written meanwhile is dropped and not
        counted as played.
        """
        ...

    @property
    def played(self) -> int:
        """Samples that have really left the loudspeaker since `begin`."""
        ...

    @property
    def pending(self) -> int:
        """Samples written that have not left yet, those in the driver's buffer included."""
        ...

    def duck(self, on: bool) -> None:
        """Play 15 dB quieter, or at full volume again, within 20 ms."""
        ...

    def stop(self) -> int:
        """Be silent within 100 ms and drop what waits. Returns the samples that were heard of this reply."""
        ...

    def drain(self) -> None:
        """Wait until everything written has left, or `stop` is called."""
        ...

    def far(self) -> list[Played]:
        """What has been played since the last call; at most some seconds are kept for who does not ask."""
        ...

    def troubles(self) -> list[Trouble]:
        """What has gone wrong, or right again, since the last call."""
        ...

    def close(self) -> None:
        """Let the device go, at once. May be called twice."""
        ...
