"""llama.cpp by itself, as a program for `Child`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .raw_llama import RawLlama

BATCH = 512
"""Rows of a batch, llama.cpp's default."""


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _steps(raw: RawLlama, context: int, steps: int) -> float:
    """Rows a second, one by one."""
    raw.reset()
    raw.read(context)
    return steps / _seconds(lambda: [raw.read(1) for _ in range(steps)])


def main() -> None:
    """Answer questions until there are none."""
    setup = json.loads(sys.stdin.readline())
    prefill, context, steps = setup["prefill"], setup["context"], setup["steps"]
    rows = max(prefill, context + steps)
    thinker = RawLlama(Path(setup["thinker"]), rows, BATCH, setup["threads"])
    talker = RawLlama(Path(setup["talker"]), context + steps, BATCH, setup["threads"])
    print("{}", flush=True)
    for _ in sys.stdin:
        thinker.reset()
        answer = {
            "thinker_prefill": prefill / _seconds(lambda: thinker.read(prefill)),
            "thinker_decode": _steps(thinker, context, steps),
            "talker": _steps(talker, context, steps),
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
