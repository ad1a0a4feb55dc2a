"""The solver around the flow's graph, and the noise it starts from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.errors import RequestError
from omni_edge.models.manifest import SolverName
from omni_edge.models.schedule import time_points
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver

CODES = np.array([3, 50, 0, 7, 12], np.int64)
ONE = Solver("euler", 2, 0.0)


class Counting:
    """A session that keeps what it was asked."""

    def __init__(self, inner):
        self.inner = inner
        self.feeds: list[dict[str, np.ndarray]] = []

    def run(self, outputs, feeds):
        self.feeds.append(feeds)
        return self.inner.run(outputs, feeds)


@pytest.fixture(scope="module")
def graph(bundle):
    return open_session(bundle, "flow", 1)


@pytest.fixture
def counting(graph):
    return Counting(graph)


@pytest.fixture
def flow(bundle, counting):
    manifest = bundle.manifest
    return Flow(counting, manifest.flow, bundle.path(manifest.flow.tables))


def noise() -> Noise:
    return Noise(4, 80)


START = noise().frames(0, 10)


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 1100)), min_size=1, max_size=8))
def test_noise_is_addressed_by_absolute_frame(asked):
    whole = Noise(9, 5).frames(0, 3200)
    source = Noise(9, 5)
    for start, length in asked:
        assert (source.frames(start, start + length) == whole[start : start + length]).all()


def test_noise_hangs_on_its_seed_alone():
    assert (Noise(1, 80).frames(3, 9) == Noise(1, 80).frames(0, 9)[3:]).all()
    assert not (Noise(1, 80).frames(0, 2) == Noise(2, 80).frames(0, 2)).any()
    assert abs(Noise(1, 80).frames(0, 500).std() - 1) < 0.02


def test_euler_with_two_points_is_one_evaluation(flow, counting):
    mel = flow.mel(CODES, "Chelsie", noise(), ONE)
    assert len(counting.feeds) == 1
    velocity = counting.inner.run(None, counting.feeds[0])[0][0]
    assert mel.shape == (10, 80)
    assert np.abs(mel - (START + velocity[:10])).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "steps", "evaluations"), [("euler", 4, 3), ("midpoint", 3, 4), ("rk4", 3, 8), ("rk4", 10, 36)]
)
def test_how_often_the_graph_runs(name, steps, evaluations, flow, counting):
    flow.mel(CODES, "Ethan", noise(), Solver(name, steps, 0.5))
    assert len(counting.feeds) == evaluations
    assert all(len(feeds["codes"]) == 2 for feeds in counting.feeds)  # with guidance two branches, one run


def test_euler_takes_the_velocity_at_each_start(flow, counting):
    mel = flow.mel(CODES, "Chelsie", noise(), Solver("euler", 3, 0.0))
    points = time_points(3, -1.0)
    state = noise().frames(0, 24)
    for feeds, start, end in zip(counting.feeds, points, points[1:], strict=False):
        assert np.abs(feeds["noisy"] - state).max() < 1e-5
        state = state + counting.inner.run(None, feeds)[0][0] * np.float32(end - start)
    assert np.abs(mel - state[:10]).max() < 1e-5


def test_codes_outside_the_table_are_0(flow, bundle):
    outside = np.array([3, bundle.manifest.flow.codes, -1, 10**6, 12])
    expected = flow.mel(np.array([3, 0, 0, 0, 12]), "Chelsie", noise(), ONE)
    assert (flow.mel(outside, "Chelsie", noise(), ONE) == expected).all()
    last = np.array([3, bundle.manifest.flow.codes - 1, 0, 0, 12])
    assert not (flow.mel(last, "Chelsie", noise(), ONE) == expected).all()


def test_without_guidance_only_the_condition_counts(flow, counting):
    """Guidance is linear in its strength, and 0 is the conditional branch alone."""
    none, half, full = (flow.mel(CODES, "Chelsie", noise(), Solver("euler", 2, g)) for g in (0.0, 0.5, 1.0))
    assert len(counting.feeds[0]["codes"]) == 1
    assert np.abs(none + (full - none) / 2 - half).max() < 1e-4
    assert np.abs(full - none).max() > 1e-3
    conditional, unconditional = counting.inner.run(None, counting.feeds[1])[0][:, :10]
    assert np.abs(none - (START + conditional)).max() < 1e-4
    assert np.abs(full - (START + 2 * conditional - unconditional)).max() < 1e-4


def branches(counting) -> list[int]:
    return [len(feeds["codes"]) for feeds in counting.feeds]


@pytest.mark.parametrize(
    ("name", "until", "expected"),
    [
        ("euler", 0.1, [2, 2, 1, 1]),
        ("midpoint", 0.1, [2] * 4 + [1] * 4),
        ("euler", 0.0, [1] * 4),
        ("euler", 1, [2] * 4),
    ],
)
def test_guidance_ends_with_the_interval_that_its_time_lies_in(name: SolverName, until, expected, flow, counting):
    flow.mel(CODES, "Chelsie", noise(), Solver(name, 5, 0.5, guided_until=until))
    assert branches(counting) == expected


def test_guidance_until_the_end_is_guidance_and_until_the_start_none(flow):
    def mel(guidance, until):
        return flow.mel(CODES, "Chelsie", noise(), Solver("euler", 4, guidance, guided_until=until))

    assert (mel(0.5, 1.0) == flow.mel(CODES, "Chelsie", noise(), Solver("euler", 4, 0.5))).all()
    assert (mel(0.5, 0.0) == mel(0.0, 1.0)).all()
    early = mel(0.5, 0.1)
    assert min(np.abs(early - mel(0.5, 1.0)).max(), np.abs(early - mel(0.0, 1.0)).max()) > 1e-3


def test_voices_differ(flow):
    chelsie, ethan = (flow.mel(CODES, voice, noise(), ONE) for voice in ("Chelsie", "Ethan"))
    assert np.abs(chelsie - ethan).max() > 1e-3


@pytest.mark.parametrize("name", ["euler", "midpoint", "rk4"])
def test_other_step_counts_are_refused_with_those_there_are(name: SolverName, flow, bundle):
    counts = bundle.manifest.flow.schedules[name]
    with pytest.raises(RequestError, match=f"{name} with {', '.join(map(str, counts))}"):
        flow.check(Solver(name, 99, 0.5))
    for count in counts:
        flow.check(Solver(name, count, 0.5))


def test_every_schedule_in_the_manifest_is_in_the_tables(flow, bundle):
    for name, counts in bundle.manifest.flow.schedules.items():
        for count in counts:
            assert np.isfinite(flow.mel(CODES[:1], "Chelsie", noise(), Solver(name, count, 0.0))).all()
