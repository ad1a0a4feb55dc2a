"""Conversations to what each subnetwork read while the bundle answered, so that both sides can be given the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...models.bundle import Bundle
from ...runtime.engine import DECODERS
from ...runtime.events import Done
from ...runtime.loading import load_stages
from ...runtime.messages import Media, Text, Tokens, user
from ...runtime.options import Options
from ...runtime.pixels import Patches
from ...runtime.positions import Positions, mrope
from ...runtime.prompt import Prompt
from ...runtime.session import Session
from ...runtime.stages import Stages
from ...runtime.talker import Talker
from ...runtime.thinker import Embeddings
from ..material import Conversation

LONGEST_TEXT = 24
"""Tokens of a reply: enough to compare, and short enough that a large model is done in minutes."""
LONGEST_SPEECH = 100
"""Codes of a reply: two seconds of the published models."""
SEED = 0


@dataclass(frozen=True, eq=False)
class DecoderInput:
    """What a decoder read.

    Args:
        rows: f32 [S, width].
        positions: int64 [3, S].
        prompt: int64 [n], rows of the prompt after which text follows.
        reply: int64 [m], rows after which a token of the reply follows.
    """

    rows: NDArray[np.float32]
    positions: NDArray[np.int64]
    prompt: NDArray[np.int64]
    reply: NDArray[np.int64]

    @property
    def wanted(self) -> NDArray[np.int64]:
        """All rows whose next token is compared, rising."""
        return np.concatenate([self.prompt, self.reply])


@dataclass(frozen=True, eq=False)
class Recording:
    """One conversation.

    Args:
        text: the reply.
        mels: f32 [mels, F] each, what was heard.
        patches: what was seen.
        thinker: prompt and reply.
        talker: the same and the codes; None when nothing was said.
        codes: int64 [n].
        voice: who speaks.
    """

    text: str
    mels: tuple[NDArray[np.float32], ...]
    patches: tuple[Patches, ...]
    thinker: DecoderInput
    talker: DecoderInput | None
    codes: NDArray[np.int64]
    voice: str


class _Tape:
    """A decoder that only notes what it is given."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.float32]] = []
        self.positions: list[NDArray[np.int64]] = []

    @property
    def length(self) -> int:
        return sum(map(len, self.rows))

    def extend(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.rows.append(rows)
        self.positions.append(positions)
        return rows, np.empty(0, np.float32)

    def truncate(self, length: int) -> None:
        assert length == self.length

    def reads(self, positions: NDArray[np.int64]) -> bool:
        return True


class Recorder:
    """Lets a bundle answer.

    Args:
        bundle: checked.
        threads: for one operator; 0 is one a physical core.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._bundle = bundle
        self._manifest = bundle.manifest
        # ONNX Runtime reads everything, so that no conversation changes the engine on its way.
        on_onnx = all(self._manifest.subnetworks[name].on("onnx") for name in DECODERS)
        self._stages: Stages = load_stages(bundle, threads=threads, engine="onnx" if on_onnx else "auto")
        self._words = Embeddings(bundle.path(self._manifest.embeddings))
        self._codes = Embeddings(bundle.path(self._manifest.codec_embeddings))
        self._answered = 0

    def record(self, conversation: Conversation) -> Recording | None:
        """Answer, the likeliest text and the model's own way of speaking, and note what was read for it.

        Returns:
            None if the bundle has no engine that can read this.
        """
        session = Session(self._stages)
        messages = [*session.history, user(*conversation)]
        parts = [part for message in messages for part in message.parts]
        media = [part for part in parts if not isinstance(part, (Text, Tokens))]
        features = [self._stages.perception.features(part) for part in media]
        prompt = self._stages.prompts.build(messages, [each.size for each in features])
        places = self._places(prompt, len(prompt.ids) + 2)
        if not (self._stages.thinker.reads(places.rows) and self._stages.speech.reads(places.rows)):
            return None
        voices = self._manifest.voices.names
        voice = voices[self._answered % len(voices)]
        self._answered += 1
        *_, done = session.respond(*conversation, options=self._options(voice))
        assert isinstance(done, Done)
        return Recording(
            done.text,
            tuple(each.mel for each in features if each.mel is not None),
            tuple(each.patches for each in features if each.patches is not None),
            self._thinker(prompt, media, done),
            self._talker(prompt, done, voice) if done.codes else None,
            np.array(done.codes, np.int64),
            voice,
        )

    def _options(self, voice: str) -> Options:
        # Codes are drawn as the model draws them: its likeliest ones may go round in circles, and say little of it.
        return Options(
            voice=voice,
            max_tokens=LONGEST_TEXT,
            max_codes=LONGEST_SPEECH,
            text_sampling=msgspec.structs.replace(self._manifest.thinker_sampling, temperature=0.0),
            seed=SEED,
        )

    def _places(self, prompt: Prompt, length: int) -> Positions:
        return mrope(length, prompt.spans, self._manifest.clock, self._manifest.vision.merge)

    def _thinker(self, prompt: Prompt, media: Sequence[Media], done: Done) -> DecoderInput:
        """The prompt with its media rows, then the reply but for its last token, which is never read."""
        rows, length = self._words.rows(prompt.ids), len(prompt.ids)
        is_text = np.ones(length, np.bool_)
        for places, encoded in zip(prompt.rows, map(self._stages.perception.rows, media), strict=True):
            for index, values in ((places.audio, encoded.audio), (places.vision, encoded.vision)):
                if values is not None:
                    rows[index] = values
                    is_text[index] = False
        places = self._places(prompt, length)
        read = np.array(done.ids[:-1], np.int64)
        after = np.broadcast_to(places.next_position + np.arange(len(read)), (3, len(read)))
        return DecoderInput(
            np.concatenate([rows, self._words.rows(read)]),
            np.concatenate([places.rows, after], axis=1),
            # A row counts when it and the next one are text: what follows a picture's placeholder is a placeholder.
            np.flatnonzero(is_text[:-1] & is_text[1:]),
            np.arange(length - 1, length + len(read)),
        )

    def _talker(self, prompt: Prompt, done: Done, voice: str) -> DecoderInput:
        """Prompt, voice, and each code with the row that belongs to it, as the talker itself puts them together."""
        manifest, length = self._manifest, len(prompt.ids)
        thought = self._stages.thinker.context.talker_rows.copy()
        places = self._places(prompt, length + 2)
        with np.load(self._bundle.path(manifest.voices.file)) as voices:
            speaker = int(voices[f"{voice}.bos_token"])
        tape = _Tape()
        talker = Talker(tape, self._codes, self._words, manifest.tokens)
        talker.begin(thought[:length], places.rows, (length,), speaker, thought[length])
        for code, row in zip(done.codes, talker.reply_rows(list(thought[length + 1 :])), strict=False):
            talker.advance(code, row)
        rows = np.concatenate(tape.rows)
        return DecoderInput(
            rows,
            np.concatenate(tape.positions, axis=1),
            np.empty(0, np.int64),
            np.arange(length + 1, len(rows)),
        )
