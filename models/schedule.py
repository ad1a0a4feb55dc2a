"""Time points of the flow's ODE solver, for the exporter (which tabulates what depends on them) and the runtime."""

from __future__ import annotations

import itertools
import math

from .manifest import SolverName


def time_points(steps: int, sway: float) -> list[float]:
    """The solver's nodes: `steps` points from 0 to 1, denser near 0 for sway -1 (FACTS §6.2).

    t' = i/(steps-1); t = t' + sway·(cos(π t'/2) - 1 + t').
    """
    even = [index / (steps - 1) for index in range(steps)]
    return [t + sway * (math.cos(math.pi * t / 2) - 1 + t) for t in even]


def solver_times(solver: SolverName, steps: int, sway: float) -> list[float]:
    """Every time at which the velocity is evaluated, in order.

    Euler: each interval's start. Midpoint: start and middle. RK4 (3/8 rule): start, +1/3, +2/3, end of each interval.
    """
    points = time_points(steps, sway)
    times: list[float] = []
    for start, end in itertools.pairwise(points):
        width = end - start
        match solver:
            case "euler":
                times.append(start)
            case "midpoint":
                times += [start, start + width / 2]
            case "rk4":
                times += [start, start + width / 3, start + width * 2 / 3, end]
    return times
