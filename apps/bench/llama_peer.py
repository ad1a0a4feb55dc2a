"""llama.cpp by itself, as a program for `Child`: its defaults, token ids in, logits of the last row out."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from ...models.llama import core_count, llama_library

ROWS = 512
"""Of a batch, llama.cpp's default."""


class Raw:
    """A GGUF file and a context on it.

    Args:
        path: the file.
        rows: the context's.
        threads: of one operator; 0 is one a core.
    """

    def __init__(self, path: str, rows: int, threads: int) -> None:
        self._library: Any = llama_library("be measured against")
        model = self._library.llama_model_default_params()
        model.n_gpu_layers = 0
        self._model = self._library.llama_model_load_from_file(os.fsencode(path), model)
        context = self._library.llama_context_default_params()
        context.n_ctx = rows
        context.n_batch = context.n_ubatch = ROWS
        context.n_threads = context.n_threads_batch = threads or core_count()
        self._context = self._library.llama_init_from_model(self._model, context)
        if not self._context:
            raise SystemExit(f"llama.cpp makes no context for {path}")
        vocabulary = self._library.llama_model_get_vocab(self._model)
        self._vocab: int = self._library.llama_vocab_n_tokens(vocabulary)

    def clear(self) -> None:
        """Forget everything."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)

    def read(self, count: int) -> None:
        """Read so many ids at once."""
        for start in range(0, count, ROWS):
            ids = [(7 * index) % self._vocab for index in range(start, min(start + ROWS, count))]
            tokens = (self._library.llama_token * len(ids))(*ids)
            if self._library.llama_decode(self._context, self._library.llama_batch_get_one(tokens, len(ids))):
                raise SystemExit("llama.cpp refused a batch")
        # Its results are there when they are asked for.
        ctypes.cast(self._library.llama_get_logits_ith(self._context, -1), ctypes.POINTER(ctypes.c_float))[0]


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _steps(raw: Raw, context: int, steps: int) -> float:
    """Rows a second, one by one."""
    raw.clear()
    raw.read(context)
    return steps / _seconds(lambda: [raw.read(1) for _ in range(steps)])


def main() -> None:
    """Answer questions until there are none."""
    setup = json.loads(sys.stdin.readline())
    prefill, context, steps = setup["prefill"], setup["context"], setup["steps"]
    rows = max(prefill, context + steps)
    thinker = Raw(setup["thinker"], rows, setup["threads"])
    talker = Raw(setup["talker"], context + steps, setup["threads"])
    print("{}", flush=True)
    for _ in sys.stdin:
        thinker.clear()
        answer = {
            "thinker_prefill": prefill / _seconds(lambda: thinker.read(prefill)),
            "thinker_decode": _steps(thinker, context, steps),
            "talker": _steps(talker, context, steps),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
