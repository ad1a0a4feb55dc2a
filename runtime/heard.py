"""Which words of a reply were heard when its speech was stopped."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Manifest
from .messages import Message, Tokens
from .speech import Spoken
from .tokenizer import TextStream, Tokenizer

START = 14.0
"""Characters a second of a voice that has not finished a reply yet. The shipped model speaks at this rate; English is
spoken at about 150 words a minute, and a word with its space takes about six characters."""


class Pace:
    """Characters a second of each voice, over the replies that it spoke to their end."""

    def __init__(self) -> None:
        self._characters: dict[str, float] = defaultdict(float)
        self._seconds: dict[str, float] = defaultdict(float)

    def note(self, voice: str, characters: int, seconds: float) -> None:
        """A reply was spoken to its end."""
        self._characters[voice] += characters
        self._seconds[voice] += seconds

    def of(self, voice: str) -> float:
        """Characters a second."""
        return self._characters[voice] / self._seconds[voice] if self._seconds[voice] else START


@dataclass(eq=False)
class Utterance:
    """A reply, as far as it was made.

    The talker reads one row of text a code, far ahead of its own voice, so codes do not tell which word is being
    spoken. How much was heard is therefore estimated by characters. Of a reply that was spoken to its end: their share
    is the share of the samples. Of another: as many a second as this voice spoke in replies it did finish, or `START`.
    """

    messages: tuple[Message, ...]
    """The conversation that it answers."""
    prompt: NDArray[np.int64]
    """Ids of that."""
    voice: str
    stop: tuple[int, ...]
    """Ids that end a text and are not part of it."""
    ids: list[int] = field(default_factory=list)
    spoken: Spoken = field(default_factory=Spoken)
    speaks: bool = True
    """Or it is only written, and read as it comes."""

    def tokens(self, tokenizer: Tokenizer) -> Tokens:
        """All that was written."""
        said = tuple(token for token in self.ids if token not in self.stop)
        return Tokens(said, tokenizer.decode(said))

    def seconds(self, manifest: Manifest) -> float:
        """Length of the speech, what has not become sound yet included."""
        return len(self.spoken.codes) * manifest.code_samples / manifest.vocoder.rate

    def cut(self, samples: int, pace: Pace, tokenizer: Tokenizer, manifest: Manifest) -> Tokens:
        """The reply's words within its first samples.

        Args:
            samples: heard, at the vocoder's rate.
            pace: of the voices so far.
            tokenizer, manifest: of the bundle.

        Returns:
            Its first tokens, up to the end of a word; all of them if all was heard, or it is only written.
        """
        whole, seconds = self.tokens(tokenizer), samples / manifest.vocoder.rate
        if not self.speaks:
            return whole
        if self.spoken.ended:
            share = seconds / self.seconds(manifest) if self.spoken.codes else 1.0
            characters = len(whole.text) * share
        else:
            characters = seconds * pace.of(self.voice)
        return leading_words(whole, int(characters + 1e-6), tokenizer)


def leading_words(reply: Tokens, characters: int, tokenizer: Tokenizer) -> Tokens:
    """The longest beginning of a reply that has at most so many characters and ends where a word does."""
    if characters >= len(reply.text):
        return reply
    stream, length, best = TextStream(tokenizer), 0, 0
    for count, token in enumerate(reply.ids, 1):
        length += len(stream.push(token))
        if length > characters:
            break
        if is_edge(reply.text, length):
            best = count
    ids = reply.ids[:best]
    return Tokens(ids, tokenizer.decode(ids))


def is_edge(text: str, place: int) -> bool:
    """Whether a word ends at this place of a text; each character of a script written without spaces is a word."""
    if place == 0 or place >= len(text):
        return place > 0
    before, after = text[place - 1], text[place]
    if before.isspace():
        return False
    return after.isspace() or any(unicodedata.east_asian_width(letter) in "WF" for letter in (before, after))
