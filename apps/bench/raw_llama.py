"""llama.cpp as it is used elsewhere: tokens in, logits of the last one out, its own defaults."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ...models.llama import LlamaGraph, core_count


class RawLlama:
    """A model and a context of llama.cpp.

    Args:
        path: a GGUF file.
        rows: that the cache holds.
        batch: most tokens of one call.
        threads: of one operator; 0 is one a core.
    """

    def __init__(self, path: Path, rows: int, batch: int, threads: int) -> None:
        self._graph = LlamaGraph(path)
        self._library: Any = self._graph.library
        parameters = self._library.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_ubatch = rows, batch, batch
        parameters.n_threads = parameters.n_threads_batch = threads or core_count()
        self._handle = self._library.llama_init_from_model(self._graph.handle, parameters)
        self._memory = self._library.llama_get_memory(self._handle)
        self._batch = batch

    def reset(self) -> None:
        """Forget everything."""
        self._library.llama_memory_clear(self._memory, True)

    def read(self, count: int) -> None:
        """Read tokens; which ones makes no difference to the time."""
        for start in range(0, count, self._batch):
            size = min(self._batch, count - start)
            tokens = (ctypes.c_int32 * size)(*(1 + index % 64 for index in range(size)))
            if self._library.llama_decode(self._handle, self._library.llama_batch_get_one(tokens, size)):
                raise SystemExit("llama.cpp refused a batch")
            self._library.llama_get_logits_ith(self._handle, -1)

    def close(self) -> None:
        """Free both."""
        self._library.llama_free(self._handle)
        self._graph.close()
