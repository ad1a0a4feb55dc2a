"""Times of things that do the same, taken in turn, so that a busy moment hits them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def medians(
    runs: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Median seconds of each on a clock; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if number:
                times[name].append(clock() - start)
    return {name: median(values) for name, values in times.items()}


def table(times: Mapping[str, float], against: str, per: float = 1.0) -> str:
    """Milliseconds, and how many times as fast as one of them.

    Args:
        times: seconds by name.
        against: a name.
        per: seconds of sound that a run makes; then the real-time factor is shown too.
    """
    width = max(map(len, times))
    return "\n".join(
        f"{name:{width}}  {1000 * seconds:9.1f} ms  {times[against] / seconds:6.2f} x  RTF {seconds / per:.2f}"
        for name, seconds in times.items()
    )
