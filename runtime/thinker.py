"""The thinker: rows in, text tokens out, and for each token the row that the talker wants of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decoder import Decoder
from .sampling import Sampler


class Embeddings:
    """An embedding table, read row by row from the mapped file.

    Args:
        path: .npy of [vocab, width] floats, or of [vocab] records: `steps`, int8 [width], and `scales`, float16, one
            for each block of them; value = step · scale.
    """

    def __init__(self, path: Path) -> None:
        self._table: NDArray[Any] = np.load(path, mmap_mode="r")
        self._is_rounded = self._table.dtype.names is not None
        self._width = self._table.dtype["steps"].shape[0] if self._is_rounded else self._table.shape[1]

    @property
    def width(self) -> int:
        """Of a row."""
        return self._width

    def rows(self, ids: NDArray[np.int64] | list[int]) -> NDArray[np.float32]:
        """[n] -> [n, width]."""
        records = self._table[np.asarray(ids, np.int64)]
        if not self._is_rounded:
            return np.asarray(records, np.float32)
        scales = records["scales"].astype(np.float32)[:, :, None]
        return (records["steps"].reshape(*scales.shape[:2], -1) * scales).reshape(len(records), -1)


class Context:
    """What the thinker's cache holds, so that the next prompt pays only for what is new.

    Rows of a medium are told apart by `marks`: 0 for text, a number of its own for each part.

    Args:
        width: of the rows for the talker, the thinker's hidden size.
    """

    def __init__(self, width: int) -> None:
        self._length = 0
        self._ids = np.empty(0, np.int64)
        self._marks = np.empty(0, np.int64)
        self._positions = np.empty((0, 3), np.int64)
        self._talker_rows = np.empty((0, width), np.float32)

    @property
    def ids(self) -> NDArray[np.int64]:
        """[n]"""
        return self._ids[: self._length]

    @property
    def talker_rows(self) -> NDArray[np.float32]:
        """[n, hidden]: embedding (zero for media) + hidden state of each row (FACTS §5)."""
        return self._talker_rows[: self._length]

    def common(self, ids: NDArray[np.int64], positions: NDArray[np.int64], marks: NDArray[np.int64]) -> int:
        """How many leading rows of a prompt are the cached ones: same id, same place, same medium.

        Places count: after a clip whose sound ended early, a reply was generated higher than the next prompt
        has it (FACTS §3.4, quirk), and must then be read again.
        """
        length = min(self._length, len(ids))
        same = (self._ids[:length] == ids[:length]) & (self._marks[:length] == marks[:length])
        same &= (self._positions[:length] == positions.T[:length]).all(axis=1)
        return length if same.all() else int(same.argmin())

    def truncate(self, length: int) -> None:
        """Forget all rows from `length` on."""
        self._length = min(self._length, length)

    def append(
        self,
        ids: NDArray[np.int64],
        positions: NDArray[np.int64],
        marks: NDArray[np.int64],
        talker_rows: NDArray[np.float32],
    ) -> None:
        """Note rows that the cache now holds as well; positions [3, n]."""
        start, stop = self._length, self._length + len(ids)
        if stop > len(self._ids):
            # Doubling, so that a token costs its own row and not a copy of the conversation.
            self._grow(max(stop, 2 * len(self._ids)))
        self._ids[start:stop] = ids
        self._marks[start:stop] = marks
        self._positions[start:stop] = positions.T
        self._talker_rows[start:stop] = talker_rows
        self._length = stop

    def _grow(self, capacity: int) -> None:
        for name in ("_ids", "_marks", "_positions", "_talker_rows"):
            old = getattr(self, name)
            new = np.empty((capacity, *old.shape[1:]), old.dtype)
            new[: self._length] = old[: self._length]
            setattr(self, name, new)


@dataclass(frozen=True, eq=False)
class Reading:
    """A prompt, or its beginning, as the thinker reads it.

    Args:
        ids: int64 [P].
        positions: int64 [3, P].
        marks: int64 [P], 0 for text; other numbers tell media rows apart.
        rows: (start, stop) -> f32 [stop - start, hidden], token embeddings with the media rows in their places; asked
            only for what is not in the cache.
        stops: rising, the last is P. Rows are read in runs that end there, whether the prompt is read at once or as it
            comes: kernels sum in other orders when they have more rows to work on, and the results shall be the same.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    marks: NDArray[np.int64]
    rows: Callable[[int, int], NDArray[np.float32]]
    stops: tuple[int, ...]


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
        self.context = Context(embeddings.width)

    def embed(self, ids: NDArray[np.int64] | list[int]) -> NDArray[np.float32]:
        """[n] -> [n, hidden]."""
        return self._embeddings.rows(ids)

    def read(self, prompt: Reading, next_position: int) -> int:
        """Bring the cache to exactly this prompt.

        Args:
            prompt: the whole of it.
            next_position: of the first generated token.

        Returns:
            How many of its rows were in the cache already. The last row is always read, for its logits.
        """
        kept = min(self.common(prompt), len(prompt.ids) - 1)
        self._extend(prompt, kept, len(prompt.ids))
        self._next_position = next_position
        return kept

    def read_ahead(self, prompt: Reading) -> int:
        """Read one run more of a prompt whose end is not known yet.

        Returns:
            How many of its rows are in the cache now. Only when all are, the cache holds nothing else.
        """
        kept = self.common(prompt)
        stop = next((stop for stop in prompt.stops if stop > kept), kept)
        self._extend(prompt, kept, stop)
        return stop

    def common(self, prompt: Reading) -> int:
        """How many leading rows of a prompt are in the cache."""
        return self.context.common(prompt.ids, prompt.positions, prompt.marks)

    def keep(self, ids: NDArray[np.int64]) -> None:
        """Forget what stands behind these ids, if it is them that the cache begins with."""
        if np.array_equal(self.context.ids[: len(ids)], ids[: len(self.context.ids)]):
            self._truncate(len(ids))

    def _truncate(self, length: int) -> None:
        self._decoder.truncate(min(length, self._decoder.length))
        self.context.truncate(length)

    def _extend(self, prompt: Reading, start: int, end: int) -> None:
        """Read rows `start` to `end`, in place of whatever the cache holds there."""
        for stop in (stop for stop in prompt.stops if start < stop <= end):
            self._truncate(start)
            new, places = prompt.rows(start, stop), prompt.positions[:, start:stop]
            hidden, self._logits = self._decoder.extend(new, places)
            # The talker hears of media only what the thinker thought of them: their embeddings are zeroed (FACTS §5).
            seen = np.where(prompt.marks[start:stop, None] == 0, new, 0)
            self.context.append(prompt.ids[start:stop], places, prompt.marks[start:stop], seen + hidden)
            start = stop

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`."""
        return self._decoder.reads(positions)

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
