"""What the repository keeps of a training that is not done: half-precision weights from which the next sitting goes on.

The optimiser's momenta are left out; they come back within a hundred steps.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .marathon import StageOptions

FOLDER = Path(__file__).parents[1] / "state"
FILE = FOLDER / "thinker.safetensors"
NEWEST_FIRST = ("joint", "text")


def run(options: StageOptions) -> None:
    """Write the newest learner of the work folder into the repository."""
    stage = next(name for name in NEWEST_FIRST if (options.folder / f"{name}.pt").exists())
    saved = torch.load(options.folder / f"{stage}.pt", weights_only=True)
    FOLDER.mkdir(exist_ok=True)
    parts = saved["learner"].items()
    flat = {f"{part}.{name}": value.half().contiguous() for part, values in parts for name, value in values.items()}
    beside = FILE.with_suffix(".part")
    save_file(flat, beside)
    beside.rename(FILE)
    FILE.chmod(0o644)
    about = {
        "stage": stage,
        "step": saved["step"],
        "cpu_seconds": round(saved["cpu"]),
        "seed": options.seed,
        "ring": options.ring,
        "metrics": _last_metrics(options.folder / f"{stage}.jsonl"),
    }
    (FOLDER / "thinker.json").write_text(json.dumps(about, indent=2) + "\n")


def read_state() -> dict[str, Any]:
    """The repository's weights as `Learner.load_state_dict` takes them."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in load_file(FILE).items():
        part, rest = name.split(".", 1)
        parts.setdefault(part, {})[rest] = value.float()
    return parts


def _last_metrics(path: Path) -> dict[str, Any]:
    """The newest line with measurements on held-out items."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return next((line for line in reversed(lines) if "wer_seen" in line), {})
