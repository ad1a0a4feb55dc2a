"""The solver's times are those of the reference (FACTS §6.2)."""

import itertools

import pytest

from omni_edge.models.schedule import solver_times, time_points

TEN = (0, 0.01519, 0.06031, 0.13397, 0.23396, 0.35721, 0.5, 0.65798, 0.82635, 1)


def test_ten_points():
    assert time_points(10, -1.0) == pytest.approx(TEN, abs=5e-6)


@pytest.mark.parametrize("sway", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("steps", [2, 3, 10, 33])
def test_points_rise_from_0_to_1(steps, sway):
    points = time_points(steps, sway)
    assert len(points) == steps
    assert points[0] == 0
    assert points[-1] == pytest.approx(1)
    assert all(a < b for a, b in itertools.pairwise(points))


def test_without_sway_they_are_even():
    assert time_points(5, 0.0) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_euler_evaluates_at_each_start():
    assert solver_times("euler", 10, -1.0) == pytest.approx(TEN[:-1], abs=5e-6)


def test_midpoint_evaluates_at_each_start_and_middle():
    times = solver_times("midpoint", 10, -1.0)
    assert times[::2] == pytest.approx(TEN[:-1], abs=5e-6)
    assert times[1::2] == pytest.approx([(a + b) / 2 for a, b in itertools.pairwise(TEN)], abs=5e-6)


def test_rk4_evaluates_36_times_at_28_different_times():
    times = solver_times("rk4", 10, -1.0)
    assert len(times) == 36
    assert len({round(time, 9) for time in times}) == 28
    start, third, two_thirds, end = times[:4]
    assert (third, two_thirds) == pytest.approx(((2 * start + end) / 3, (start + 2 * end) / 3))
