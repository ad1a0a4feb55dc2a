"""The one thread that writes to the loudspeaker."""

from __future__ import annotations

from collections.abc import Callable

from .clock import Clock, Hold
from .reply import Piece, Reply
from .sources import Position, Speaker


class Voice:
    """Plays replies piece by piece.

    Args:
        speaker: open.
        clock: of the conversation.
        position: the microphone's.
        begun: takes a reply whose first sample goes to the loudspeaker, `spoke` each piece of it before it goes there.
        ended: takes a reply that was played to its end.
    """

    def __init__(
        self,
        speaker: Speaker,
        clock: Clock,
        position: Position,
        begun: Callable[[Reply], None],
        spoke: Callable[[Reply, Piece], None],
        ended: Callable[[Reply], None],
    ) -> None:
        self._speaker = speaker
        self._pieces = clock.queue()
        self._position = position
        self._begun = begun
        self._spoke = spoke
        self._ended = ended

    def put(self, reply: Reply, piece: Piece) -> None:
        """Play this next, after what waits; never waits itself."""
        self._pieces.put((reply, piece))

    def end(self) -> None:
        """End the thread, after what waits."""
        self._pieces.put(None)

    def run(self, hold: Hold) -> None:
        """Until it is told to end."""
        with hold:
            while (item := self._pieces.get()) is not None:
                self._play(*item)

    def _play(self, reply: Reply, piece: Piece) -> None:
        if not reply.is_cancelled and piece is not None and self._ready(reply):
            self._spoke(reply, piece)
            self._speaker.write(piece.samples)
        if piece is None and not reply.is_cancelled:
            if reply.first_sound is not None:
                self._speaker.drain()
            self._ended(reply)

    def _ready(self, reply: Reply) -> bool:
        """Begin to play a reply, unless it was cancelled a moment ago."""
        if reply.first_sound is not None:
            return True
        with reply.lock:
            if reply.is_cancelled:
                return False
            self._speaker.begin()
            reply.first_sound = self._position()
        self._begun(reply)
        return True
