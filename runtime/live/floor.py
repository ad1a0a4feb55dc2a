"""Who has the floor. Events of `turns` move it; a reply is *held* while the user's turn is only perhaps over.

    nobody ── SpeechStarted ──► user ── Paused ──► user, reply held ── SpeechEnded ──► reply ── played ──► nobody
                                 ▲                     │                                 │
                                 ├──── Resumed: take the question back                   │
                                 └──── SpeechStarted: stop the sound, cut the reply to what was heard

While a reply sounds, Onset ducks it, and Cough lets it go on at full volume.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...models.errors import RequestError
from ...models.manifest import Manifest
from ..options import decide
from .events import LiveEvent, Totals, TurnDone, UserEnded, UserStarted
from .mind import Answer, Begin, CutTo, Mind, More, TakeBack
from .recent import Frames, Recent
from .reply import Reply
from .settings import Settings
from .sources import HEARD_RATE, Position, Seen, Speaker, Trouble
from .turns import Cough, Onset, Paused, Resumed, SpeechEnded, SpeechStarted, TurnEvent, Turns
from .voice import Voice
from .voice_activity import FRAME, VoiceActivity

MARGIN = 1
"""Seconds before the longest sound that the model hears at which a turn is ended."""


class Floor:
    """Turns sound into orders for mind, voice and loudspeaker. Any thread may call; nothing here waits.

    Args:
        manifest: of the model.
        settings: of the conversation.
        mind, voice: their threads run.
        speaker: what `voice` plays through.
        position: the microphone's.
        tell: takes what happens.
    """

    def __init__(
        self,
        manifest: Manifest,
        settings: Settings,
        mind: Mind,
        voice: Voice,
        speaker: Speaker,
        position: Position,
        tell: Callable[[LiveEvent], None],
    ) -> None:
        self._manifest = manifest
        self._settings = settings
        self._mind = mind
        self._voice = voice
        self._speaker = speaker
        self._position = position
        self._tell = tell
        self._activity = VoiceActivity()
        self._turns = Turns(settings.turns)
        self._recent = Recent()
        self._frames = Frames(manifest.vision.video_fps)
        self._lock = threading.RLock()
        self._start = self._sent = 0
        self._longest = (manifest.audio.max_seconds - MARGIN) * HEARD_RATE
        self.reply: Reply | None = None
        """The one that is held, made or played."""
        self.options = settings.options
        self.totals = Totals()

    @property
    def is_idle(self) -> bool:
        """Whether nobody speaks and nothing is being answered."""
        with self._lock:
            return self.reply is None and self._turns.is_silent

    @property
    def user_speaks(self) -> bool:
        """Whether a turn of the user goes on."""
        return self._turns.is_speech

    def set_voice(self, name: str) -> None:
        """See Conversation."""
        options = replace(self.options, voice=name)
        decide(options, self._manifest)
        self.options = options

    def hear(self, samples: NDArray[np.float32]) -> None:
        """What the user may have said next."""
        with self._lock:
            # What is decided at the end of a frame is decided with the sound up to there, whatever the pieces.
            first = FRAME - self._recent.now % FRAME
            for piece in np.split(samples, range(first, samples.size, FRAME)):
                self._frame(np.zeros_like(piece) if self._is_deaf else piece)
            self._send()
            self.totals = replace(self.totals, heard=self._recent.now)
            reach = self._start if self._turns.is_speech else self._turns.reach
            self._recent.forget(reach)
            self._frames.forget(reach)

    def see(self, seen: Seen) -> None:
        """A frame."""
        with self._lock:
            self._frames.see(seen)

    def press(self) -> None:
        """See Conversation."""
        with self._lock:
            self._on(*self._turns.press(self._recent.now))

    def release(self) -> None:
        """See Conversation."""
        with self._lock:
            self._on(*self._turns.release(self._recent.now))

    def interrupt(self) -> None:
        """See Conversation."""
        with self._lock:
            if self.reply is not None and self.reply.decided is not None:
                reply, self.reply = self.reply, None
                reply.interrupted = True
                reply.cancel()
                played = self._speaker.stop() if reply.first_sound is not None else 0
                self._mind.put(CutTo(reply, played))

    def close(self) -> None:
        """Be silent; nothing is answered any more. What was heard of a reply was said, what was prepared was not."""
        with self._lock:
            self.interrupt()
            self._take_back()
            self._speaker.stop()

    def played(self, reply: Reply) -> None:
        """It was played to its end."""
        with self._lock:
            if self.reply is reply:
                self.reply = None
                if reply.first_sound is not None:
                    reply.played = self._speaker.played
                self._mind.put(CutTo(reply, None))

    def settled(self, reply: Reply, played: int | None, said: str) -> None:
        """The session has it as it was heard."""
        done, decided = reply.done, reply.decided
        if decided is None:
            raise RequestError("a reply was played before its turn was over")
        samples = played if played is not None else reply.played
        left = None
        if done is not None:
            left = self._manifest.thinker.context - done.stats.prompt_rows - len(done.ids)
        with self._lock:
            totals = self.totals
            self.totals = replace(
                totals,
                turns=totals.turns + 1,
                interrupted=totals.interrupted + reply.interrupted,
                spoken_s=totals.spoken_s + samples / self._manifest.vocoder.rate,
            )
        self._tell(
            TurnDone(
                heard=(reply.end - reply.start) / HEARD_RATE,
                first_sound_s=None if reply.first_sound is None else (reply.first_sound - reply.end) / HEARD_RATE,
                decided_s=(decided - reply.end) / HEARD_RATE,
                interrupted=reply.interrupted,
                played=samples,
                said=said,
                done=done,
                tokens_left=left,
            )
        )

    @property
    def _is_deaf(self) -> bool:
        """Whether what the user says does not count."""
        answering = self.reply is not None and self.reply.decided is not None
        return answering and not self._settings.interrupt and not self._settings.turns.push_to_talk

    def _frame(self, heard: NDArray[np.float32]) -> None:
        """Sound up to the end of a frame at most."""
        self._recent.hear(heard)
        for probability in self._activity.step(heard):
            self._on(*self._turns.step(float(probability)))
        if self._turns.is_speech and self._recent.now - self._start > self._longest:
            self._tell(
                Trouble(f"no more than {self._manifest.audio.max_seconds} s can be heard at once; answering those")
            )
            self._on(*self._turns.release(self._recent.now))

    def _on(self, *events: TurnEvent) -> None:
        for event in events:
            match event:
                case Onset():
                    self._duck(on=True)
                case Cough():
                    self._duck(on=False)
                    self.totals = replace(self.totals, coughs=self.totals.coughs + 1)
                    self._tell(event)
                case SpeechStarted(at):
                    self.interrupt()
                    self._start = at
                    self._begin()
                    self._tell(UserStarted(at))
                case Paused(at):
                    self._answer(at)
                case Resumed():
                    self._resume()
                case SpeechEnded(at):
                    self._end(at)

    def _duck(self, *, on: bool) -> None:
        if self.reply is not None and self.reply.first_sound is not None:
            self._speaker.duck(on)

    def _begin(self) -> None:
        self._frames.begin(self._start)
        self._sent = self._recent.now
        video = self._settings.video and bool(self._frames)
        self._mind.put(Begin(self.options, video, self._recent.since(self._start), self._due()))

    def _send(self) -> None:
        """What came of the turn since the last time."""
        if self._turns.is_speech and self.reply is None and self._sent < self._recent.now:
            self._mind.put(More(self._recent.since(self._sent), self._due()))
            self._sent = self._recent.now

    def _due(self) -> list[NDArray[np.uint8]]:
        return self._frames.due(self._recent.now) if self._settings.video else []

    def _answer(self, end: int) -> Reply:
        """Have a reply made, to be held until it is confirmed."""
        self._send()
        self.reply = Reply(self._start, end, self._tell, self._voice.put)
        self._mind.put(Answer(self.reply, self.options))
        return self.reply

    def _resume(self) -> None:
        if self.reply is not None:
            self._take_back()
            self.totals = replace(self.totals, taken_back=self.totals.taken_back + 1)
        self._begin()

    def _take_back(self) -> None:
        """Give up what was prepared, if anything was."""
        if self.reply is not None:
            reply, self.reply = self.reply, None
            reply.cancel()
            self._mind.put(TakeBack(reply))

    def _end(self, at: int) -> None:
        if self.reply is None:
            # Not by quiet: the turn counts as speech up to here, but the frames of this piece are not sent yet.
            self._mind.put(More(self._recent.since(self._sent), self._due()))
            self._sent = self._recent.now
            self._answer(at)
        self._tell(UserEnded(at, at - self._start))
        if self.reply is not None:
            self.reply.end = at
            self.reply.confirm(self._position())
