"""Keeping a conversation from hearing itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.errors import MissingExtra
from .settings import EchoMode
from .sources import HEARD_RATE, Played

FRAME = HEARD_RATE // 100
"""Samples that the canceller takes at a time: 10 ms."""
TAIL = 0.25
"""Seconds that a room goes on sounding after the loudspeaker."""
FULL_SCALE = 32767
LOUD = 10 ** (-35 / 20)
"""Level from which what is played should come back, if it does."""
INAUDIBLE = 10 ** (-45 / 20)
"""An echo quieter than this, beside what is played, is not taken for speech."""
SPREAD = 10
"""Frames that an echo may be late: 100 ms."""
REMEMBERED, ENOUGH = 200, 5
"""Frames, of those in which there could be an echo, that the search for one looks at: at most, and at least."""
QUIETEST = 20
"""Per cent of them that show the echo alone; in others a user may have spoken."""


class Ears(Protocol):
    """From what the microphone gives to what the user said."""

    full_duplex: bool
    """Whether the user can be heard while a reply sounds."""

    def step(self, near: NDArray[np.float32], far: Sequence[Played]) -> NDArray[np.float32]:
        """The next samples [n] and what was played since the last call -> as many, or those of some milliseconds ago:
        together they make the same sound, sample for sample."""
        ...

    def reset(self) -> None:
        """Begin with another conversation."""
        ...


class FarTrack:
    """What was played, on the microphone's clock; silence where nothing was.

    Args:
        rate: of what is played.
    """

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pieces: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._end: int | None = None

    def add(self, played: Played) -> None:
        """The next piece. Pieces that follow each other to within a sample of the microphone do so exactly."""
        begin = round(played.at * self._rate / HEARD_RATE)
        if self._end is not None and abs(begin - self._end) <= 2 * self._rate / HEARD_RATE:
            begin = self._end
        self._pieces.append((begin, played.samples))
        self._end = begin + played.samples.size

    def take(self, start: int, count: int) -> NDArray[np.float32]:
        """Samples at the far end's rate, beside `count` of the microphone from `start` on; what lies before is gone."""
        begin = start * self._rate // HEARD_RATE
        end = begin + count * self._rate // HEARD_RATE
        frame = np.zeros(end - begin, np.float32)
        while self._pieces and self._pieces[0][0] + self._pieces[0][1].size <= begin:
            self._pieces.popleft()
        for at, samples in self._pieces:
            low, high = max(at, begin), min(at + samples.size, end)
            if low < high:
                frame[low - begin : high - begin] = samples[low - at : high - at]
        return frame


class EchoSearch:
    """Whether the loudspeaker is heard at all; with headphones it is not."""

    def __init__(self) -> None:
        self._played: deque[float] = deque(maxlen=SPREAD)
        self._shares: deque[float] = deque(maxlen=REMEMBERED)

    def step(self, near: NDArray[np.float32], far: NDArray[np.float32]) -> bool:
        """A frame of the microphone and what was played beside it; True as long as nothing else is known."""
        self._played.append(_level(far))
        steady = min(self._played)
        if steady >= LOUD:
            self._shares.append(_level(near) / steady)
        return len(self._shares) < ENOUGH or float(np.percentile(self._shares, QUIETEST)) > INAUDIBLE


class Canceller:
    """WebRTC's echo canceller. Its sound comes one frame late, so that what is played at the same time is known.

    It takes a user for an echo for some seconds when there is none to learn from, so it is left out where EchoSearch
    finds none.

    Args:
        rate: of what is played; 16, 24, 32 or 48 kHz.

    Raises:
        MissingExtra: livekit is not installed.
    """

    full_duplex = True

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._library = _library()
        self.reset()

    def __call__(self, near: NDArray[np.float32], far: Sequence[Played]) -> NDArray[np.float32]:
        """A whole sound, [n] -> [n - n % FRAME - FRAME]."""
        self.reset()
        return self.step(near, far)

    def step(self, near: NDArray[np.float32], far: Sequence[Played]) -> NDArray[np.float32]:
        """See Ears."""
        for played in far:
            self._far.add(played)
        self._near = np.concatenate([self._near, near])
        cleaned: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
        while self._near.size >= 2 * FRAME:
            frame, self._near = self._near[:FRAME], self._near[FRAME:]
            beside = self._far.take(self._now, FRAME)
            self._module.process_reverse_stream(self._frame(beside, self._rate))
            self._module.set_stream_delay_ms(0)
            given = self._frame(frame, HEARD_RATE)
            self._module.process_stream(given)
            without = (np.frombuffer(bytes(given.data), np.int16) / FULL_SCALE).astype(np.float32)
            cleaned.append(without if self._search.step(frame, beside) else frame)
            self._now += FRAME
        return np.concatenate(cleaned)

    def reset(self) -> None:
        """See Ears."""
        self._module = self._library.AudioProcessingModule(echo_cancellation=True)
        self._far = FarTrack(self._rate)
        self._search = EchoSearch()
        self._near = np.zeros(0, np.float32)
        self._now = 0

    def _frame(self, samples: NDArray[np.float32], rate: int) -> Any:
        data = bytearray((np.clip(samples, -1, 1) * FULL_SCALE).astype(np.int16).tobytes())
        return self._library.AudioFrame(data, rate, 1, samples.size)


class HalfDuplex:
    """Hears nothing while something is played, and for as long after it as a room sounds."""

    full_duplex = False

    def __init__(self) -> None:
        self.reset()

    def step(self, near: NDArray[np.float32], far: Sequence[Played]) -> NDArray[np.float32]:
        """See Ears."""
        if far:
            self._deaf = round(TAIL * HEARD_RATE) + near.size
        heard = near.copy()
        heard[: self._deaf] = 0
        self._deaf = max(0, self._deaf - near.size)
        return heard

    def reset(self) -> None:
        """See Ears."""
        self._deaf = 0


class Open:
    """Hears everything."""

    full_duplex = True

    def step(self, near: NDArray[np.float32], far: Sequence[Played]) -> NDArray[np.float32]:
        """See Ears."""
        return near

    def reset(self) -> None:
        """See Ears."""


def ears(mode: EchoMode, rate: int) -> tuple[Ears, str]:
    """What a mode asks for, and what the user should know of it: a sentence, or nothing.

    Raises:
        MissingExtra: the canceller is not installed, and the mode is not "auto".
    """
    if mode == "off":
        return Open(), ""
    if mode != "half-duplex":
        try:
            return Canceller(rate), ""
        except MissingExtra as error:
            if mode == "on":
                raise
            return HalfDuplex(), f"half-duplex: you are not heard while the answer sounds. {error}"
    return HalfDuplex(), ""


def _level(samples: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _library() -> Any:
    try:
        from livekit import rtc
    except ImportError as error:
        raise MissingExtra("livekit", "live", "take the answer's own sound out of what is heard") from error
    return rtc
