"""What a checkpoint of true shape costs: `python benchmarks/true_shape.py --like CONFIG --files FOLDER --work FOLDER`.

Writes a synthetic checkpoint (once), exports it at the given precision, loads it and lets it answer a short text with
speech; each is a process of its own whose time and largest resident memory are noted. Prints one JSON object, which
also names the machine. Speech of noise is noise; only its cost means anything.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 0.2
LOAD = "import sys; from omni_edge.runtime.loading import load; load(sys.argv[1])"


@dataclass(frozen=True)
class Cost:
    """Of a process: wall time, largest resident memory, and the part of it that no file stands behind."""

    seconds: float
    peak_resident_gb: float
    peak_anonymous_gb: float


def measure(*command: str) -> Cost:
    """Run a command to its end.

    Raises:
        SystemExit: it failed.
    """
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=sys.stderr)
    watched = psutil.Process(process.pid)
    resident = anonymous = 0
    while process.poll() is None:
        try:
            memory = watched.memory_info()
        except psutil.Error:
            break
        resident = max(resident, memory.rss)
        anonymous = max(anonymous, memory.rss - getattr(memory, "shared", 0))
        time.sleep(POLL_SECONDS)
    if process.wait():
        sys.exit(f"failed: {' '.join(command)}")
    return Cost(round(time.monotonic() - start, 1), round(resident / 1e9, 2), round(anonymous / 1e9, 2))


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--like", type=Path, required=True, help="config.json of the shape, or its folder")
    parser.add_argument("--files", type=Path, help="folder of tokenizer, templates and voices")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoint and bundle go")
    parser.add_argument("--precision", default="int4")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--codes", type=int, default=150)
    given = parser.parse_args()
    python, checkpoint, bundle = sys.executable, given.work / "checkpoint", given.work / given.precision
    if not (checkpoint / "model.safetensors.index.json").exists():
        files = ["--files", str(given.files)] if given.files else []
        like = ["--like", str(given.like)]
        measure(python, "-m", "omni_edge.export.synthetic", *like, *files, str(checkpoint))
    omni_edge = (python, "-m", "omni_edge.apps.cli")
    costs = {"export": measure(*omni_edge, "export", str(checkpoint), str(bundle), "--precision", given.precision)}
    measure(python, "-c", LOAD, str(bundle))  # into the page cache
    costs["load"] = measure(python, "-c", LOAD, str(bundle))
    ask = ("--text", "Hello", "--max-tokens", str(given.tokens), "--max-codes", str(given.codes), "--seed", "1")
    costs["run"] = measure(*omni_edge, "run", "--model", str(bundle), *ask, "--out", str(given.work / "reply.wav"))
    result = {
        "precision": given.precision,
        "bundle_gb": round(sum(path.stat().st_size for path in bundle.iterdir()) / 1e9, 2),
        **{name: asdict(cost) for name, cost in costs.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
