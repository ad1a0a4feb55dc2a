"""Autoregressive networks with a cache: the contract, and its ONNX Runtime engine (llama.py has the other)."""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.errors import RequestError
from ..models.manifest import Decoder as Shape

PREFILL_ROWS = 512
"""Rows of one run: bounds the memory of attention over long prompts."""
PROMPT_ROWS = 64
"""Least rows of one run for which a graph for prompts pays: it reads twice the bytes of weights, whatever the rows."""
FIRST_CAPACITY = 1024
"""Rows the cache holds at first; it doubles when full."""


class Decoder(Protocol):
    """A network that reads rows and keeps what it read. Thinker and talker are both one, on whichever engine."""

    @property
    def length(self) -> int:
        """Rows in the cache."""
        ...

    def extend(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Read further rows.

        Args:
            rows: [S, rows], S at least 1.
            positions: [3, S], time, height, width.

        Returns:
            Hidden rows after the final norm [S, hidden], and the last row's logits [vocab].

        Raises:
            RequestError: the cache would exceed the model's context.
        """
        ...

    def truncate(self, length: int) -> None:
        """Forget all rows from `length` on."""
        ...

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """Whether a sequence at these positions [3, S] can be read here; an engine may have limits."""
        ...


def check_room(rows: int, shape: Shape) -> None:
    """Refuse a cache of more rows than the model's context, with a RequestError."""
    if rows > shape.context:
        raise RequestError(
            f"the conversation would fill {rows} positions; this model has {shape.context}. "
            "Shorten the prompt or the media, or start a new conversation"
        )


class OnnxDecoder:
    """A decoder on ONNX Runtime. Its cache lies in buffers that the graph reads and writes in place.

    A step of one row, which is what a reply consists of, finds everything bound: the row is written into the buffer
    that the graph reads.

    Args:
        session: of a graph made by the exporter.
        shape: from the manifest.
        prompt: of the graph without logits that reads long prompts up to their last row; None leaves them to `session`.
    """

    def __init__(self, session: ort.InferenceSession, shape: Shape, prompt: ort.InferenceSession | None = None) -> None:
        self._shape = shape
        self._length = 0
        self._caches: list[NDArray[np.float32]] = []
        self._row = np.empty((1, 1, shape.rows), np.float32)
        self._place = np.empty((3, 1, 1), np.int64)
        self._last_index = np.zeros(1, np.int32)
        self._total = np.zeros((), np.int32)
        self._hidden = np.empty((1, 1, shape.hidden), np.float32)
        self._logits = np.empty((1, shape.vocab), np.float32)
        # One for steps, which stays as it is; those for several rows are given them anew for each run.
        self._step, self._several = _Bound(session), _Bound(session)
        self._prompt = None if prompt is None else _Bound(prompt)
        self._all = [self._step, self._several, *([self._prompt] if self._prompt else [])]
        for bound in self._all:
            bound.input("last_index", self._last_index)
            bound.input("total", self._total)
        for bound in (self._step, self._several):
            bound.output("logits", self._logits)
        self._step.input("rows", self._row)
        self._step.input("positions", self._place)
        self._step.output("hidden", self._hidden)
        self._allocate(min(FIRST_CAPACITY, shape.context))

    @property
    def length(self) -> int:
        """Rows in the cache."""
        return self._length

    def extend(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Decoder.extend`."""
        total = self._length + len(rows)
        check_room(total, self._shape)
        if total > self._capacity:
            self._allocate(min(max(2 * self._capacity, total), self._shape.context))
        hidden = np.empty((len(rows), self._shape.hidden), np.float32)
        # The last row needs logits, which a graph for prompts does not give.
        helper = self._prompt if len(rows) > PROMPT_ROWS else None
        prompt = len(rows) - 1 if helper else len(rows)
        edges = [*range(0, prompt, PREFILL_ROWS), prompt, len(rows)]
        for start, stop in itertools.pairwise(edges):
            if start < stop:
                part, several = slice(start, stop), helper if stop - start >= PROMPT_ROWS else None
                self._run(rows[part], positions[:, part], hidden[part], several or self._several)
        return hidden, self._logits[0].copy()

    def truncate(self, length: int) -> None:
        """See `Decoder.truncate`."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot truncate a cache of {self._length} rows to {length}")
        self._length = length

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`: any."""
        return True

    def _run(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64], hidden: NDArray[np.float32], several: _Bound
    ) -> None:
        """Read rows in one run, by `several` if they are, and write their hidden states [S, hidden]; logits are left by
        the last run."""
        total = self._length + len(rows)
        self._last_index[0], self._total[...] = total - 1, total
        if len(rows) == 1:
            self._row[0], self._place[:, 0] = rows, positions
            self._step.run()
            hidden[:] = self._hidden[0]
        else:
            several.input("rows", np.ascontiguousarray(rows[None], np.float32))
            several.input("positions", np.ascontiguousarray(positions[:, None], np.int64))
            several.output("hidden", hidden[None])
            several.run()
        self._length = total

    def _allocate(self, capacity: int) -> None:
        """Bind buffers of this many rows, with what is cached copied over."""
        shape = self._shape
        old, self._caches = self._caches, []
        self._capacity = capacity
        for index in range(2 * shape.layers):
            buffer = np.zeros((1, shape.kv_heads, capacity, shape.head_dim), np.float32)
            if old:
                buffer[:, :, : self._length] = old[index][:, :, : self._length]
                old[index] = buffer[:0]  # lets go of the old buffer before the next one is made
            self._caches.append(buffer)
            kind = f"{('key', 'value')[index % 2]}.{index // 2}"
            # One buffer as past and present: the attention operator then appends in place.
            for bound in self._all:
                bound.input(f"past_{kind}", buffer)
                bound.output(f"present_{kind}", buffer)


class _Bound:
    """A session that reads and writes arrays in place; they live as long as they are bound."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._binding = session.io_binding()

    def input(self, name: str, array: NDArray[np.generic]) -> None:
        self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))

    def output(self, name: str, array: NDArray[np.generic]) -> None:
        self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))

    def run(self) -> None:
        self._session.run_with_iobinding(self._binding)
