"""A turn of the user that is still going on: it is encoded and read while it comes."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.errors import MediaError, RequestError
from .events import Event
from .incoming import NO_MARKS, Incoming, Piece
from .mel import FRAMES_PER_TOKEN
from .memory import context_of, recall, reserve, turns
from .messages import Audio, Media, Message, Video, user
from .options import Options, Plan
from .perception import Rows
from .positions import AudioSize
from .reading import Draft, Reader

NOTHING = Piece(AudioSize(0), Rows(None, None, NO_MARKS, NO_MARKS))


@dataclass(frozen=True)
class Ahead:
    """What was done for a prompt before it was asked."""

    known: int = 0
    """Rows of the prompt that were in the cache when reading began."""
    read: int = 0
    """Rows read since then, some of them perhaps more than once."""
    forgotten: int = 0
    """Turns of the history that had to go."""


Ask = Callable[[Sequence[Message], Message, "Options | None", float, Ahead], Iterator[Event]]
"""(history, question, options, start, ahead) -> events."""


class Listening:
    """A turn of the user that is still going on; `Session.listen` makes it.

    `hear` and `see` only put down what comes: any thread may call them. `step`, `reset`, `drop` and `answer` do the
    work and wait for each other: a worker may call `step` again and again while another thread calls `hear` and `see`,
    and a third one `answer`. Until the turn is answered or dropped, everything else of the session is refused; the
    events of `answer` are read as those of `Session.respond`, in one thread, when no worker steps any more.

    What is answered is `part`, a sound or a clip with its sound. The prompt's ids, positions and rows are those of the
    same part given whole to `Session.respond`, however it came; see `Incoming` for what becomes of pictures that are
    late or too many.

    Args:
        reader: of the session.
        history: before this turn.
        plan: of the expected answer.
        options: the plan's.
        incoming: nothing came yet.
        ask: asks the session.
        leave: tells the session that the turn is over; it is not answered.
    """

    def __init__(
        self,
        reader: Reader,
        history: Sequence[Message],
        plan: Plan,
        options: Options | None,
        incoming: Incoming,
        ask: Ask,
        leave: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._history = list(history)
        self._plan = plan
        self._options = options
        self._incoming = incoming
        self._ask = ask
        self._leave = leave
        self._came: deque[NDArray[np.float32] | NDArray[np.uint8]] = deque()
        self._work = threading.Lock()
        self._is_over = False
        self._heard = 0
        self._done: int | None = None  # chunks of which all is read
        self._bare: int | None = None  # rows of the turn without its sound and pictures
        self._longest = sys.maxsize
        self._known: int | None = None
        self._cached = 0
        self._read = 0
        self._forgotten = 0

    @property
    def samples(self) -> int:
        """Heard so far."""
        return self._heard

    @property
    def room(self) -> int:
        """About how many samples more can be heard and still be answered; at 0 it is time to answer."""
        audio = self._reader.stages.bundle.manifest.audio
        return max(0, min(audio.max_seconds * audio.rate, self._longest) - self._heard)

    @property
    def rows(self) -> int:
        """Rows of this turn's prompt, those of earlier turns that were missing included, that were read ahead."""
        return 0 if self._known is None else self._cached - self._known

    @property
    def part(self) -> Media:
        """What `step` has taken so far, as a part for `Session.respond`."""
        with self._work:
            return self._incoming.part

    def hear(self, samples: NDArray[np.float32]) -> None:
        """What was said next: mono, f32 [n], in [-1, 1], at the manifest's audio rate.

        Raises:
            RequestError: the turn is over, or it is no sound.
            MediaError: samples are not numbers, or the turn becomes longer than the model can hear at once: answer it.
        """
        self._check()
        audio = self._reader.stages.bundle.manifest.audio
        if samples.ndim != 1:
            raise RequestError(f"a sound has shape {samples.shape}; give mono samples [n] at {audio.rate} Hz")
        if not np.isfinite(samples).all():
            raise MediaError("a sound holds samples that are not numbers; give values in [-1, 1]")
        if self._heard + samples.size > audio.max_seconds * audio.rate:
            raise MediaError(f"the turn is longer than {audio.max_seconds} s; answer it")
        self._heard += samples.size
        self._came.append(np.array(samples, np.float32))

    def see(self, frame: NDArray[np.uint8]) -> None:
        """The next frame: uint8 [h, w, 3], RGB. The i-th belongs to i / fps seconds after the first sample.

        `fps` is the manifest's vision.video_fps. A frame may come up to one chunk (2 s) of sound late.

        Raises:
            RequestError: the turn is over, or it is no picture.
        """
        self._check()
        if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or not frame.size:
            raise RequestError(f"a frame is {frame.dtype} {list(frame.shape)}; give uint8 [height, width, 3] in RGB")
        self._came.append(frame)

    def step(self) -> bool:
        """Encode one finished piece, if there is one, and read one run (`Reading.stops`) of what is certain.

        Returns:
            Whether anything was done; until something new comes, the next step after one without work has none either.

        Raises:
            RequestError: the turn is over.
            MediaError: a frame is too long and thin to be seen.
        """
        with self._work:
            self._check()
            self._take()
            encoded = self._incoming.step()
            if not encoded and self._incoming.ready == self._done:
                return False
            return self._read_ahead() or encoded

    def reset(self) -> None:
        """Listen anew, as if nothing had come yet."""
        with self._work:
            self._check()
            self._came.clear()
            self._incoming.reset()
            self._heard, self._done = 0, None

    def drop(self) -> None:
        """Give the turn up: the conversation is as it was before it."""
        with self._work:
            self._check()
            self._over()
            self._leave()

    def answer(self, options: Options | None = None) -> Iterator[Event]:
        """End the turn and answer it. Only what `step` has not done is left to do.

        Args:
            options: of this response; None takes those of `Session.listen`.

        Yields:
            As `Session.respond` does.

        Raises:
            RequestError, MediaError: as `Session.respond` does. The turn is then given up.
        """
        start = time.perf_counter()
        with self._work:
            self._check()
            self._over()
            try:
                self._take()
                piece = self._incoming.finish()
                part = self._incoming.part
                self._reader.stages.perception.remember(part, piece.size, piece.rows)
                ahead = Ahead(self._known or 0, self._read, self._forgotten)
            except BaseException:
                self._leave()
                raise
            return self._ask(self._history, user(part), options or self._options, start, ahead)

    def _check(self) -> None:
        if self._is_over:
            raise RequestError("this turn is over; begin another one with listen()")

    def _over(self) -> None:
        self._is_over = True

    def _take(self) -> None:
        """Take what came, in the order in which it came."""
        while self._came:
            item = self._came.popleft()
            if item.ndim == 1:
                self._incoming.hear(np.asarray(item, np.float32))
            else:
                self._incoming.see(np.asarray(item, np.uint8))

    def _read_ahead(self) -> bool:
        chunks = self._incoming.ready
        draft = self._draft(self._incoming.piece(chunks) if chunks else NOTHING)
        stop = self._certain(draft, chunks)
        self._measure(draft, chunks)
        if draft.used >= context_of(self._reader.stages.bundle.manifest):
            self._done = chunks  # as far as there is room; `answer` says so
            return False
        before, self._cached = self._reader.read_ahead(draft, stop, speech=self._plan.speech)
        self._done = chunks if self._cached == stop else None
        if self._cached == before:
            return False
        self._known = before if self._known is None else min(self._known, before)
        self._read += self._cached - before
        return True

    def _measure(self, draft: Draft, chunks: int) -> None:
        """How long the turn can become when all older ones are forgotten for it."""
        manifest = self._reader.stages.bundle.manifest
        audio, rows = manifest.audio, draft.prompt.rows[-1]
        if self._bare is None:
            self._bare = self._reader.draft([*turns(draft.messages[:-1])[0], draft.messages[-1]]).used
            self._bare -= len(rows.audio) + len(rows.vision)
        taken = (len(rows.audio) + len(rows.vision)) / chunks if chunks else audio.chunk_frames / FRAMES_PER_TOKEN
        left = context_of(manifest) - reserve(self._plan, manifest) - self._bare
        self._longest = int(left / taken * audio.chunk_frames * audio.hop)

    def _draft(self, piece: Piece) -> Draft:
        """The prompt if the turn were this piece alone."""
        perception = self._reader.stages.perception
        # Only its kind matters to the prompt.
        silence = np.zeros(0, np.float32)
        part = (
            Audio(silence)
            if isinstance(piece.size, AudioSize)
            else Video(np.zeros((0, 0, 0, 3), np.uint8), sound=silence)
        )
        perception.remember(part, piece.size, piece.rows)
        manifest = self._reader.stages.bundle.manifest
        draft, forgotten = recall(self._history, user(part), self._plan, manifest, self._reader.draft)
        self._history = list(draft.messages[:-1])
        self._forgotten += forgotten
        perception.forget(set(draft.media))
        return draft

    def _certain(self, draft: Draft, chunks: int) -> int:
        """Rows of the prompt that what comes later will not change."""
        span, rows = draft.prompt.spans[-1], draft.prompt.rows[-1]
        return int(rows.audio[-1]) + 1 if chunks else span.start - 1
