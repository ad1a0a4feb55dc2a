"""A response while it is made: text, speech codes and sound by stages that run side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .events import AudioDelta, Done, Event, Notice, Statistics, TextDelta
from .lanes import Crew, Dismissed, Lane
from .noise import Noise
from .options import Plan
from .sampling import Sampler
from .sounding import Mel
from .speech import Reply, Spoken
from .stages import Stages
from .tokenizer import TextStream

EVENTS = 64
"""Events that wait to be read before the stages wait for the reader."""
AHEAD = 256
"""Rows that the thinker may be ahead of the talker, and codes that the talker may be ahead of the sound: 5 seconds."""
MELS = 2
"""Pieces of mel that the flow may be ahead of the vocoder: the lane before theirs is where work waits."""
Row = NDArray[np.float32]
T = TypeVar("T")


@dataclass
class Progress:
    """What a response has come to so far. Times in seconds; `start` is a reading of the clock."""

    start: float
    plan: Plan
    prompt_rows: int
    moves: bool
    """Whether thinker and talker change the engine for it."""
    prefilled_rows: int = 0
    listened_rows: int = 0
    reread_rows: int = 0
    media_s: float = 0.0
    prefill_s: float = 0.0
    text_s: float = 0.0
    first_text_s: float = 0.0
    first_code_s: float = 0.0
    first_audio_s: float = 0.0


class Response:
    """One answer to a prompt that the thinker has read.

    The thinker writes token after token; the talker speaks each as soon as it is there, the flow makes mel of what has
    been spoken and the vocoder sound of that. Each runs in a thread of its own and waits for the one before it, and
    for whoever reads the events.

    Args:
        stages: of the session.
        positions: int64 [3, P + 2], of the prompt, the voice and the reply's first token.
        stops: where runs of the prompt end, see `Reading`.
        progress: filled in on the way.
        ids: gets the tokens of the text as they are written.
        spoken: filled in while it is spoken.
    """

    def __init__(
        self,
        stages: Stages,
        positions: NDArray[np.int64],
        stops: Sequence[int],
        progress: Progress,
        ids: list[int],
        spoken: Spoken,
    ) -> None:
        self._stages = stages
        self._manifest = stages.bundle.manifest
        self._positions = positions
        self._stops = stops
        self._progress = progress
        self._ids = ids
        self._text = ""
        self._spoken = spoken
        # Taken now: the thinker goes on adding rows behind the prompt's.
        self._prompt_rows = stages.thinker.context.talker_rows[: positions.shape[1] - 2]

    def events(self) -> Iterator[Event]:
        """TextDelta and AudioDelta as they come, a Notice if the speech had to be cut, then Done. Closing ends every
        stage within one step."""
        with Crew() as crew:
            events: Lane[Event] = crew.lane(EVENTS)
            if self._progress.plan.speech:
                # Until the first sound is out, all processors work for it: nobody goes on to what comes after.
                speech, solver = self._stages.speech, self._progress.plan.solver
                first = speech.first_codes(solver) if speech.early(solver) else math.inf
                rows: Lane[Row] = crew.lane(AHEAD, first)
                codes: Lane[int] = crew.lane(AHEAD, first)
                crew.start("talker", lambda: _feed(codes, self._speak(rows)))
                mels: Lane[Mel] = crew.lane(MELS)
                crew.start("flow", lambda: _feed(mels, self._mels(codes)))
                sound = self._sound(mels, lambda: (rows.open(), codes.open()))
                crew.start("vocoder", lambda: _feed(events, chain(sound, _drained(rows))))
                crew.start("thinker", lambda: self._think(events.put, rows.put, rows.end))
            else:
                crew.start("thinker", lambda: self._think(events.put, lambda _: None, events.end))
            try:
                yield from events
            except Dismissed:
                crew.check()
                raise
        if self._is_cut():
            spoken_s = len(self._spoken.codes) * self._manifest.code_samples / self._manifest.vocoder.rate
            yield Notice(f"the speech ends after {spoken_s:.0f} s because the model can keep no more of it in mind")
        yield self._done()

    def _think(self, tell: Callable[[Event], None], hand_on: Callable[[Row], None], end: Callable[[], None]) -> None:
        """Generate the text. The last token is never read (FACTS §5)."""
        progress, sampling = self._progress, self._progress.plan.text
        thinker = self._stages.thinker
        rng = np.random.default_rng([progress.plan.seed, 0x1E])
        sampler = Sampler(sampling, self._manifest.thinker.vocab, rng, thinker.context.ids.tolist())
        stream = TextStream(self._stages.tokenizer)
        while True:
            start = time.perf_counter()
            token = thinker.pick(sampler)
            self._ids.append(token)
            ended = token in sampling.stop or len(self._ids) >= sampling.max_tokens
            # What ends the text is not part of it; a piece of a character still held back is.
            piece = "" if token in sampling.stop else stream.push(token)
            piece += stream.finish() if ended else ""
            if len(self._ids) == 1:
                progress.first_text_s = time.perf_counter() - progress.start
            if piece:
                self._text += piece
                tell(TextDelta(piece))
            row = None if ended else thinker.advance(token)
            progress.text_s += time.perf_counter() - start
            if row is None:
                end()
                return
            hand_on(row)

    def _speak(self, rows: Iterable[Row]) -> Iterator[int]:
        speech, plan = self._stages.speech, self._progress.plan
        reply = Reply(self._prompt_rows, self._positions, self._stops, rows)
        sampler = speech.sampler(reply, np.random.default_rng([plan.seed, 0x2E]), plan.codes)
        for code in speech.codes(reply, plan.voice, sampler, self._spoken):
            if not self._progress.first_code_s:
                self._progress.first_code_s = time.perf_counter() - self._progress.start
            yield code

    def _mels(self, codes: Iterable[int]) -> Iterator[Mel]:
        plan = self._progress.plan
        noise = Noise(plan.seed, self._manifest.flow.mel_bins)
        return self._stages.speech.mels(codes, plan.voice, noise, plan.solver, self._spoken)

    def _sound(self, mels: Iterable[Mel], heard: Callable[[], object]) -> Iterator[AudioDelta]:
        """Tells by `heard` that the first of it is there."""
        progress = self._progress
        for samples in self._stages.speech.sound(mels, self._spoken):
            if not progress.first_audio_s:
                progress.first_audio_s = time.perf_counter() - progress.start
                heard()
            yield AudioDelta(samples, self._manifest.vocoder.rate)

    def _is_cut(self) -> bool:
        """Whether speech ended where the talker's context does, in rows or in positions (see `fit`)."""
        used = max(self._positions.shape[1], int(self._positions.max()) + 1)
        return bool(self._spoken.codes) and used + len(self._spoken.codes) >= self._manifest.talker.context

    def _done(self) -> Done:
        progress, spoken, ids = self._progress, self._spoken, self._ids
        rate = self._manifest.vocoder.rate
        audio_s = spoken.samples / rate
        busy = spoken.talker_s + spoken.flow_s + spoken.vocoder_s
        stats = Statistics(
            prompt_rows=progress.prompt_rows,
            prefilled_rows=progress.prefilled_rows,
            listened_rows=progress.listened_rows,
            reread_rows=progress.reread_rows,
            media_s=progress.media_s,
            prefill_s=progress.prefill_s,
            first_text_s=progress.first_text_s,
            text_s=progress.text_s,
            text_tokens_per_s=len(ids) / progress.text_s if progress.text_s else 0.0,
            first_code_s=progress.first_code_s,
            talker_s=spoken.talker_s,
            codes_per_s=len(spoken.codes) / spoken.talker_s if spoken.talker_s else 0.0,
            flow_s=spoken.flow_s,
            vocoder_s=spoken.vocoder_s,
            first_audio_s=progress.first_audio_s,
            audio_s=audio_s,
            real_time_factor=busy / audio_s if audio_s else 0.0,
            seed=progress.plan.seed,
        )
        return Done(self._text, tuple(ids), tuple(spoken.codes), spoken.samples, rate, stats)


def _drained(rows: Lane[Row]) -> Iterator[Event]:
    """Nothing, when all rows are there: a talker may stop before the text does, and the text shall be whole."""
    rows.open()  # nothing may have been heard
    for _ in rows:
        pass
    yield from ()


def _feed(lane: Lane[T], items: Iterable[T]) -> None:
    """Hand on all items, then say that it was all."""
    for item in items:
        lane.put(item)
    lane.end()
