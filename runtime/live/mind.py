"""The one thread that uses the session: it listens while the user speaks, and answers."""

from __future__ import annotations

import queue
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...models.errors import OmniError
from ..listening import Listening
from ..messages import Tokens
from ..options import Options
from ..session import Session
from .clock import Clock, Hold
from .reply import Reply
from .sources import Trouble


@dataclass(frozen=True, eq=False)
class Begin:
    """A turn begins, with the sound and the pictures that it has so far."""

    options: Options
    video: bool
    sound: NDArray[np.float32]
    frames: list[NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class More:
    """More of the turn."""

    sound: NDArray[np.float32]
    frames: list[NDArray[np.uint8]]


@dataclass(frozen=True, eq=False)
class Answer:
    """The turn may be over, or is."""

    reply: Reply
    options: Options


@dataclass(frozen=True, eq=False)
class TakeBack:
    """The turn was not over: the reply, which is cancelled, is to be as if it had not been asked for."""

    reply: Reply


@dataclass(frozen=True, eq=False)
class CutTo:
    """The reply was stopped by the user, after so many samples; or it was played to its end (None)."""

    reply: Reply
    played: int | None


Order: TypeAlias = Begin | More | Answer | TakeBack | CutTo | None
"""What the thread is told to do; None is to end."""


class Mind:
    """Carries out orders one after another; while a turn goes on and no order waits, it reads ahead.

    Args:
        session: nobody else uses it.
        clock: of the conversation.
        budget: see `Session.listen`.
        tell: takes what goes wrong.
        settled: takes each reply that was stopped or played, and its text as the session now has it.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock,
        budget: float | None,
        tell: Callable[[Trouble], None],
        settled: Callable[[Reply, int | None, str], None],
    ) -> None:
        self._session = session
        self._orders = clock.queue()
        self._budget = budget
        self._tell = tell
        self._settled = settled
        self._listening: Listening | None = None

    def put(self, order: Order) -> None:
        """Any thread; never waits."""
        self._orders.put(order)

    def run(self, hold: Hold) -> None:
        """Until it is told to end."""
        with hold:
            while (order := self._next()) is not None:
                try:
                    self._obey(order)
                except OmniError as error:
                    self._tell(Trouble(str(error)))
            self._drop()

    def _next(self) -> Order:
        while self._listening is not None:
            try:
                return self._orders.get_nowait()
            except queue.Empty:
                pass
            try:
                if not self._listening.step():
                    break
            except OmniError as error:
                self._drop()
                self._tell(Trouble(str(error)))
        return self._orders.get()

    def _obey(self, order: Begin | More | Answer | TakeBack | CutTo) -> None:
        match order:
            case Begin(options, video, sound, frames):
                self._drop()
                self._listening = self._session.listen(options, video=video, budget=self._budget)
                self._take(sound, frames)
            case More(sound, frames):
                self._take(sound, frames)
            case Answer(reply, options):
                self._answer(reply, options)
            case TakeBack(reply):
                if reply.asked:
                    self._session.take_back()
            case CutTo(reply, played):
                if reply.asked and played is not None:
                    self._session.heard(played)
                self._settled(reply, played, self._said(reply))

    def _take(self, sound: NDArray[np.float32], frames: list[NDArray[np.uint8]]) -> None:
        if self._listening is None:
            return
        for frame in frames:
            self._listening.see(frame)
        if sound.size:
            self._listening.hear(sound)

    def _answer(self, reply: Reply, options: Options) -> None:
        listening, self._listening = self._listening, None
        try:
            if listening is None:
                return
            if reply.is_cancelled and reply.decided is None:  # taken back: all of it comes again
                listening.drop()
                return
            events = listening.answer(options)
            reply.asked = True
            with closing(events):  # pyright: ignore[reportArgumentType]  (it is a generator)
                # Of a reply that was interrupted before it began the question stays.
                for event in () if reply.is_cancelled else events:
                    if reply.is_cancelled:
                        break
                    reply.put(event)
        finally:
            reply.put(None)

    def _said(self, reply: Reply) -> str:
        if not reply.asked or (last := self._session.history[-1]).role != "assistant":
            return ""
        return "".join(part.text for part in last.parts if isinstance(part, Tokens))

    def _drop(self) -> None:
        if self._listening is not None:
            self._listening.drop()
            self._listening = None
