"""A room for a live conversation: a user who speaks when told, a loudspeaker, and its echo in the microphone."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
from numpy.typing import NDArray

from omni_edge.models.nano.world.hearing import CLEAN, RATE, as_heard, speak_seen
from omni_edge.runtime.live.clock import Clock, VirtualClock
from omni_edge.runtime.live.conversation import Conversation
from omni_edge.runtime.live.events import LiveEvent
from omni_edge.runtime.live.settings import Settings
from omni_edge.runtime.live.sources import Played
from omni_edge.runtime.live.speaker_file import FileSpeaker
from omni_edge.runtime.session import Session

BLOCK = 320
"""Samples of the microphone at a time: 20 ms."""
NOISE = 10 ** (-65 / 20)
"""Of the room."""
ECHO = 10 ** (-20 / 20)
"""How much quieter the loudspeaker arrives at the microphone."""


def question(text: str, seed: int) -> NDArray[np.float32]:
    """A sentence in one of nano's voices, without silence around it, [n] at 16 kHz."""
    rng = Random(seed)
    return loud(as_heard(*speak_seen(text, rng), rng, CLEAN).samples)


def loud(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """From the first to the last sample within 40 dB of its peak, which becomes 0.5."""
    size = np.abs(sound)
    places = np.flatnonzero(size > 0.01 * size.max())
    return (sound[places[0] : places[-1] + 1] * (0.5 / size.max())).astype(np.float32)


class EchoPath:
    """What comes back of a loudspeaker at 24 kHz: a delay, a direct sound and a room's decay.

    Args:
        rng: draws the room.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        delay = int(rng.uniform(0.002, 0.08) * RATE)
        decay = rng.standard_normal(RATE // 5) * np.exp(-np.arange(RATE // 5) * 6.9 / (0.15 * RATE)) * 0.3
        decay[0] = 1
        self._response = np.pad(decay * ECHO / np.sqrt(np.sum(decay**2)), (delay, 0))
        self._tail = np.zeros(self._response.size - 1)
        self._far = np.zeros(0, np.float32)
        self._at = 0

    def step(self, played: list[Played], now: int) -> NDArray[np.float32]:
        """What was played up to a sample of the microphone -> the echo of the last BLOCK before it."""
        far = np.zeros(BLOCK)
        for piece in played:
            times = np.arange(0, piece.samples.size, 1.5)
            places = piece.at - (now - BLOCK) + np.arange(times.size)
            inside = (places >= 0) & (places < BLOCK)
            far[places[inside]] = np.interp(times, np.arange(piece.samples.size), piece.samples)[inside]
        whole = np.convolve(far, self._response)
        whole[: self._tail.size] += self._tail
        self._tail = whole[BLOCK:]
        return whole[:BLOCK]


class _Overheard(FileSpeaker):
    """Hands out what it played twice: to the room first."""

    def __init__(self, clock: Clock, room: Room) -> None:
        super().__init__(clock, room.position)
        self._room = room

    def far(self) -> list[Played]:
        """What the room has heard."""
        played, self._room.played = self._room.played, []
        return played

    def leaves(self) -> list[Played]:
        """What has been played since the last call."""
        return super().far()


class Room:
    """Runs a conversation 20 ms at a time.

    Args:
        session: that answers.
        settings: of the conversation.
        clock: real or virtual.
        seed: of noise and echo.
        echo: whether the microphone hears the loudspeaker.
    """

    def __init__(
        self, session: Session, settings: Settings, clock: Clock | None = None, seed: int = 0, *, echo: bool = False
    ) -> None:
        self.clock = clock or VirtualClock()
        self._hold = self.clock.hold()
        self._hold.__enter__()
        self._start = self.clock.now()
        self._blocks = 0
        self._rng = np.random.default_rng(seed)
        self._echo = EchoPath(self._rng) if echo else None
        self.played: list[Played] = []
        self.heard: list[Played] = []
        self.speaker = _Overheard(self.clock, self)
        self.conversation = Conversation(
            session, settings, speaker=self.speaker, clock=self.clock, position=self.position
        )

    def position(self) -> int:
        """Of the microphone."""
        return round((self.clock.now() - self._start) * RATE)

    def step(self, user: NDArray[np.float32] | None = None) -> list[LiveEvent]:
        """The next 20 ms, in which the user says this: [BLOCK], or nothing."""
        self._blocks += 1
        self.clock.wait_until(self._start + self._blocks * BLOCK / RATE, order=1)
        near = self._rng.standard_normal(BLOCK) * NOISE
        if user is not None:
            near += user
        played = self.speaker.leaves()
        if self._echo is not None:
            near += self._echo.step(played, self._blocks * BLOCK)
        self.played += played
        self.heard = played
        self.conversation.hear(near.astype(np.float32))
        return self.conversation.take()

    def say(self, sound: NDArray[np.float32]) -> Iterator[LiveEvent]:
        """The user speaks."""
        padded = np.pad(sound, (0, -sound.size % BLOCK))
        for block in padded.reshape(-1, BLOCK):
            yield from self.step(block)

    def wait(self, seconds: float) -> Iterator[LiveEvent]:
        """The user is silent."""
        for _ in range(round(seconds * RATE / BLOCK)):
            yield from self.step()

    def close(self) -> None:
        """End the conversation."""
        self.conversation.close()
        self.speaker.close()
        self._hold.__exit__(None, None, None)
