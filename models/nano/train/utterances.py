"""What the talker learns from: text pieces, speech codes, and which piece sounds during each code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .codec import Codec
from .pieces import SPECIALS, encode, tokenizer
from .voices import HOP, UNIT, Utterance, VoiceCache

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


@dataclass(frozen=True)
class TalkerBatch:
    """Rows of the talker, padded on the right: all [batch, rows].

    Row 0 is the speaker's, row 1 holds the first piece, row r the code of row r - 1 and piece r - 1; the target of a
    row is the code that comes next.
    """

    text: Tensor
    codes: Tensor
    targets: Tensor  # IGNORED in row 0 and in the padding
    looks: Tensor  # the row of the piece that sounds during the target, IGNORED where there is none


def collate(lessons: Sequence[Lesson], ids: CodeIds) -> TalkerBatch:
    """Lay lessons out as the class's own generation does."""
    rows = 2 + max(len(lesson.codes) for lesson in lessons)
    text = np.full((len(lessons), rows), SPECIALS["tts_pad"], np.int64)
    codes = np.full((len(lessons), rows), ids.pad, np.int64)
    targets, looks = np.full_like(text, IGNORED), np.full_like(text, IGNORED)
    for row, item in enumerate(lessons):
        count, pieces = len(item.codes), len(item.pieces)
        text[row, 0] = SPECIALS[f"voice{item.speaker}"]
        text[row, 1 : 1 + pieces] = item.pieces
        text[row, 1 + pieces] = SPECIALS["tts_end"]
        codes[row, 1] = ids.start
        codes[row, 2 : 2 + count] = item.codes
        targets[row, 1 : 1 + count] = item.codes
        targets[row, 1 + count] = ids.end
        looks[row, 1 : 1 + count] = 1 + item.sounding
        looks[row, 1 + count] = 1 + pieces
    # A piece is not there before its row: the first codes may only look at what has come.
    late = looks > np.arange(rows)
    looks[late] = IGNORED
    return TalkerBatch(*(torch.from_numpy(part) for part in (text, codes, targets, looks)))


def lessons_of(voices: Sequence[VoiceCache], codec: Codec, *, held_out: bool, each: int | None = None) -> list[Lesson]:
    """Lessons of all speakers, shortest first."""
    found = []
    for speaker, voice in enumerate(voices):
        chosen = [utterance for utterance in voice.utterances if utterance.held_out == held_out][:each]
        found += [lesson(utterance, voice, speaker, codec) for utterance in chosen]
    return sorted(found, key=lambda item: len(item.codes))
