"""Thinker and talker on either engine against llama.cpp by itself: `python -m benchmarks.decoders CHECKPOINT WORK`.

All are made from the same weights by the exporter, into WORK and once. They are timed in turn: a prompt, then single
rows. Prints how many rows of a prompt and how many steps a second each reads, and how many times as many as llama.cpp
by itself (tokens in, its own defaults) with Q4_0; with --json as one object, which names the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from omni_edge.apps.bench.raw_llama import RawLlama
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.decoder import DecoderName
from omni_edge.export.gguf import write_gguf
from omni_edge.export.precisions import BY_NAME
from omni_edge.export.subnetworks import write_decoder, write_prompt_graph
from omni_edge.models.manifest import PROMPT
from omni_edge.models.manifest import Decoder as Shape
from omni_edge.runtime.decoder import Decoder, OnnxDecoder
from omni_edge.runtime.engine import session_of
from omni_edge.runtime.llama import LlamaDecoder

from .page import processor

PEER = "llama.cpp q4_0"
KINDS: dict[DecoderName, tuple[str, ...]] = {
    "thinker": ("q4_0", "int4-128", "int4-128+int8"),
    "talker": ("q4_0", "q8_0", "int4-mixed", "int4-128", "int8-128"),
}
Read = Callable[[int], None]


@dataclass(frozen=True)
class Speed:
    """Of one of them, and the ratios to the peer's."""

    prompt_rows_s: float
    steps_s: float
    prompt: float = 1.0
    steps: float = 1.0


def main() -> None:
    """Make what is missing, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", choices=list(KINDS), help="one of the two")
    parser.add_argument("--kinds", nargs="*", help="precisions, instead of the usual ones")
    parser.add_argument("--prompt", type=int, default=512, help="rows")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--cpu-time", action="store_true", help="of all threads, for machines that are busy otherwise")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    clock = time.process_time if given.cpu_time else time.perf_counter
    checkpoint = Checkpoint(given.checkpoint)
    results = {}
    for name in (given.only,) if given.only else KINDS:
        runs = _opened(
            checkpoint, name, given.work, given.kinds or KINDS[name], given.prompt, given.steps, given.threads
        )
        results[name] = _measured(runs, given.prompt, given.steps, given.rounds, clock)
    about = {"machine": processor(), "threads": given.threads, "prompt": given.prompt, "cpu_time": given.cpu_time}
    if given.json:
        speeds = {name: {key: asdict(value) for key, value in each.items()} for name, each in results.items()}
        print(json.dumps({**about, **speeds}, indent=1))
        return
    print(about)
    for name, speeds in results.items():
        for key, speed in speeds.items():
            print(
                f"{name:8} {key:22} prompt {speed.prompt_rows_s:8.1f} rows/s {speed.prompt:5.2f} x   "
                f"{speed.steps_s:7.1f} steps/s {speed.steps:5.2f} x"
            )


def _opened(
    checkpoint: Checkpoint, name: DecoderName, work: Path, kinds: list[str], prompt: int, steps: int, threads: int
) -> dict[str, tuple[Callable[[], None], Read]]:
    """For each: how to begin anew, and how to read rows."""
    config = getattr(checkpoint.config, name)
    shape = Shape(**{field: getattr(config, field) for field in Shape.__struct_fields__})
    runs: dict[str, tuple[Callable[[], None], Read]] = {}
    for kind in kinds:
        folder = work / f"{name}-{kind}"
        _make(checkpoint, name, kind, folder)
        if BY_NAME[kind].engine == "llama":
            raw = RawLlama(folder / f"{name}.gguf", 2048, prompt, threads)
            runs[f"llama.cpp {kind}"] = (raw.reset, raw.read)
            projection = folder / f"{name}.projection.npz"
            given = projection if projection.exists() else None
            runs[f"llama {kind}"] = _reading(LlamaDecoder(folder / f"{name}.gguf", shape, given, threads), shape)
        else:
            sessions = [session_of(folder / f"{name}.onnx", threads)]
            if (folder / f"{name}{PROMPT}").exists():
                sessions.append(session_of(folder / f"{name}{PROMPT}", threads, keep_in_file=True))
            runs[f"onnx {kind}"] = _reading(OnnxDecoder(sessions[0], shape, *sessions[1:]), shape)
    return runs


def _make(checkpoint: Checkpoint, name: DecoderName, kind: str, folder: Path) -> None:
    precision = BY_NAME[kind]
    if (folder / (f"{name}.gguf" if precision.engine == "llama" else f"{name}.onnx")).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if precision.engine == "llama":
        write_gguf(checkpoint, name, folder, kind, lambda _: None)
        return
    if precision.prompt:
        write_prompt_graph(name, checkpoint, folder, precision.prompt, lambda _: None)
    write_decoder(name, checkpoint, folder, precision.rounding, lambda _: None)


def _reading(decoder: Decoder, shape: Shape) -> tuple[Callable[[], None], Read]:
    rng = np.random.default_rng(0)

    def read(count: int) -> None:
        rows = rng.standard_normal((count, shape.rows), np.float32)
        places = np.broadcast_to(np.arange(decoder.length, decoder.length + count), (3, count)).copy()
        decoder.extend(rows, places)

    return lambda: decoder.truncate(0), read


def _measured(
    runs: dict[str, tuple[Callable[[], None], Read]], prompt: int, steps: int, rounds: int, clock: Callable[[], float]
) -> dict[str, Speed]:
    times: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(rounds + 1):
        for key, (reset, read) in runs.items():
            reset()
            start = clock()
            read(prompt)
            middle = clock()
            for _ in range(steps):
                read(1)
            if number:  # the first one warms up
                times[key].append((middle - start, (clock() - middle) / steps))
    medians = {key: tuple(map(median, zip(*values, strict=True))) for key, values in times.items()}
    peer = medians.get(PEER) or next(iter(medians.values()))
    return {
        key: Speed(prompt / whole, 1 / step, peer[0] / whole, peer[1] / step) for key, (whole, step) in medians.items()
    }


if __name__ == "__main__":
    main()
