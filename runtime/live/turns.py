"""When a turn of the user begins and ends.

    silent ── a frame is speech ──► perhaps ── `minimum` of speech ──► speaking ◄── speech ──┐
       ▲                               │                                   │                 │
       ├──── Cough: `pause` of quiet ──┘                       `pause` of quiet: Paused   Resumed
       │                                                                   ▼                 │
       └────────────── SpeechEnded: `silence` of quiet ─────────────── pausing ──────────────┘

What leads to `perhaps` is Onset; from there to `speaking`, SpeechStarted. Nothing here knows of sound, threads or
time: probabilities come in, one a frame, and events go out. Moments are numbers of samples at 16 kHz.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeAlias

from ...models.errors import RequestError
from .sources import HEARD_RATE
from .voice_activity import FRAME

HYSTERESIS = 0.15
"""How far the probability must fall below the threshold until what was speech is quiet; Silero's own value."""


@dataclass(frozen=True)
class TurnSettings:
    """When sound is taken for a turn. Times in seconds; they are rounded up to whole frames of 32 ms."""

    threshold: float = 0.5
    """Probability from which a frame is speech."""
    prefix: float = 0.3
    """Sound before the first frame of speech that belongs to the turn: words begin softly."""
    silence: float = 0.4
    """Quiet that ends a turn."""
    minimum: float = 0.25
    """Speech that makes a turn; less is a cough."""
    pause: float = 0.16
    """Quiet after which the answer is prepared, though the user may go on; at most `silence`. Also ends a cough."""
    push_to_talk: bool = False
    """Turns begin and end with `Turns.press` and `Turns.release` alone."""

    def check(self) -> None:
        """Refuse numbers that cannot be, with a RequestError."""
        if not HYSTERESIS < self.threshold < 1:
            raise RequestError(
                f"a threshold of {self.threshold:g} cannot be; use more than {HYSTERESIS} and less than 1"
            )
        if not 0 < self.silence <= 10:
            raise RequestError(f"a silence of {self.silence:g} s cannot end a turn; use more than 0 and at most 10")
        if not (0 <= self.prefix <= 2 and 0 < self.minimum <= 2 and self.pause > 0):
            raise RequestError("prefix and minimum are 0 to 2 seconds, and a pause is longer than 0")


@dataclass(frozen=True)
class Onset:
    """This may become speech."""

    at: int
    """First sample of the first frame of speech."""


@dataclass(frozen=True)
class Cough:
    """It did not."""

    at: int
    """End of its last frame of speech."""


@dataclass(frozen=True)
class SpeechStarted:
    """It did: a turn."""

    at: int
    """First sample of the turn, the prefix included."""


@dataclass(frozen=True)
class Paused:
    """The turn may be over."""

    at: int
    """End of the last frame of speech."""


@dataclass(frozen=True)
class Resumed:
    """It was not."""

    at: int
    """First sample of the frame that is speech again."""


@dataclass(frozen=True)
class SpeechEnded:
    """The turn is over."""

    at: int
    """End of its last frame of speech."""


TurnEvent: TypeAlias = Onset | Cough | SpeechStarted | Paused | Resumed | SpeechEnded


class _State(Enum):
    SILENT = auto()
    PERHAPS = auto()
    SPEAKING = auto()
    PAUSING = auto()


class Turns:
    """The state machine above.

    Args:
        settings: of the turns.
    """

    def __init__(self, settings: TurnSettings) -> None:
        settings.check()
        self._settings = settings
        self._prefix = round(settings.prefix * HEARD_RATE)
        self._minimum = _frames(settings.minimum)
        self._silence = _frames(settings.silence)
        self._pause = min(_frames(settings.pause), self._silence)
        self.reset(0)

    def __call__(self, probabilities: Iterable[float]) -> list[TurnEvent]:
        """All events of a whole sound."""
        self.reset(0)
        return [event for probability in probabilities for event in self.step(probability)]

    @property
    def is_speech(self) -> bool:
        """Whether a turn goes on."""
        return self._state in (_State.SPEAKING, _State.PAUSING)

    @property
    def is_silent(self) -> bool:
        """Whether there is not even an onset."""
        return self._state is _State.SILENT

    @property
    def reach(self) -> int:
        """The first sample that a turn may still begin with, while none goes on."""
        return max(self._from, (self._now if self.is_silent else self._onset) - self._prefix)

    def reset(self, at: int) -> None:
        """Nobody speaks; the next frame begins at a sample. No turn will reach back before it."""
        self._state = _State.SILENT
        self._now = self._from = self._end = self._onset = at
        self._speech = self._quiet = 0

    def step(self, probability: float) -> list[TurnEvent]:
        """The next frame."""
        begin, self._now = self._now, self._now + FRAME
        if self._settings.push_to_talk:
            return []
        level = self._settings.threshold - (HYSTERESIS if self._state is not _State.SILENT else 0)
        return self._speech_frame(begin) if probability >= level else self._quiet_frame()

    def press(self, at: int) -> list[TurnEvent]:
        """The user wants to talk from this sample on, whenever the first word comes."""
        if self.is_speech:
            return []
        self._state, self._onset, self._end, self._speech, self._quiet = _State.SPEAKING, at, at, 0, 0
        return [SpeechStarted(at)]

    def release(self, at: int) -> list[TurnEvent]:
        """The user has said what there was to say; also when a turn becomes longer than a model can hear."""
        if not self.is_speech:
            return []
        return self._over(at if self._settings.push_to_talk else max(self._end, self._onset))

    def _speech_frame(self, begin: int) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        if self._state is _State.SILENT:
            self._state, self._onset, self._speech = _State.PERHAPS, begin, 0
            events.append(Onset(begin))
        elif self._state is _State.PAUSING:
            self._state = _State.SPEAKING
            events.append(Resumed(begin))
        self._speech, self._quiet, self._end = self._speech + 1, 0, self._now
        if self._state is _State.PERHAPS and self._speech >= self._minimum:
            events.append(SpeechStarted(self.reach))
            self._state = _State.SPEAKING
        return events

    def _quiet_frame(self) -> list[TurnEvent]:
        self._quiet += 1
        if self._state is _State.PERHAPS and self._quiet >= self._pause:
            self._state = _State.SILENT
            return [Cough(self._end)]
        events: list[TurnEvent] = []
        # Who has pressed a key to talk has not begun yet; quiet ends what was begun.
        if self._state is _State.SPEAKING and self._speech and self._quiet >= self._pause:
            self._state = _State.PAUSING
            events.append(Paused(self._end))
        if self._state is _State.PAUSING and self._quiet >= self._silence:
            events += self._over(self._end)
        return events

    def _over(self, at: int) -> list[TurnEvent]:
        self._state, self._from = _State.SILENT, at
        return [SpeechEnded(at)]


def _frames(seconds: float) -> int:
    return max(1, math.ceil(seconds * HEARD_RATE / FRAME - 1e-9))
