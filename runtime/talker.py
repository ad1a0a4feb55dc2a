"""The talker: the thinker's rows in, speech codes out, one text row consumed a code (FACTS §5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import TokenIds
from .decoder import Decoder
from .sampling import Sampler
from .thinker import Embeddings


class Talker:
    """The speech model with its cache, whose leading rows are those of the thinker's prompt.

    Args:
        decoder: on any engine; its input rows are as wide as the thinker.
        codes: the bundle's table of code embeddings.
        words: the thinker's table, for the ids that have no text: voices, end and padding of the text.
        tokens: ids by meaning.
    """

    def __init__(self, decoder: Decoder, codes: Embeddings, words: Embeddings, tokens: TokenIds) -> None:
        self._decoder = decoder
        self._codes = codes
        self._words = words
        self._tokens = tokens
        self._logits = np.empty(0, np.float32)
        self._next_position = 0
        self._prompt_rows = 0

    def keep(self, rows: int) -> None:
        """Only the first `rows` rows of the prompt are still what they were; the rest of the cache is void."""
        self._prompt_rows = min(self._prompt_rows, rows)
        self._decoder.truncate(self._prompt_rows)

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`."""
        return self._decoder.reads(positions)

    def read(self, prompt: NDArray[np.float32], positions: NDArray[np.int64], stops: Sequence[int]) -> None:
        """Read the prompt, or what is known of it before the reply.

        Args:
            prompt: [n, hidden], the first rows of the thinker's context; those kept are not read again.
            positions: [3, n] or more.
            stops: see `Reading`; those up to n count.
        """
        self._decoder.truncate(self._prompt_rows)
        for stop in (stop for stop in stops if self._prompt_rows < stop <= len(prompt)):
            new = slice(self._prompt_rows, stop)
            self._decoder.extend(prompt[new], positions[:, new])
            self._prompt_rows = stop

    def begin(
        self,
        prompt: NDArray[np.float32],
        positions: NDArray[np.int64],
        stops: Sequence[int],
        voice: int,
        first: NDArray[np.float32],
    ) -> None:
        """Read the prompt, the voice and the first row of the reply.

        Args:
            prompt: [P, hidden], all rows of the thinker's context up to the reply; those kept are not read again.
            positions: [3, P + 2].
            stops: see `Reading`.
            voice: the speaker's bos id in the thinker's vocabulary.
            first: [hidden], the row of the reply's first token.
        """
        self.read(prompt, positions, stops)
        tokens = self._tokens
        lead = self._words.rows([voice]) + self._codes.rows([tokens.codec_pad])
        start = first[None] + self._codes.rows([tokens.codec_start])
        _, self._logits = self._decoder.extend(np.concatenate([lead, start]), positions[:, len(prompt) :])
        self._next_position = int(positions.max()) + 1

    def step(self, sampler: Sampler) -> int:
        """The next code; it is not in the cache until `advance`."""
        return sampler.pick(self._logits)

    def advance(self, code: int, row: NDArray[np.float32]) -> None:
        """Read a code together with the reply's next row [hidden]."""
        positions = np.full((3, 1), self._next_position, np.int64)
        _, self._logits = self._decoder.extend(self._codes.rows([code]) + row, positions)
        self._next_position += 1

    def reset(self) -> None:
        """Forget everything."""
        self.keep(0)

    def seen(self, prompt_rows: int) -> list[int]:
        """Ids that the repetition penalty counts as having occurred before the first code (FACTS §5)."""
        tokens = self._tokens
        return [tokens.codec_mask] * bool(prompt_rows) + [tokens.codec_pad, tokens.codec_start]

    def reply_rows(self, rest: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Rows for `advance`, without end: the reply's after the first, the end of the text once, then padding."""
        yield from rest
        yield self._words.rows([self._tokens.tts_text_end])[0]
        padding = self._words.rows([self._tokens.tts_text_pad])[0]
        while True:
            yield padding
