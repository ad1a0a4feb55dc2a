"""Stages that stop and go on: saved state, metrics, progress bar and the schedule of the learning rate."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

SAVE_SECONDS = 180


def work_folder() -> Path:
    """Where data, states and metrics lie: $OMNI_EDGE_NANO_WORK or ~/.cache/omni-edge/nano."""
    given = os.environ.get("OMNI_EDGE_NANO_WORK")
    return Path(given) if given else Path.home() / ".cache" / "omni-edge" / "nano"


@dataclass(frozen=True)
class StageOptions:
    """How one sitting of a stage runs."""

    folder: Path
    minutes: float
    """Wall time of this sitting; the learning rate falls towards its end."""
    resume: bool
    seed: int = 0
    ring: int = 1


class Marathon:
    """One sitting of one stage."""

    def __init__(self, stage: str, options: StageOptions) -> None:
        self.options = options
        self.stage = stage
        self.step = 0
        self.cpu_before = 0.0
        self._began = self._saved = time.monotonic()
        self._cpu = time.process_time()
        options.folder.mkdir(parents=True, exist_ok=True)
        self.path = options.folder / f"{stage}.pt"
        self._bar = Progress(TextColumn(stage), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        self._task = self._bar.add_task(stage, total=1.0, note="")
        if os.isatty(1):
            self._bar.start()
        # Asked to end, a stage saves first; the minutes are then taken as over.
        self._asked_to_end = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, number: int, frame: object) -> None:
        self._asked_to_end = True

    @property
    def fraction(self) -> float:
        """How much of this sitting is over."""
        return (time.monotonic() - self._began) / (60 * self.options.minutes)

    @property
    def over(self) -> bool:
        """Whether to save and stop."""
        return self._asked_to_end or self.fraction >= 1

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all sittings."""
        return self.cpu_before + time.process_time() - self._cpu

    def rate(self, warm: int = 100, fall: float = 0.5) -> float:
        """Factor of the learning rate: a short rise, a plateau, a straight fall to a twentieth.

        Args:
            warm: steps of the rise.
            fall: share of this sitting over which it falls; 0 for a stage that another goes on from.
        """
        rise = min(1.0, (self.step + 1) / warm)
        return rise * (max(0.05, min(1.0, (1 - self.fraction) / fall)) if fall else 1.0)

    def log(self, **figures: float | str) -> None:
        """Add a line of metrics."""
        line = {"step": self.step, "cpu": round(self.cpu_seconds), "at": time.strftime("%H:%M:%S"), **figures}
        with (self.options.folder / f"{self.stage}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        note = " ".join(f"{key} {value:.3f}" for key, value in figures.items() if isinstance(value, float))
        self._bar.update(self._task, completed=min(1.0, self.fraction), note=f"{self.step} {note}")

    def save_if_due(self, state: dict[str, Any]) -> None:
        """Save every few minutes; the tensors in `state` are the live ones."""
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save(state)

    def save(self, state: dict[str, Any]) -> None:
        """Write the state beside the old one, then rename."""
        beside = self.path.with_suffix(".part")
        torch.save({"step": self.step, "cpu": self.cpu_seconds, **state}, beside)
        beside.rename(self.path)
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state when this sitting goes on from one."""
        if not (self.options.resume and self.path.exists()):
            return None
        state = torch.load(self.path, weights_only=True)
        self.step, self.cpu_before = state["step"], state["cpu"]
        return state

    def finish(self, state: dict[str, Any]) -> None:
        """Save and take the bar away."""
        self.save(state)
        self._bar.stop()
