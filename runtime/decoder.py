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

    Args:
        session: of a graph made by the exporter.
        shape: from the manifest.
    """

    def __init__(self, session: ort.InferenceSession, shape: Shape) -> None:
        self._session = session
        self._shape = shape
        self._binding = session.io_binding()
        self._length = 0
        self._caches: list[NDArray[np.float32]] = []
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
        cuts = range(0, len(rows), PREFILL_ROWS)
        results = [self._run(rows[n : n + PREFILL_ROWS], positions[:, n : n + PREFILL_ROWS]) for n in cuts]
        hidden = results[0][0] if len(results) == 1 else np.concatenate([part for part, _ in results])
        return hidden, results[-1][1]

    def truncate(self, length: int) -> None:
        """See `Decoder.truncate`."""
        if not 0 <= length <= self._length:
            raise ValueError(f"cannot truncate a cache of {self._length} rows to {length}")
        self._length = length

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`: any."""
        return True

    def _run(
        self, rows: NDArray[np.float32], positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        binding = self._binding
        total = self._length + len(rows)
        # Whoever binds must keep the arrays alive until the run is over.
        inputs = {
            "rows": np.ascontiguousarray(rows[None], np.float32),
            "positions": np.ascontiguousarray(positions[:, None], np.int64),
            "last_index": np.array([total - 1], np.int32),
            "total": np.array(total, np.int32),
        }
        for name, value in inputs.items():
            binding.bind_cpu_input(name, value)
        binding.bind_output("hidden")
        binding.bind_output("logits")
        self._session.run_with_iobinding(binding)
        self._length = total
        outputs = dict(zip(self._outputs, binding.get_outputs(), strict=True))
        return outputs["hidden"].numpy()[0], outputs["logits"].numpy()[0]

    def _allocate(self, capacity: int) -> None:
        """Bind buffers of this many rows, with what is cached copied over."""
        shape = self._shape
        old, self._caches = self._caches, []
        self._capacity = capacity
        self._binding.clear_binding_inputs()
        self._binding.clear_binding_outputs()
        self._outputs: list[str] = []
        for index in range(2 * shape.layers):
            buffer = np.zeros((1, shape.kv_heads, capacity, shape.head_dim), np.float32)
            if old:
                buffer[:, :, : self._length] = old[index][:, :, : self._length]
                old[index] = buffer[:0]  # lets go of the old buffer before the next one is made
            self._caches.append(buffer)
            kind = f"{('key', 'value')[index % 2]}.{index // 2}"
            # One buffer as past and present: the attention operator then appends in place.
            value = ort.OrtValue.ortvalue_from_numpy(buffer)
            self._binding.bind_ortvalue_input(f"past_{kind}", value)
            self._binding.bind_ortvalue_output(f"present_{kind}", value)
            self._outputs.append(f"present_{kind}")
        self._outputs += ["hidden", "logits"]
