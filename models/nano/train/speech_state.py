"""What the repository keeps of the speech side's training: averages in half precision, for the next sitting.

`speech-state` writes them, `speech-restore` makes work states of them from which `--resume` goes on.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .marathon import StageOptions

FOLDER = Path(__file__).parents[1] / "state"
STAGES = ("vocoder", "flow", "talker")


def write(options: StageOptions) -> None:
    """Write the codec and the stages that have begun into the repository, and speech.json about them."""
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(options.folder / "codec.safetensors", FOLDER / "codec.safetensors")
    about: dict[str, Any] = {}
    for stage in STAGES:
        path = options.folder / f"{stage}.pt"
        if not path.exists():
            continue
        saved = torch.load(path, weights_only=True)
        beside = FOLDER / f"{stage}.part"
        save_file({name: value.half().contiguous() for name, value in saved["average"].items()}, beside)
        beside.chmod(0o644)
        beside.rename(FOLDER / f"{stage}.safetensors")
        about[stage] = {
            "step": saved["step"],
            "cpu_seconds": round(saved["cpu"]),
            "seed": options.seed,
            "held_out": held_out_figures(options.folder / f"{stage}.jsonl"),
        }
    (FOLDER / "speech.json").write_text(json.dumps(about, indent=2) + "\n")


def read(options: StageOptions) -> None:
    """Make work states of the repository's weights, for `--resume`; the optimiser's momenta begin anew."""
    options.folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FOLDER / "codec.safetensors", options.folder / "codec.safetensors")
    about = json.loads((FOLDER / "speech.json").read_text())
    for stage, facts in about.items():
        weights = {name: value.float() for name, value in load_file(FOLDER / f"{stage}.safetensors").items()}
        state = {"step": facts["step"], "cpu": facts["cpu_seconds"], "model": weights, "average": weights}
        torch.save(state, options.folder / f"{stage}.pt")


def held_out_figures(path: Path) -> dict[str, Any]:
    """The newest line of figures on held-out sentences; those lines carry no gradient norm."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return next((line for line in reversed(lines) if "norm" not in line), {})
