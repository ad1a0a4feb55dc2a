"""The rules of integration against an equation whose solution is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from omni_edge.models.manifest import SolverName
from omni_edge.models.schedule import solver_times, time_points
from omni_edge.runtime.solver import Solver, advance

SWAY = -1.0


def solve(name: SolverName, steps: int) -> tuple[float, list[float]]:
    """x' = x + t from x(0) = 1 to t = 1, and the times at which the right side was asked for."""
    times: list[float] = []

    def velocity(state, time):
        times.append(time)
        return state + np.float32(time)

    state = np.ones((1, 1), np.float32)
    for start, end in itertools.pairwise(time_points(steps, SWAY)):
        state = state + advance(name, velocity, state, start, end)
    return float(state[0, 0]), times


SOLUTION = 2 * math.e - 2


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_the_error_falls_with_the_order_of_the_rule(name: SolverName, order):
    # rk4 with more points is exact to a float's last bits, in which no order shows.
    few, many = (5, 9) if name == "rk4" else (17, 33)
    errors = [abs(solve(name, steps)[0] - SOLUTION) for steps in (few, many)]
    ratio = errors[0] / max(errors[1], 1e-12)
    assert 0.6 * 2**order < ratio < 1.7 * 2**order


@pytest.mark.parametrize("name", ["euler", "midpoint", "rk4"])
def test_it_evaluates_where_the_tables_are_made_for(name: SolverName):
    assert solve(name, 6)[1] == pytest.approx(solver_times(name, 6, SWAY))


def test_a_solver_is_guided_where_it_has_strength_and_time():
    assert Solver("euler", 5, 0.5).is_guided(0.99)
    assert not Solver("euler", 5, 0.0).is_guided(0.0)
    early = Solver("euler", 5, 0.5, guided_until=0.3)
    assert early.is_guided(0.29)
    assert not early.is_guided(0.3)
