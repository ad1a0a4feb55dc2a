"""Messages to a prompt: ids with every medium's placeholder expanded, and where the media rows go.

The bundle's chat template decides what stands around the parts (FACTS §3.2); here nothing is assumed but
its placeholders. Text and earlier replies never pass through the template: it is given marks in their
place, so what a person typed cannot be mistaken for what the template wrote, and needs no escaping.

Between two control tokens, template words and typed words are encoded as one run. That is where the
reference splits too, so ordinary text gives the reference's ids to the last one ("user\n" and the first
word may share pieces of BPE). The one difference is on purpose: where typed text spells a control token,
the reference makes that token, and a person can end their turn, forge another's, or announce a picture that
is not there. Here it stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2
import jinja2.sandbox
import numpy as np
from numpy.typing import NDArray

from ..models.errors import BundleError, RequestError
from ..models.manifest import Clock, TokenIds
from .messages import Audio, Image, Media, Message, Part, Text, Tokens
from .positions import (
    AudioSize,
    ImageSize,
    MediaSize,
    Span,
    VideoSize,
    VideoWithAudioSize,
    interleaving,
    span_length,
)
from .tokenizer import Tokenizer

_MARK = re.compile("\ue000([0-9]+)\ue001")


@dataclass(frozen=True, eq=False)
class MediaRows:
    """Rows of the prompt that one medium's encoder outputs go to, in the encoders' order.

    Args:
        audio: int64 [audio tokens], indices into the prompt.
        vision: int64 [image or video tokens], likewise.
    """

    audio: NDArray[np.int64]
    vision: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prompt:
    """What the thinker reads.

    Args:
        ids: int64 [n].
        spans: the media in it, in order; what `positions.mrope` needs.
        rows: for each span, where its encoder outputs go. They are the only rows that do; the talker sees
            zeros there (FACTS §5). An id in an earlier reply that happens to be a placeholder is none.
    """

    ids: NDArray[np.int64]
    spans: tuple[Span, ...]
    rows: tuple[MediaRows, ...]


class ChatTemplate:
    """The bundle's Jinja chat template, set up as transformers does.

    The template sees roles and the kinds of the parts, not the text: it can place text, not change it.

    Args:
        source: the template.

    Raises:
        BundleError: it is no valid template.
    """

    def __init__(self, source: str) -> None:
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise BundleError(f"The chat template is broken: {error}. Export the checkpoint again") from error

    def pieces(self, messages: Sequence[Message]) -> list[str | Text | Tokens]:
        """The conversation, up to where the model answers: what the template wrote (str), and the parts.

        Raises:
            RequestError: the template refuses the conversation, or drops, repeats or reorders parts of it.
        """
        parts = [part for message in messages for part in message.parts if isinstance(part, (Text, Tokens))]
        numbers = iter(range(len(parts)))
        turns = [
            {"role": message.role, "content": [_item(part, numbers) for part in message.parts]} for message in messages
        ]
        try:
            # None as in transformers: for a template, undefined is not the same.
            written = self._template.render(messages=turns, tools=None, documents=None, add_generation_prompt=True)
        except jinja2.TemplateError as error:
            raise RequestError(f"The model's chat template refuses this conversation: {error}") from error
        literals, marks = _MARK.split(written)[::2], _MARK.findall(written)
        if [int(mark) for mark in marks] != list(range(len(parts))):
            raise RequestError("The model's chat template does not take text in one of these messages")
        pieces: list[str | Text | Tokens] = [literals[0]]
        for part, literal in zip(parts, literals[1:], strict=True):
            pieces += [part, literal]
        return pieces


class PromptBuilder:
    """Builds prompts for one model.

    Args:
        tokenizer: the bundle's.
        template: the bundle's.
        tokens, clock: of the manifest.
        merge: the manifest's vision.merge.
    """

    def __init__(
        self, tokenizer: Tokenizer, template: ChatTemplate, tokens: TokenIds, clock: Clock, merge: int
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._tokens = tokens
        self._clock = clock
        self._merge = merge
        names = sorted(tokenizer.controls, key=len, reverse=True)  # the longest wins, as in the tokenizer
        self._control = re.compile(f"({'|'.join(map(re.escape, names)) or '(?!)'})")

    def build(self, messages: Sequence[Message], sizes: Sequence[MediaSize]) -> Prompt:
        """The prompt of a conversation, up to where the model answers.

        Args:
            messages: all of it, oldest first. Without a system message the template writes its default.
            sizes: of each audio, image and video part, in order. A `Video` with `use_audio` whose file has
                no sound has a `VideoSize`.

        Raises:
            RequestError: there is no message, the template has no place for one of the media, refuses the
                conversation, or a text is not valid Unicode.
            ValueError: `sizes` are not those of the media parts.
        """
        if not messages:
            raise RequestError("There is nothing to answer: the conversation has no message")
        parts = [part for message in messages for part in message.parts]
        media = [part for part in parts if not isinstance(part, (Text, Tokens))]
        if len(media) != len(sizes) or not all(map(_fits, media, sizes)):
            raise ValueError(f"These are not the sizes of the {len(media)} media parts: {sizes}")
        ids: list[int] = []
        spans: list[Span] = []
        for run in self._runs(messages):
            if isinstance(run, str):
                ids += self._tokenizer.encode(run)
            elif isinstance(run, Tokens):
                ids += run.ids
            elif run not in (self._tokens.audio, self._tokens.image, self._tokens.video):
                ids.append(run)
            elif len(spans) < len(sizes) and run == self._placeholder(sizes[len(spans)]):
                spans.append(Span(len(ids), sizes[len(spans)]))
                ids += self._expansion(spans[-1].size)
            else:
                raise _misplaced()
        if len(spans) < len(sizes):
            raise _misplaced()
        row_ids = np.array(ids, dtype=np.int64)
        return Prompt(row_ids, tuple(spans), tuple(self._rows(row_ids, span) for span in spans))

    def _runs(self, messages: Sequence[Message]) -> Iterator[str | int | Tokens]:
        """Text between control tokens, in one piece; control tokens; earlier replies."""
        text = ""
        for piece in self._template.pieces(messages):
            if isinstance(piece, Text):
                text += piece.text
            elif isinstance(piece, Tokens):
                yield from (text, piece)
                text = ""
            else:
                for place, written in enumerate(self._control.split(piece)):
                    if place % 2 == 0:
                        text += written
                    else:
                        yield from (text, self._tokenizer.controls[written])
                        text = ""
        yield text

    def _placeholder(self, size: MediaSize) -> int:
        if isinstance(size, AudioSize):
            return self._tokens.audio
        return self._tokens.image if isinstance(size, ImageSize) else self._tokens.video

    def _expansion(self, size: MediaSize) -> list[int]:
        """What one placeholder becomes (FACTS §3.3)."""
        if not isinstance(size, VideoWithAudioSize):
            return [self._placeholder(size)] * span_length(size, self._merge)
        order = interleaving(size, self._clock, self._merge)
        inner = np.where(order, self._tokens.video, self._tokens.audio).tolist()
        return [self._tokens.audio_start, *inner, self._tokens.audio_end]

    def _rows(self, ids: NDArray[np.int64], span: Span) -> MediaRows:
        within = ids[span.start : span.start + span_length(span.size, self._merge)]
        seen = (within == self._tokens.image) | (within == self._tokens.video)
        heard = within == self._tokens.audio
        return MediaRows(span.start + np.flatnonzero(heard), span.start + np.flatnonzero(seen))


def _item(part: Part, numbers: Iterator[int]) -> dict[str, str]:
    """A part as the template sees it: media by kind, the rest as a mark."""
    if isinstance(part, (Text, Tokens)):
        return {"type": "text", "text": f"\ue000{next(numbers)}\ue001"}
    kind = "audio" if isinstance(part, Audio) else "image" if isinstance(part, Image) else "video"
    return {"type": kind, kind: kind}


def _fits(part: Media, size: MediaSize) -> bool:
    if isinstance(part, Audio):
        return isinstance(size, AudioSize)
    if isinstance(part, Image):
        return isinstance(size, ImageSize)
    heard = part.use_audio or part.sound is not None
    return isinstance(size, VideoSize) or (isinstance(size, VideoWithAudioSize) and heard)


def _misplaced() -> RequestError:
    return RequestError("The model's chat template has no place for sound or pictures in these messages")


def _refuse(message: str) -> None:
    """Templates call this to reject a conversation."""
    raise jinja2.TemplateError(message)
