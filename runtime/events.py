"""What a response yields, in order: text and audio as they come, and one `Done`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Notice:
    """Something about this response that its reader should know, a sentence."""

    text: str


@dataclass(frozen=True)
class TextDelta:
    """More of the answer's text."""

    text: str


@dataclass(frozen=True, eq=False)
class AudioDelta:
    """More of the answer's speech."""

    samples: NDArray[np.float32]
    """Mono, [n], in [-1, 1]."""
    rate: int
    """Samples per second."""


@dataclass(frozen=True)
class Statistics:
    """What a response cost. Times in seconds of wall clock; 0 where nothing was done."""

    prompt_rows: int
    """Rows of the whole prompt, earlier turns included."""
    prefilled_rows: int
    """Rows of it that were not in the cache yet when it was asked."""
    listened_rows: int
    """Rows of it that were read before, while the turn was going on (`Session.listen`)."""
    reread_rows: int
    """Rows that were read twice or in vain then, because what came later changed them."""
    media_s: float
    """Decoding and encoding of sounds and pictures."""
    prefill_s: float
    first_text_s: float
    """From the request to the first piece of text."""
    text_s: float
    """Generation of the text, prefill excluded."""
    text_tokens_per_s: float
    first_code_s: float
    """From the request to the first code of speech."""
    talker_s: float
    codes_per_s: float
    flow_s: float
    vocoder_s: float
    first_audio_s: float
    """From the request to the first samples."""
    audio_s: float
    """Length of the speech."""
    real_time_factor: float
    """Seconds of talker, flow and vocoder for a second of speech; below 1 is faster than speaking."""
    seed: int
    """With the same seed and options the response is the same again."""


@dataclass(frozen=True)
class Done:
    """The response is complete."""

    text: str
    ids: tuple[int, ...]
    """Generated text ids, the end token included if there was one."""
    codes: tuple[int, ...]
    """Speech codes before the stop id."""
    samples: int
    """How many audio samples were yielded."""
    rate: int
    stats: Statistics


Event: TypeAlias = Notice | TextDelta | AudioDelta | Done
