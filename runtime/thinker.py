"""The thinker: rows in, text tokens out, and for each token the row that the talker wants of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .decoder import Decoder
from .sampling import Sampler


class Embeddings:
    """An embedding table, read row by row from the mapped file.

    Args:
        path: .npy of [vocab, width] f32.
    """

    def __init__(self, path: Path) -> None:
        self._table: NDArray[np.float32] = np.load(path, mmap_mode="r")

    def rows(self, ids: NDArray[np.int64] | list[int]) -> NDArray[np.float32]:
        """[n] -> [n, width]."""
        return np.asarray(self._table[np.asarray(ids, np.int64)], np.float32)


@dataclass(eq=False)
class Context:
    """What the thinker's cache holds, so that the next prompt pays only for what is new.

    Rows of a medium are told apart by `marks`: 0 for text, a number of its own for each part.
    """

    ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    positions: NDArray[np.int64] = field(default_factory=lambda: np.empty((3, 0), np.int64))
    marks: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    talker_rows: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def common(self, ids: NDArray[np.int64], positions: NDArray[np.int64], marks: NDArray[np.int64]) -> int:
        """How many leading rows of a prompt are the cached ones: same id, same place, same medium.

        Places count: after a clip whose sound ended early, a reply was generated higher than the next prompt
        has it (FACTS §3.4, quirk), and must then be read again.
        """
        length = min(len(self.ids), len(ids))
        same = (self.ids[:length] == ids[:length]) & (self.marks[:length] == marks[:length])
        same &= (self.positions[:, :length] == positions[:, :length]).all(axis=0)
        return length if same.all() else int(same.argmin())

    def truncate(self, length: int) -> None:
        """Forget all rows from `length` on."""
        self.ids, self.marks = self.ids[:length], self.marks[:length]
        self.positions, self.talker_rows = self.positions[:, :length], self.talker_rows[:length]

    def append(
        self,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        marks: NDArray[np.int64],
        talker_rows: NDArray[np.float32],
    ) -> None:
        """Note rows that the cache now holds as well."""
        width = talker_rows.shape[1]
        self.ids = np.concatenate([self.ids, ids])
        self.marks = np.concatenate([self.marks, marks])
        self.positions = np.concatenate([self.positions, positions], axis=1)
        self.talker_rows = np.concatenate([self.talker_rows.reshape(-1, width), talker_rows])


@dataclass(frozen=True, eq=False)
class Reading:
    """A prompt as the thinker reads it.

    Args:
        ids: int64 [P].
        rows: f32 [P, hidden], token embeddings with the media rows in their places.
        positions: int64 [3, P].
        next_position: of the first generated token.
        marks: int64 [P], 0 for text and another number for each medium.
    """

    ids: NDArray[np.int64]
    rows: NDArray[np.float32]
    positions: NDArray[np.int64]
    next_position: int
    marks: NDArray[np.int64]


class Thinker:
    """The language model with its cache.

    Args:
        decoder: on any engine.
        embeddings: the bundle's table.
    """

    def __init__(self, decoder: Decoder, embeddings: Embeddings) -> None:
        self._decoder = decoder
        self._embeddings = embeddings
        self._logits = np.empty(0, np.float32)
        self._next_position = 0
        self.context = Context()

    def embed(self, ids: NDArray[np.int64] | list[int]) -> NDArray[np.float32]:
        """[n] -> [n, hidden]."""
        return self._embeddings.rows(ids)

    def read(self, prompt: Reading) -> int:
        """Bring the cache to exactly this prompt.

        Returns:
            How many of its rows were in the cache already. The last row is always read, for its logits.
        """
        kept = min(self.context.common(prompt.ids, prompt.positions, prompt.marks), len(prompt.ids) - 1)
        self._decoder.truncate(kept)
        self.context.truncate(kept)
        new = prompt.rows[kept:]
        hidden, self._logits = self._decoder.extend(new, prompt.positions[:, kept:])
        self._next_position = prompt.next_position
        # The talker hears of media only what the thinker thought of them: their embeddings are zeroed (FACTS §5).
        seen = np.where(prompt.marks[kept:, None] == 0, new, 0)
        self.context.append(prompt.ids[kept:], prompt.positions[:, kept:], prompt.marks[kept:], seen + hidden)
        return kept

    def pick(self, sampler: Sampler) -> int:
        """The next token; it is not in the cache until `advance`."""
        return sampler.pick(self._logits)

    def advance(self, token: int) -> NDArray[np.float32]:
        """Read a generated token.

        Returns:
            Its row for the talker [hidden]: embedding + hidden state after the final norm (FACTS §5).
        """
        row = self.embed([token])
        positions = np.full((3, 1), self._next_position, np.int64)
        hidden, self._logits = self._decoder.extend(row, positions)
        self._next_position += 1
        reply = row + hidden
        self.context.append(np.array([token]), positions, np.zeros(1, np.int64), reply)
        return reply[0]
