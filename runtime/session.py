"""One conversation: its history, its prompts, and whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..models.errors import RequestError
from ..models.manifest import Clock, Manifest
from .events import Event, Notice
from .llama import OUT_OF_ORDER
from .messages import Media, Message, Part, Text, Tokens, assistant, system, user
from .options import Options, decide, fit
from .perception import Rows
from .positions import Positions, Span, mrope
from .prompt import Prompt
from .response import Progress, Response
from .stages import Stages
from .thinker import Reading

Place = Callable[[int, Sequence[Span], Clock, int], Positions]
"""Like `mrope`."""


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
        progress = Progress(start, plan, len(prompt.ids), moves, media_s=time.perf_counter() - start)
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
        self, question: Message, prompt: Prompt, places: Positions, media: list[Media], progress: Progress
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
            # The voice and the first reply token are two more tokens of text to the talker.
            response = Response(self._stages, self._places(prompt, len(prompt.ids) + 2).rows, progress, ids)
            yield from response.events()
        finally:
            self._busy = False
            if ids:
                said = tuple(token for token in ids if token not in progress.plan.text.stop)
                reply = Tokens(said, self._stages.tokenizer.decode(said))
                self._history += [question, assistant(reply)]

    def _prefill(self, prompt: Prompt, places: Positions, media: list[Media], progress: Progress) -> None:
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
