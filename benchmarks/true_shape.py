"""What a checkpoint of true shape costs: `python benchmarks/true_shape.py NAME --like CONFIG --files DIR --work DIR`.

Writes a synthetic checkpoint, exports it at the given precision, loads it and lets it answer a short text with speech,
at the default schedule of the flow and at the cheapest; each is a process of its own whose time and largest resident
memory are noted, under NAME in true_shape.json. A checkpoint or bundle that is there already is not made again, and
what was noted of it stays. Speech of noise is noise; only its cost means anything.
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
from functools import partial
from pathlib import Path

import psutil

POLL_SECONDS = 0.1
LOAD = "import sys; from omni_edge.runtime.loading import load; load(sys.argv[1])"
RESULTS = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Cost:
    """Of a process: wall time, largest resident memory, and the part of it that no file stands behind.

    The former is what the system counted, the latter the largest that was seen, ten times a second.
    """

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
    watched, anonymous = psutil.Process(process.pid), 0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        memory = watched.memory_info()
        anonymous = max(anonymous, memory.rss - memory.shared)
        time.sleep(POLL_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    resident = usage.ru_maxrss * 1024
    return Cost(round(time.monotonic() - start, 1), round(resident / 1e9, 2), round(anonymous / 1e9, 2))


def main() -> None:
    """Read the command line, measure, and note it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the shape, in the file of results")
    parser.add_argument("--like", type=Path, required=True, help="config.json of the shape, or its folder")
    parser.add_argument("--files", type=Path, help="folder of tokenizer, templates and voices")
    parser.add_argument("--work", type=Path, required=True, help="where checkpoint and bundle go")
    parser.add_argument("--precision", default="int4")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--codes", type=int, default=150)
    given = parser.parse_args()
    python, checkpoint, bundle = sys.executable, given.work / "checkpoint", given.work / given.precision
    note = partial(_note, given.name)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 1e9:.0f} GB"
    note(precision=given.precision, machine=machine)
    if not (checkpoint / "model.safetensors.index.json").exists():
        files = ["--files", str(given.files)] if given.files else []
        like = ["--like", str(given.like)]
        measure(python, "-m", "omni_edge.export.synthetic", *like, *files, str(checkpoint))
    omni_edge = (python, "-m", "omni_edge.apps.cli")
    if not (bundle / "manifest.json").exists():
        export = (*omni_edge, "export", str(checkpoint), str(bundle), "--precision", given.precision)
        note(export=asdict(measure(*export)))
    note(bundle_gb=round(sum(path.stat().st_size for path in bundle.iterdir()) / 1e9, 2))
    measure(python, "-c", LOAD, str(bundle))  # into the page cache
    note(load=asdict(measure(python, "-c", LOAD, str(bundle))))
    ask = ("--text", "Hello", "--max-tokens", str(given.tokens), "--max-codes", str(given.codes), "--seed", "1")
    run = (*omni_edge, "run", "--model", str(bundle), *ask, "--out", str(given.work / "reply.wav"))
    note(run=asdict(measure(*run)))


def _note(name: str, **found: object) -> None:
    """Keep what was found, so that a measurement that is broken off is not lost."""
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    known[name] = known.get(name, {}) | found
    RESULTS.write_text(json.dumps(known, indent=2) + "\n")


if __name__ == "__main__":
    main()
