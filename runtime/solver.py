"""How the flow's ODE is solved: from noise at time 0 to mel at time 1 (FACTS §6.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Flow, SolverName

NO_GUIDANCE = 1e-5
"""Below this the unconditional branch is not computed at all, as in the reference."""
LOOKAHEAD = 1
"""Blocks, unless asked for otherwise: the least there can be."""
FIRST_SHARE = 3
"""Unless asked for otherwise, the first block is solved with one part in so many of the block behind it, which is as
near to the whole utterance as with all of that (`python -m benchmarks.early`)."""
Velocity = Callable[[NDArray[np.float32], float], NDArray[np.float32]]
"""(state [F, bins], time) -> [F, bins]."""


@dataclass(frozen=True)
class Solver:
    """How the ODE is solved.

    Args:
        name: Euler takes 1 evaluation an interval, the midpoint rule 2, the 3/8 rule (rk4) 4.
        steps: time points: N points are N-1 intervals.
        guidance: strength; below NO_GUIDANCE there is none. An evaluation with it costs two without.
        lookahead: blocks of codes behind those whose mel is wanted that a chunk is solved with, 1 or more. As many as
            there are evaluations make a streamed mel that of the whole utterance.
        first_lookahead: codes behind the first block that it is solved with, for an early sound; None: `lookahead`.
        guided_until: time in 0..1; intervals that begin before it are guided, all of their evaluations, the later ones
            are not (arXiv 2404.07724).
    """

    name: SolverName
    steps: int
    guidance: float
    lookahead: int = LOOKAHEAD
    first_lookahead: int | None = None
    guided_until: float = 1.0

    def is_guided(self, start: float) -> bool:
        """Whether an interval that begins at a time is."""
        return self.guidance >= NO_GUIDANCE and start < self.guided_until


def own_solver(settings: Flow) -> Solver:
    """What a model is solved with unless asked for otherwise."""
    return Solver(settings.solver, settings.steps, settings.guidance, guided_until=settings.guided_until)


def advance(
    name: SolverName, velocity: Velocity, state: NDArray[np.float32], start: float, end: float
) -> NDArray[np.float32]:
    """What one interval adds to the state."""
    width = end - start
    h = np.float32(width)
    k1 = velocity(state, start)
    if name == "euler":
        return k1 * h
    if name == "midpoint":
        return velocity(state + k1 * (h / 2), start + width / 2) * h
    # The 3/8 rule.
    k2 = velocity(state + h * k1 / 3, start + width / 3)
    k3 = velocity(state + h * (k2 - k1 / 3), start + width * 2 / 3)
    k4 = velocity(state + h * (k1 - k2 + k3), end)
    return (k1 + 3 * (k2 + k3) + k4) * (h / 8)
