"""What the talker learns from: text pieces, speech codes, and which piece sounds during each code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .codec import Codec
from .pieces import encode, tokenizer
from .voices import HOP, UNIT, Utterance, VoiceCache

if TYPE_CHECKING:
    from .prompted import Prompted

I64 = npt.NDArray[np.int64]
CODE_SECONDS = 0.02
SPECIAL_CODES = 16  # ids above the codes: padding, begin, end and mask lie in them as in the real vocabulary
IGNORED = -100


@dataclass(frozen=True)
class CodeIds:
    """The talker's special ids over a codec of `top` codes; the offsets are those of the tiny checkpoints."""

    top: int

    @property
    def vocabulary(self) -> int:
        """Rows of the talker's table and head."""
        return self.top + SPECIAL_CODES

    @property
    def pad(self) -> int:
        """Stands beside the speaker's token."""
        return self.vocabulary - 8

    @property
    def start(self) -> int:
        """Stands beside the first text piece."""
        return self.vocabulary - 7

    @property
    def end(self) -> int:
        """Ends the speech."""
        return self.vocabulary - 6

    @property
    def mask(self) -> int:
        """Fills the prompt's rows."""
        return self.vocabulary - 4


@dataclass(frozen=True)
class Lesson:
    """One sentence by one speaker."""

    text: str
    speaker: int
    pieces: I64  # ids [pieces]
    codes: I64  # [codes], in 1..top
    sounding: I64  # index of the piece that sounds during each code; the number of pieces after the last one


def lesson(utterance: Utterance, voice: VoiceCache, speaker: int, codec: Codec) -> Lesson:
    """Code and align one sentence of the cache."""
    frames = voice.mel()[utterance.start // HOP : (utterance.start + utterance.samples) // HOP]
    ends = piece_ends(utterance)
    times = (np.arange(utterance.samples // UNIT) + 0.5) * CODE_SECONDS
    pieces = np.array(encode(utterance.text), dtype=np.int64)
    codes = codec.encode(frames.astype(np.float32), speaker)
    return Lesson(utterance.text, speaker, pieces, codes, np.searchsorted(ends, times).astype(np.int64))


def piece_ends(utterance: Utterance) -> npt.NDArray[np.float64]:
    """When each text piece stops sounding, in seconds; a word's time is shared among its pieces by their letters."""
    tokens = tokenizer().encode(utterance.text, add_special_tokens=False).tokens
    words: list[list[int]] = []
    for token in tokens:
        if not words or token.startswith("Ġ"):
            words.append([])
        words[-1].append(len(token.lstrip("Ġ")))
    if len(words) != len(utterance.words):
        raise ValueError(f"{utterance.text!r} is {len(words)} words, of which flite said {len(utterance.words)}")
    ends: list[float] = []
    for lengths, (_, start, end) in zip(words, utterance.words, strict=True):
        ends.extend(start + (end - start) * np.cumsum(lengths) / max(1, sum(lengths)))
    return np.array(ends)


SPECIAL_ROWS = ("voice0", "voice1", "tts_end", "tts_pad")
"""Ids of the thinker's table that only the talker reads; it learns their rows."""


@dataclass(frozen=True)
class TalkerBatch:
    """Rows of the talker, padded on the right: [batch, rows] but for the first and the last.

    A conversation of P rows comes first. Row P is the speaker's, row P + 1 holds the reply's first piece, row P + r
    the code of row P + r - 1 and piece r - 1; the target of a row is the code that comes next.
    """

    thinker: Tensor  # [batch, rows, hidden], zero where a special row stands
    special: Tensor  # index in SPECIAL_ROWS, -1 elsewhere
    codes: Tensor  # -1 in the conversation
    targets: Tensor  # IGNORED up to row P and in the padding
    looks: Tensor  # the row of the piece that sounds during the target, IGNORED where there is none
    positions: Tensor  # [3, batch, rows]


def collate(lessons: Sequence[Lesson], prompted: Sequence[Prompted], ids: CodeIds) -> TalkerBatch:
    """Lay lessons out behind their conversations as the class's own generation does."""
    rows = max(len(one.prompt) + 2 + len(item.codes) for item, one in zip(lessons, prompted, strict=True))
    thinker = torch.zeros(len(lessons), rows, prompted[0].prompt.shape[1])
    special = torch.full((len(lessons), rows), SPECIAL_ROWS.index("tts_pad"))
    codes = torch.full((len(lessons), rows), ids.pad)
    targets, looks = (torch.full((len(lessons), rows), IGNORED) for _ in range(2))
    positions = torch.zeros(3, len(lessons), rows, dtype=torch.long)
    for row, (item, one) in enumerate(zip(lessons, prompted, strict=True)):
        prompt, pieces, count = len(one.prompt), len(item.pieces), len(item.codes)
        first, end = prompt + 1, prompt + 1 + pieces
        thinker[row, :prompt], thinker[row, first:end] = one.prompt, one.reply
        special[row, :prompt] = special[row, first:end] = -1
        special[row, prompt], special[row, end] = item.speaker, SPECIAL_ROWS.index("tts_end")
        codes[row, :prompt] = -1
        codes[row, first] = ids.start
        codes[row, first + 1 : first + 1 + count] = torch.from_numpy(item.codes)
        targets[row, first : first + count] = torch.from_numpy(item.codes)
        targets[row, first + count] = ids.end
        looks[row, first : first + count] = first + torch.from_numpy(item.sounding)
        looks[row, first + count] = end
        positions[:, row, : prompt + 2] = one.positions
        positions[:, row, prompt + 2 :] = one.positions.max() + 1 + torch.arange(rows - prompt - 2)
    # A piece is not there before its row: the first codes may only look at what has come.
    looks[looks > torch.arange(rows)] = IGNORED
    return TalkerBatch(thinker, special, codes, targets, looks, positions)


def lessons_of(voices: Sequence[VoiceCache], codec: Codec, *, held_out: bool, each: int | None = None) -> list[Lesson]:
    """Lessons of all speakers, shortest first."""
    found = []
    for speaker, voice in enumerate(voices):
        chosen = [utterance for utterance in voice.utterances if utterance.held_out == held_out][:each]
        found += [lesson(utterance, voice, speaker, codec) for utterance in chosen]
    return sorted(found, key=lambda item: len(item.codes))
