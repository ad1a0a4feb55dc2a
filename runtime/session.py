"""One conversation: its history, its prompts, and whose turn it is."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ..models.errors import RequestError
from ..models.manifest import Manifest
from .events import Event, Notice
from .heard import Pace, Utterance
from .incoming import Incoming
from .listening import Ahead, Listening
from .llama import OUT_OF_ORDER
from .memory import forgotten, recall
from .messages import Message, Part, assistant, system, user
from .options import Options, Plan, decide, fit
from .positions import mrope
from .reading import Draft, Place, Reader
from .response import Progress, Response
from .stages import Stages

MOVED = "llama.cpp cannot follow a clip together with its own sound; ONNX Runtime goes on instead"


class Session:
    """A conversation of any number of turns. One thread at a time; see `Listening` for what may be done beside it.

    Args:
        stages: of one bundle.
        history: messages so far, a system message first if there is one. Without it the prompt under which the
            model was trained to speak is used.
        place: what gives tokens their positions; another one shows what a model makes of them.
    """

    def __init__(self, stages: Stages, history: Sequence[Message] = (), place: Place = mrope) -> None:
        self._loaded = self._stages = stages
        self._place = place
        self._reader = Reader(stages, place)
        self._initial = tuple(history)
        speech_prompt = stages.bundle.manifest.speech_prompt
        if speech_prompt and (not history or history[0].role != "system"):
            self._initial = (system(speech_prompt), *history)
        self._history = list(self._initial)
        self._busy = False
        self._listening: Listening | None = None
        self._asked: Draft | None = None
        self._said: Utterance | None = None
        self._pace = Pace()
        self._news: list[str] = []

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
            RequestError: a response is still going on, or a turn is being listened to.
        """
        self._check_free()
        self._asked = self._said = None
        self._news.clear()
        self._history = list(self._initial)
        self._use(self._loaded)

    def respond(self, *parts: Part | str, options: Options | None = None) -> Iterator[Event]:
        """Answer a turn of the user.

        Everything about the request is checked, and media are decoded, before this returns; the work is done while
        the events are read. Closing the iterator cancels within one step, and the conversation then continues from
        what was said; a turn without a single generated token is as if it had not been. A response of which nothing
        was read when another is asked for is given up. When the context is full, the oldest turns are forgotten whole.

        Args:
            parts: text (str or Text) and media, in order.
            options: of this response.

        Yields:
            TextDelta, AudioDelta and at the end Done; before them a Notice when the conversation has to go on on
            another engine, and one when turns are forgotten; before Done one when the speech had to be cut.

        Raises:
            RequestError: the options or the conversation cannot be served.
            MediaError: a sound, picture or clip cannot be used.
        """
        self._check_free()
        if not parts:
            raise RequestError("there is nothing to answer: give text, a sound, a picture or a clip")
        return self._ask(self._history, user(*parts), options, time.perf_counter(), Ahead())

    def listen(self, options: Options | None = None, *, video: bool = False, budget: float | None = None) -> Listening:
        """Begin a turn of the user that is still going on, to be encoded and read while it comes.

        Args:
            options: of the answer, as far as it is known: without speech the talker need not read.
            video: whether pictures come with the sound.
            budget: most tokens that pictures may take a second; None is no limit. See `Seeing`.

        Raises:
            RequestError: a response or another turn is still going on, the options cannot be served, or there is no
                engine that can read a clip with its sound. Where there is one, the conversation moves to it now.
        """
        self._check_free()
        plan = self._decide(options)
        if budget is not None and not budget > 0:
            raise RequestError(f"a budget of {budget:g} tokens a second cannot be; leave video out to see nothing")
        if video and not self._reader.reads_clips(speech=plan.speech):
            self._move()
        incoming = Incoming(self._stages.perception, self.manifest, video=video, budget=budget)
        self._asked = None
        self._listening = Listening(self._reader, self._history, plan, options, incoming, self._ask_heard, self._leave)
        return self._listening

    def heard(self, samples: int) -> None:
        """Say how much of the last reply was heard: the conversation goes on as if no more had been said.

        For a reply that was interrupted: its response was closed early, or read to its end but not played. The reply
        in the history is cut to the words that were heard (see `Utterance`), and thinker and talker forget the rest.
        Of a reply of which no word was heard only the question stays.

        Args:
            samples: of the reply's speech that were played, at the vocoder's rate.

        Raises:
            RequestError: a response or a turn is still going on, or there was none since the conversation began.
        """
        self._check_free()
        if self._said is None:
            raise RequestError("there is no reply that could have been heard")
        said = self._said
        words = said.cut(samples, self._pace, self._stages.tokenizer, self.manifest)
        self._history = [*said.messages, *([assistant(words)] if words.ids else [])]
        kept = np.concatenate([said.prompt, np.array(words.ids, np.int64)])
        self._stages.thinker.keep(kept)
        self._stages.speech.keep(len(kept))

    def take_back(self) -> None:
        """The last question is as if it had not been asked, whatever was answered: its user went on speaking.

        Raises:
            RequestError: a response or a turn is still going on, or nothing was asked since the last time.
        """
        self._check_free()
        if self._said is None:
            raise RequestError("there is no question that could be taken back")
        self._history = list(self._said.messages[:-1])
        self._said = self._asked = None

    def _decide(self, options: Options | None) -> Plan:
        plan = decide(options or Options(), self.manifest)
        if plan.speech:
            self._stages.speech.check(plan.solver)
        return plan

    def _check_free(self) -> None:
        if self._busy:
            raise RequestError("the previous response is still going on; read it to its end or close it first")
        if self._listening is not None:
            raise RequestError("a turn is being listened to; answer it or drop it first")

    def _use(self, stages: Stages) -> None:
        self._stages, self._reader = stages, Reader(stages, self._place)

    def _move(self) -> None:
        """Go on on the engine that reads everything."""
        if self._stages.on_onnx is None:
            raise RequestError(OUT_OF_ORDER)
        self._use(self._stages.on_onnx())
        self._news.append(MOVED)

    def _leave(self) -> None:
        self._listening = None

    def _ask_heard(
        self, history: Sequence[Message], question: Message, options: Options | None, start: float, ahead: Ahead
    ) -> Iterator[Event]:
        self._listening = None
        return self._ask(history, question, options, start, ahead)

    def _ask(
        self, history: Sequence[Message], question: Message, options: Options | None, start: float, ahead: Ahead
    ) -> Iterator[Event]:
        plan = self._decide(options)
        draft, count = recall(history, question, plan, self.manifest, self._reader.draft)
        plan = fit(plan, self.manifest, draft.used)
        moves = not self._reader.reads(draft, speech=plan.speech)
        if moves and self._stages.on_onnx is None:
            raise RequestError(OUT_OF_ORDER)
        progress = Progress(start, plan, len(draft.prompt.ids), moves, media_s=time.perf_counter() - start)
        self._stages.perception.forget(set(draft.media))
        said = Utterance(draft.messages, draft.prompt.ids, plan.voice, plan.text.stop, speaks=plan.speech)
        self._asked, self._said = draft, said
        return self._respond(draft, progress, said, ahead, ahead.forgotten + count)

    def _respond(self, draft: Draft, progress: Progress, said: Utterance, ahead: Ahead, forgot: int) -> Iterator[Event]:
        if self._asked is not draft:
            # What was said since then is not in its prompt.
            raise RequestError("this response was given up for another one, or by a reset; ask again")
        self._busy, self._asked = True, None
        try:
            if progress.moves:
                self._move()
            if forgot:
                self._news.append(forgotten(forgot))
            while self._news:
                yield Notice(self._news.pop(0))
            self._prefill(draft, progress, ahead)
            places = self._reader.spoken_places(draft)
            yield from Response(self._stages, places, draft.stops, progress, said.ids, said.spoken).events()
        finally:
            self._busy = False
            if said.ids:
                reply = said.tokens(self._stages.tokenizer)
                self._history = [*draft.messages, assistant(reply)]
                if said.spoken.ended:
                    self._pace.note(said.voice, len(reply.text), said.seconds(self.manifest))

    def _prefill(self, draft: Draft, progress: Progress, ahead: Ahead) -> None:
        start = time.perf_counter()
        self._reader.encode(draft)
        progress.media_s += time.perf_counter() - start
        start = time.perf_counter()
        kept = self._reader.read(draft)
        progress.prefilled_rows = len(draft.prompt.ids) - kept
        progress.listened_rows = max(0, kept - ahead.known) if ahead.read else 0
        progress.reread_rows = ahead.read - progress.listened_rows
        progress.prefill_s = time.perf_counter() - start
