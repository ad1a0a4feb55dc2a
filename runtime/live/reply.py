"""One reply on its way from the session to the loudspeaker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from ..events import AudioDelta, Done, Event, Notice, TextDelta

Piece: TypeAlias = AudioDelta | None
"""Sound, or None for the end."""
Words: TypeAlias = TextDelta | Notice


class Reply:
    """What is made of a reply is held back until it is confirmed that the user's turn is over, then goes on at once.

    Args:
        start: first sample of the user's turn.
        end: where the user's speech ends.
        tell: takes text and notices.
        sound: takes sound, and None at its end.
    """

    def __init__(
        self, start: int, end: int, tell: Callable[[Words], None], sound: Callable[[Reply, Piece], None]
    ) -> None:
        self.start = start
        self.end = end
        self.lock = threading.Lock()
        """Held by whoever begins to play it, or gives it up: one of the two comes first."""
        self.decided: int | None = None
        """Sample that was in the air when the turn was known to be over."""
        self.first_sound: int | None = None
        """Sample that was in the air when the first sound went to the loudspeaker."""
        self.played = 0
        """Samples that left the loudspeaker, if it was not stopped: all, unless the loudspeaker is gone."""
        self.done: Done | None = None
        self.is_cancelled = False
        self.interrupted = False
        self.asked = False
        """Whether the session has taken the question into its history."""
        self._tell = tell
        self._sound = sound
        self._held: list[Words | Piece] | None = []

    def put(self, event: Event | None) -> None:
        """What the session yields next; None when that was all."""
        with self.lock:
            if isinstance(event, Done):
                self.done = event
            elif self._held is not None:
                self._held.append(event)
            else:
                self._deliver(event)

    def confirm(self, now: int) -> None:
        """The turn is over: let it be heard."""
        with self.lock:
            self.decided = now
            held, self._held = self._held or [], None
            for event in held:
                self._deliver(event)

    def cancel(self) -> None:
        """Nothing more of it is to be heard."""
        with self.lock:
            self.is_cancelled = True
            self._held = []

    def _deliver(self, event: Words | Piece) -> None:
        if self.is_cancelled:
            return
        if event is None or isinstance(event, AudioDelta):
            self._sound(self, event)
        else:
            self._tell(event)
