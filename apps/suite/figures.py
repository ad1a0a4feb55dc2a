"""What a suite comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from ...models.errors import RequestError

Metric = Literal["accuracy", "wer", "seconds", "ratio"]
"""Share of exact answers; word errors over words; a median time; a share or a factor that the line's name explains."""
Tick = Callable[[], None]
"""Called after each item."""


@dataclass(frozen=True)
class Figure:
    """One line of a report."""

    metric: Metric
    value: float
    items: int


@dataclass(frozen=True)
class Line:
    """A line that is still to be measured; one measurement may fill several lines."""

    name: str
    items: int
    measure: Callable[[Tick], dict[str, Figure]]


def measured(line: Line, tick: Tick, notify: Callable[[str], None]) -> dict[str, Figure]:
    """A line's figures; none, and a sentence why, when an engine has limits that the line goes beyond.

    llama.cpp reads no clip together with its own sound, and no positions that are shuffled.
    """
    try:
        return line.measure(tick)
    except RequestError as error:
        notify(f"{line.name} is left out: {error}")
        return {}


def share(results: Iterable[bool]) -> Figure:
    """Accuracy of single results."""
    counted = list(results)
    return Figure("accuracy", sum(counted) / max(1, len(counted)), len(counted))


def shown(metric: Metric, value: float) -> str:
    """A value for people to read."""
    match metric:
        case "accuracy" | "wer":
            return f"{100 * value:.1f} %"
        case "seconds":
            return f"{value:.2f} s"
        case _:
            return f"{value:.2f}"
