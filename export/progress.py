"""How far an export is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far an export is: what is being done, and how much of the work is done, 0 to 1."""

    step: str
    number: int
    """Of the step, from 1; one more than `steps` at the end."""
    steps: int
    share: float
    part: float = 0.0
    """How much of this step is done, 0 to 1."""


class Steps:
    """Tells of progress; steps are weighed by the work they are."""

    def __init__(self, on_progress: Callable[[Progress], None], works: dict[str, float]) -> None:
        self._on_progress = on_progress
        self._names: Sequence[str] = list(works)
        self._works = list(works.values())
        self._now = 0

    def begin(self, step: str) -> None:
        """Go on to a step."""
        self._now = self._names.index(step)
        self.tick(0.0)

    def tick(self, part: float) -> None:
        """So much of the step is done, 0 to 1."""
        done = sum(self._works[: self._now]) + part * self._works[self._now]
        share = done / sum(self._works)
        self._on_progress(Progress(self._names[self._now], self._now + 1, len(self._names), share, part))

    def end(self) -> None:
        """All is done."""
        self._on_progress(Progress("done", len(self._names) + 1, len(self._names), 1.0))


def by_step(write: Callable[[str], object]) -> Callable[[Progress], None]:
    """A callback that writes one line a step, for where there is no terminal."""
    last = 0

    def show(progress: Progress) -> None:
        nonlocal last
        if last < progress.number <= progress.steps:
            last = progress.number
            write(f"[{progress.number}/{progress.steps}] {progress.step}")

    return show
