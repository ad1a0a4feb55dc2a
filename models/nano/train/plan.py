"""All stages in order: data, training from nothing, and the checkpoint."""

from __future__ import annotations

import json
import subprocess
import sys

from .marathon import StageOptions

PLAN: tuple[tuple[str, float], ...] = (
    ("sounds", 0),
    ("voices", 0),
    ("codec", 0),
    ("encoder", 12),
    ("vision", 4),
    ("text", 8),
    ("joint", 120),
    ("vocoder", 30),
    ("flow", 35),
    ("own-voice", 0),
    ("joint", 60),
    ("vocoder", 15),
    ("talker", 75),
    ("state", 0),
)
"""Stage and minutes of one core; what makes data or writes files ends by itself."""
DONE = "plan.json"


def run(options: StageOptions) -> None:
    """Run what is not done yet; each stage in a process of its own.

    Raises:
        SystemExit: the work folder holds an earlier training and `resume` was not asked for, or a stage failed.
    """
    options.folder.mkdir(parents=True, exist_ok=True)
    place = options.folder / DONE
    if not options.resume and any(options.folder.iterdir()):
        raise SystemExit(f"{options.folder} is not empty; give --resume to go on with it, or empty it")
    done = json.loads(place.read_text()) if place.exists() else 0
    for index, (stage, minutes) in list(enumerate(PLAN))[done:]:
        print(f"[{index + 1}/{len(PLAN)}] {stage}", flush=True)
        command = [sys.executable, "-m", "omni_edge.models.nano.train", stage, "--resume"]
        command += ["--minutes", str(minutes), "--seed", str(options.seed), "--ring", str(options.ring)]
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"{stage} failed; mend it and go on with: all --resume")
        place.write_text(json.dumps(index + 1))
