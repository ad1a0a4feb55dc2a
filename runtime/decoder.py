"""Autoregressive networks with a cache: the contract, and its ONNX Runtime engine (llama.py has the other)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.errors import RequestError
from ..models.manifest import Decoder as Shape

PREFILL_ROWS = 512
"""Rows of one run: bounds the memory of attention over long prompts."""
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
    """

    def __init__(self, session: ort.InferenceSession, shape: Shape) -> None:
        self._session = session
        self._shape = shape
        self._length = 0
        self._caches: list[NDArray[np.float32]] = []
        # Whoever binds an array must keep it alive.
        self._row = np.empty((1, 1, shape.rows), np.float32)
        self._place = np.empty((3, 1, 1), np.int64)
        self._last_index = np.zeros(1, np.int32)
        self._total = np.zeros((), np.int32)
        self._hidden = np.empty((1, 1, shape.hidden), np.float32)
        self._logits = np.empty((1, shape.vocab), np.float32)
        # One for steps, which stays as it is, and one whose rows are bound anew for each run.
        self._step, self._many = session.io_binding(), session.io_binding()
        for binding in (self._step, self._many):
            _bind_input(binding, "last_index", self._last_index)
            _bind_input(binding, "total", self._total)
            _bind_output(binding, "logits", self._logits)
        _bind_input(self._step, "rows", self._row)
        _bind_input(self._step, "positions", self._place)
        _bind_output(self._step, "hidden", self._hidden)
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
        for start in range(0, len(rows), PREFILL_ROWS):
            part = slice(start, start + PREFILL_ROWS)
            self._run(rows[part], positions[:, part], hidden[part])
        return hidden, self._logits[0].copy()

    def truncate(self, length: int) -> None:
        """See `Decoder.truncate`."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot truncate a cache of {self._length} rows to {length}")
        self._length = length

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`: any."""
        return True

    def _run(self, rows: NDArray[np.float32], positions: NDArray[np.int64], hidden: NDArray[np.float32]) -> None:
        """Read rows in one run, and write their hidden states [S, hidden] and the last one's logits."""
        total = self._length + len(rows)
        self._last_index[0], self._total[...] = total - 1, total
        if len(rows) == 1:
            self._row[0], self._place[:, 0] = rows, positions
            self._session.run_with_iobinding(self._step)
            hidden[:] = self._hidden[0]
        else:
            given = np.ascontiguousarray(rows[None], np.float32), np.ascontiguousarray(positions[:, None], np.int64)
            _bind_input(self._many, "rows", given[0])
            _bind_input(self._many, "positions", given[1])
            _bind_output(self._many, "hidden", hidden[None])
            self._session.run_with_iobinding(self._many)
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
            for binding in (self._step, self._many):
                _bind_input(binding, f"past_{kind}", buffer)
                _bind_output(binding, f"present_{kind}", buffer)


def _bind_input(binding: ort.IOBinding, name: str, buffer: NDArray[np.generic]) -> None:
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(buffer))


def _bind_output(binding: ort.IOBinding, name: str, buffer: NDArray[np.generic]) -> None:
    binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(buffer))
