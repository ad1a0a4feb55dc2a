"""What a conversation tells, beside the TextDelta, AudioDelta and Notice of its replies. Moments are sample numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from ..events import AudioDelta, Done, Notice, TextDelta
from .sources import HEARD_RATE, Trouble
from .turns import Cough


@dataclass(frozen=True)
class UserStarted:
    """The user speaks: a turn."""

    at: int
    """First sample of the turn."""


@dataclass(frozen=True)
class UserEnded:
    """The user's turn is over."""

    at: int
    """End of the last speech in it."""
    samples: int
    """Length of the turn up to there."""


@dataclass(frozen=True)
class ReplyStarted:
    """The first sample of a reply goes to the loudspeaker."""

    at: int
    """Sample of the microphone that was in the air then."""
    first_sound_s: float
    """Since the end of the user's speech; see TurnDone."""


@dataclass(frozen=True)
class TurnDone:
    """A turn of the user was answered, and the answer was played or stopped.

    Times in seconds of the conversation's clock. In virtual time no time passes while the machine computes.
    """

    heard: float
    """Length of what the user said, from the prefix to the end of speech."""
    first_sound_s: float | None
    """From the end of the user's speech, where the last frame that is speech ends, to the first sample handed to the
    loudspeaker; the quiet that ends a turn is part of it. None: nothing was to be heard."""
    decided_s: float
    """The part of it that passed until the turn was known to be over."""
    interrupted: bool
    """Whether the user spoke, or pressed a key, before the end of the reply."""
    played: int
    """Samples of the reply that left the loudspeaker."""
    said: str
    """The reply as it stands in the conversation: the words that were heard."""
    done: Done | None
    """The reply as it was made; None when it was stopped before it was complete."""
    tokens_left: int | None
    """Rows of the model's context that are free; None with `done`."""

    @property
    def after_decision_s(self) -> float | None:
        """The part of `first_sound_s` that the machine added."""
        return None if self.first_sound_s is None else self.first_sound_s - self.decided_s


@dataclass(frozen=True)
class Totals:
    """Of a whole conversation."""

    turns: int = 0
    interrupted: int = 0
    coughs: int = 0
    taken_back: int = 0
    """Answers that were prepared in a pause, for nothing: the user went on."""
    heard: int = 0
    """Samples from the microphone."""
    spoken_s: float = 0.0
    """Of replies, as played."""

    @property
    def heard_s(self) -> float:
        """Seconds from the microphone."""
        return self.heard / HEARD_RATE


LiveEvent: TypeAlias = (
    UserStarted | UserEnded | Cough | ReplyStarted | TextDelta | AudioDelta | Notice | Trouble | TurnDone
)
