"""One conversation: the only place where the stages are joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.bundle import Bundle
from ..models.errors import RequestError
from ..models.manifest import Clock, Manifest
from .events import AudioDelta, Done, Event, Notice, Statistics, TextDelta
from .llama import OUT_OF_ORDER
from .messages import Media, Message, Part, Text, Tokens, assistant, system, user
from .noise import Noise
from .options import Options, Plan, decide, fit
from .perception import Perception, Rows
from .positions import Positions, Span, mrope
from .prompt import Prompt, PromptBuilder
from .sampling import Sampler
from .speech import Reply, Speech, Spoken
from .thinker import Reading, Thinker
from .tokenizer import TextStream, Tokenizer

Place = Callable[[int, Sequence[Span], Clock, int], Positions]
"""Like `mrope`."""


@dataclass(frozen=True, eq=False)
class Stages:
    """Everything a session joins; `load` makes it from a bundle."""

    bundle: Bundle
    tokenizer: Tokenizer
    prompts: PromptBuilder
    perception: Perception
    thinker: Thinker
    speech: Speech
    notes: tuple[str, ...] = ()
    """What the user should know of how the bundle was loaded."""
    on_onnx: Callable[[], Stages] | None = None
    """Loads the same with thinker and talker on ONNX Runtime, for what llama.cpp cannot read; None if there is none."""


@dataclass
class _Progress:
    """What a response has come to so far. Times in seconds; `start` is a reading of the clock."""

    start: float
    plan: Plan
    prompt_rows: int
    moves: bool
    """Whether thinker and talker change the engine for it."""
    prefilled_rows: int = 0
    media_s: float = 0.0
    prefill_s: float = 0.0
    text_s: float = 0.0
    first_text_s: float = 0.0
    first_audio_s: float = 0.0


class Session:
    """A conversation of any number of turns. One thread at a time.

    Args:
        stages: of one bundle.
        history: messages so far, a system message first if there is one. Without it the prompt under which the
            model was trained to speak is used.
        place: what gives tokens their positions; another one shows what a model makes of them.
    """

    def __init__(self, stages: Stages, history: Sequence[Message] = (), place: Place = mrope) -> None:
        self._loaded = self._stages = stages
        self._place = place
        self._initial = tuple(history)
        speech_prompt = stages.bundle.manifest.speech_prompt
        if speech_prompt and (not history or history[0].role != "system"):
            self._initial = (system(speech_prompt), *history)
        self._history = list(self._initial)
        self._busy = False
        self._asked: Prompt | None = None

    @property
    def manifest(self) -> Manifest:
        """Of the bundle."""
        return self._stages.bundle.manifest

    @property
    def history(self) -> tuple[Message, ...]:
        """All messages so far, the system message included."""
        return tuple(self._history)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of how the bundle was loaded, a sentence each."""
        return self._stages.notes

    def reset(self) -> None:
        """Start the conversation anew, on the engines of the beginning.

        Caches are emptied when the next prompt turns out to differ.

        Raises:
            RequestError: a response is still going on.
        """
        self._check_free()
        self._asked = None
        self._history = list(self._initial)
        self._stages = self._loaded

    def respond(self, *parts: Part | str, options: Options | None = None) -> Iterator[Event]:
        """Answer a turn of the user.

        Everything about the request is checked, and media are decoded, before this returns; the work is done while
        the events are read. Closing the iterator cancels within one step, and the conversation then continues from
        what was said; a turn without a single generated token is as if it had not been. A response of which nothing
        was read when another is asked for is given up.

        Args:
            parts: text (str or Text) and media, in order.
            options: of this response.

        Yields:
            TextDelta, AudioDelta and at the end Done; before them a Notice when the conversation has to go on on
            another engine.

        Raises:
            RequestError: the options or the conversation cannot be served.
            MediaError: a sound, picture or clip cannot be used.
        """
        self._check_free()
        if not parts:
            raise RequestError("there is nothing to answer: give text, a sound, a picture or a clip")
        start = time.perf_counter()
        plan = decide(options or Options(), self.manifest)
        if plan.speech:
            self._stages.speech.check(plan.solver)
        question = user(*parts)
        media = _media([*self._history, question])
        sizes = [self._stages.perception.features(part).size for part in media]
        prompt = self._stages.prompts.build([*self._history, question], sizes)
        places = self._places(prompt, len(prompt.ids))
        plan = fit(plan, self.manifest, max(len(prompt.ids), places.next_position))
        moves = not self._reads(prompt, places, speech=plan.speech)
        if moves and self._stages.on_onnx is None:
            raise RequestError(OUT_OF_ORDER)
        progress = _Progress(start, plan, len(prompt.ids), moves, media_s=time.perf_counter() - start)
        self._stages.perception.forget(set(media))
        self._asked = prompt
        return self._respond(question, prompt, places, media, progress)

    def _check_free(self) -> None:
        if self._busy:
            raise RequestError("the previous response is still going on; read it to its end or close it first")

    def _places(self, prompt: Prompt, length: int) -> Positions:
        """TMRoPE positions of the prompt and of the text tokens after it, `length` in all."""
        return self._place(length, prompt.spans, self.manifest.clock, self.manifest.vision.merge)

    def _reads(self, prompt: Prompt, places: Positions, *, speech: bool) -> bool:
        """Whether the engines can read the prompt where its tokens stand."""
        if not self._stages.thinker.reads(places.rows):
            return False
        return not speech or self._stages.speech.reads(self._places(prompt, len(prompt.ids) + 2).rows)

    def _respond(
        self, question: Message, prompt: Prompt, places: Positions, media: list[Media], progress: _Progress
    ) -> Iterator[Event]:
        if self._asked is not prompt:
            # What was said since then is not in its prompt.
            raise RequestError("this response was given up for another one, or by a reset; ask again")
        self._busy, self._asked = True, None
        ids: list[int] = []
        try:
            if progress.moves and self._stages.on_onnx is not None:
                self._stages = self._stages.on_onnx()
                yield Notice("llama.cpp cannot follow a clip together with its own sound; ONNX Runtime goes on instead")
            self._prefill(prompt, places, media, progress)
            rows: list[NDArray[np.float32]] = []
            text = ""
            for delta in self._write(progress, ids, rows):
                text += delta.text
                yield delta
            spoken = Spoken()
            if progress.plan.speech and rows:
                yield from self._speak(prompt, rows, progress, spoken)
            yield self._done(text, ids, progress, spoken)
        finally:
            self._busy = False
            if ids:
                said = tuple(token for token in ids if token not in progress.plan.text.stop)
                reply = Tokens(said, self._stages.tokenizer.decode(said))
                self._history += [question, assistant(reply)]

    def _prefill(self, prompt: Prompt, places: Positions, media: list[Media], progress: _Progress) -> None:
        start = time.perf_counter()
        encoded = [self._stages.perception.rows(part) for part in media]
        progress.media_s += time.perf_counter() - start
        start = time.perf_counter()
        thinker = self._stages.thinker
        rows, marks = _merge(thinker.embed(prompt.ids), prompt, encoded)
        kept = thinker.read(Reading(prompt.ids, rows, places.rows, places.next_position, marks))
        self._stages.speech.keep(kept)
        progress.prefilled_rows = len(prompt.ids) - kept
        progress.prefill_s = time.perf_counter() - start

    def _write(self, progress: _Progress, ids: list[int], rows: list[NDArray[np.float32]]) -> Iterator[TextDelta]:
        """Generate the text; `ids` and `rows` are filled on the way. The last token is never read (FACTS §5)."""
        thinker, sampling = self._stages.thinker, progress.plan.text
        rng = np.random.default_rng([progress.plan.seed, 0x1E])
        sampler = Sampler(sampling, self.manifest.thinker.vocab, rng, thinker.context.ids.tolist())
        stream = TextStream(self._stages.tokenizer)
        start = time.perf_counter()
        while True:
            token = thinker.pick(sampler)
            ids.append(token)
            ended = token in sampling.stop or len(ids) >= sampling.max_tokens
            # What ends the text is not part of it; a piece of a character still held back is.
            piece = "" if token in sampling.stop else stream.push(token)
            piece += stream.finish() if ended else ""
            now = time.perf_counter()
            progress.text_s += now - start
            if len(ids) == 1:
                progress.first_text_s = now - progress.start
            if piece:
                yield TextDelta(piece)
            if ended:
                return
            start = time.perf_counter()
            rows.append(thinker.advance(token))

    def _speak(
        self, prompt: Prompt, rows: list[NDArray[np.float32]], progress: _Progress, spoken: Spoken
    ) -> Iterator[AudioDelta]:
        speech, plan = self._stages.speech, progress.plan
        length = len(prompt.ids)
        # The voice and the first reply token are two more tokens of text to the talker.
        places = self._places(prompt, length + 2)
        reply = Reply(self._stages.thinker.context.talker_rows[:length], places.rows, rows)
        sampler = speech.sampler(reply, np.random.default_rng([plan.seed, 0x2E]), plan.codes)
        codes = speech.codes(reply, plan.voice, sampler, spoken)
        noise = Noise(plan.seed, self.manifest.flow.mel_bins)
        for samples in speech.sound(codes, plan.voice, noise, plan.solver, spoken):
            if not progress.first_audio_s:
                progress.first_audio_s = time.perf_counter() - progress.start
            yield AudioDelta(samples, self.manifest.vocoder.rate)

    def _done(self, text: str, ids: list[int], progress: _Progress, spoken: Spoken) -> Done:
        rate = self.manifest.vocoder.rate
        audio_s = spoken.samples / rate
        busy = spoken.talker_s + spoken.flow_s + spoken.vocoder_s
        stats = Statistics(
            prompt_rows=progress.prompt_rows,
            prefilled_rows=progress.prefilled_rows,
            media_s=progress.media_s,
            prefill_s=progress.prefill_s,
            first_text_s=progress.first_text_s,
            text_s=progress.text_s,
            text_tokens_per_s=len(ids) / progress.text_s if progress.text_s else 0.0,
            talker_s=spoken.talker_s,
            codes_per_s=len(spoken.codes) / spoken.talker_s if spoken.talker_s else 0.0,
            flow_s=spoken.flow_s,
            vocoder_s=spoken.vocoder_s,
            first_audio_s=progress.first_audio_s,
            audio_s=audio_s,
            real_time_factor=busy / audio_s if audio_s else 0.0,
            seed=progress.plan.seed,
        )
        return Done(text, tuple(ids), tuple(spoken.codes), spoken.samples, rate, stats)


def _media(messages: Sequence[Message]) -> list[Media]:
    return [part for message in messages for part in message.parts if not isinstance(part, (Text, Tokens))]


def _merge(
    rows: NDArray[np.float32], prompt: Prompt, encoded: list[Rows]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Put encoder rows in their places. Returns the rows and, for each, 0 or a number of its medium."""
    marks = np.zeros(len(rows), np.int64)
    for places, features in zip(prompt.rows, encoded, strict=True):
        for index, values in ((places.audio, features.audio), (places.vision, features.vision)):
            if values is not None:
                rows[index] = values
                marks[index] = features.mark
    return rows, marks
