"""A decoder on llama.cpp.

llama.cpp finds a row of its cache by its time, not by its place in the sequence, and lets a row see what stands
lexicographically before it on (time, height, width) (FACTS §8). For text, sounds, pictures and silent clips that is
the order of the sequence. For a clip interleaved with its own sound it is not, so such a sequence is refused.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..models.errors import BundleError, RequestError
from ..models.llama import LlamaContext, LlamaGraph
from ..models.manifest import Decoder as Shape
from .decoder import FIRST_CAPACITY, check_room

BATCH_ROWS = 128
"""Rows of one batch. llama.cpp computes logits for each row whose hidden state is wanted, so a batch of a 150,000 word
vocabulary takes 0.6 MB a row."""
OUT_OF_ORDER = (
    "llama.cpp cannot follow a clip together with its own sound. Use --engine onnx with a bundle that has onnx graphs, "
    "or leave the clip's sound out (--no-use-audio-in-video)"
)


class LlamaDecoder:
    """A decoder on llama.cpp.

    Args:
        path: a GGUF file made by the exporter.
        shape: from the manifest.
        projection: .npz of weight [hidden, rows] and bias [hidden], applied to rows before llama.cpp reads them; None
            where rows are as wide as the network.
        threads: of one operator; 0 is one a core.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        BundleError: the file is damaged, holds another architecture, or does not fit its manifest.
    """

    def __init__(self, path: Path, shape: Shape, projection: Path | None = None, threads: int = 0) -> None:
        self._shape = shape
        self._threads = threads
        self._projection = None if projection is None else _read_projection(projection)
        self._graph = LlamaGraph(path)
        found, wanted = (self._graph.width, self._graph.vocab), (shape.hidden, shape.vocab)
        if found != wanted:
            self._graph.close()
            raise BundleError(
                f"{path} has width and vocabulary {found}, its manifest {wanted}. Export the checkpoint again"
            )
        self._capacity = min(FIRST_CAPACITY, shape.context)
        self._context = self._new_context()
        self._length = 0
        # Of all rows that were read, those forgotten included; the first `length` count.
        self._positions = np.empty((3, shape.context), np.int64)

    @property
    def length(self) -> int:
        """Rows in the cache."""
        return self._length

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`: whether each row stands after the one before it, lexicographically."""
        steps = np.diff(positions, axis=1)
        # The first axis that changes decides; rows that stand at one place would see each other.
        first = np.where(steps[0] != 0, steps[0], np.where(steps[1] != 0, steps[1], steps[2]))
        return bool((first > 0).all())

    def extend(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Decoder.extend`.

        Raises:
            RequestError: also if `reads` is false of the cached positions and these.
        """
        start, stop = self._length, self._length + len(rows)
        check_room(stop, self._shape)
        if not self.reads(np.concatenate([self._positions[:, max(start - 1, 0) : start], positions], axis=1)):
            raise RequestError(OUT_OF_ORDER)
        if stop > self._capacity:
            self._grow(stop)
        self._positions[:, start:stop] = positions
        if self._projection is not None:
            weight, bias = self._projection
            # BLAS threads go on spinning for a while, and take the cores from llama.cpp's: steps would take twice the
            # time. Of a prompt they are worth it.
            rows = (np.einsum("sr,rh->sh", rows, weight) if len(rows) == 1 else rows @ weight) + bias
        hidden: list[NDArray[np.float32]] = []
        logits = np.empty(0, np.float32)
        for first in range(0, len(rows), BATCH_ROWS):
            part = slice(first, first + BATCH_ROWS)
            states, logits = self._context.read(rows[part], positions[:, part])
            self._length += len(states)
            hidden.append(states)
        return hidden[0] if len(hidden) == 1 else np.concatenate(hidden), logits

    def truncate(self, length: int) -> None:
        """See `Decoder.truncate`. Rows of one time, a picture's, can only be forgotten together (ValueError)."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot truncate a cache of {self._length} rows to {length}")
        if length == self._length:
            return
        times = self._positions[0]
        if length and times[length - 1] == times[length]:
            raise ValueError(f"rows {length - 1} and {length} are of one time and can only be forgotten together")
        self._context.forget(int(times[length]))
        self._length = length

    def close(self) -> None:
        """Free the cache and let go of the file."""
        self._context.close()
        self._graph.close()

    def _grow(self, rows: int) -> None:
        self._capacity = min(max(2 * self._capacity, rows), self._shape.context)
        old, self._context = self._context, self._new_context()
        if self._length:
            old.move_to(self._context)
        old.close()

    def _new_context(self) -> LlamaContext:
        return LlamaContext(self._graph, self._capacity, BATCH_ROWS, self._threads)


def _read_projection(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weight [rows, hidden] and bias [hidden]."""
    try:
        with np.load(path) as arrays:
            return np.ascontiguousarray(arrays["weight"].T), arrays["bias"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BundleError(f"{path} is not a projection: {error}. Export the checkpoint again") from error
