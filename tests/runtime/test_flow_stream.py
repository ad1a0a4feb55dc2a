"""A mel solved chunk by chunk: where it equals the whole, how far the look-ahead is off, and what a chunk costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.engine import open_session
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver

CODES = np.random.default_rng(0).integers(0, 100, 150)
NOISE = Noise(4, 80)
VOICE = "Chelsie"


SOLVERS = (
    Solver("euler", 3, 0.0, lookahead=2),
    Solver("euler", 3, 0.5, lookahead=2),
    Solver("euler", 4, 0.5, lookahead=3, guided_until=0.1),
    Solver("midpoint", 2, 0.5, lookahead=2),
    Solver("midpoint", 3, 0.5, lookahead=4, guided_until=0.1),
)


class Counting:
    """A session that keeps the shapes of what it was asked."""

    def __init__(self, inner):
        self.inner = inner
        self.shapes: list[dict[str, tuple[int, ...]]] = []

    def run(self, outputs, feeds):
        self.shapes.append({name: value.shape for name, value in feeds.items()})
        return self.inner.run(outputs, feeds)


@pytest.fixture(scope="module")
def counting(bundle):
    return Counting(open_session(bundle, "flow", 1))


@pytest.fixture(scope="module")
def flow(bundle, counting):
    return Flow(counting, bundle.manifest.flow, bundle.path(bundle.manifest.flow.tables))


def streamed(stream, codes, sizes):
    """The mel of codes given in portions of the sizes, and the rest at the end."""
    parts, start = [], 0
    for size in sizes:
        parts.append(stream.step(codes[start : start + size], last=False))
        start += size
    return np.concatenate([*parts, stream.step(codes[start:], last=True)])


@settings(max_examples=15)
@given(st.integers(1, 150), st.lists(st.integers(0, 60), max_size=6), st.sampled_from(SOLVERS))
def test_with_as_much_look_ahead_as_evaluations_a_stream_is_the_whole(flow, count, sizes, solver):
    whole = flow.mel(CODES[:count], VOICE, NOISE, solver)
    mel = streamed(flow.begin(VOICE, NOISE, solver), CODES[:count], sizes)
    assert mel.shape == whole.shape == (2 * count, 80)
    assert np.abs(mel - whole).max() < 1e-4


def test_the_whole_is_one_step(flow):
    solver = Solver("rk4", 3, 0.5)
    step = flow.begin(VOICE, NOISE, solver).step(CODES[:40], last=True)
    assert (flow.mel(CODES[:40], VOICE, NOISE, solver) == step).all()


def test_more_look_ahead_is_closer_to_the_whole(flow):
    errors = []
    for lookahead in (1, 2, 3, 4):
        solver = Solver("euler", 5, 0.0, lookahead)
        mel = streamed(flow.begin(VOICE, NOISE, solver), CODES, [12] * 11)
        errors.append(np.abs(mel - flow.mel(CODES, VOICE, NOISE, solver)).max())
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[0] < 0.5
    assert errors[3] < 1e-4  # as many blocks as evaluations


def test_mel_comes_as_soon_as_its_look_ahead_is_there(flow):
    stream = flow.begin(VOICE, NOISE, Solver("euler", 2, 0.0, lookahead=1))
    assert len(stream.step(CODES[:23], last=False)) == 0
    assert len(stream.step(CODES[23:24], last=False)) == 24
    assert len(stream.step(CODES[24:47], last=False)) == 24
    assert len(stream.step(CODES[47:72], last=False)) == 72
    assert len(stream.step(CODES[72:77], last=True)) == 2 * 77 - 120


def test_the_first_block_may_come_sooner(flow):
    solver = Solver("euler", 2, 0.0, lookahead=1, first_lookahead=4)
    stream = flow.begin(VOICE, NOISE, solver)
    assert len(stream.step(CODES[:15], last=False)) == 0
    first = stream.step(CODES[15:16], last=False)
    assert (len(first), len(stream.ahead)) == (24, 8)
    # What it has seen is all that it would have seen of an utterance that ends there.
    assert np.abs(np.concatenate([first, stream.ahead]) - flow.mel(CODES[:16], VOICE, NOISE, solver)).max() < 1e-5
    # From then on each block waits for the whole one behind it.
    assert len(stream.step(CODES[16:35], last=False)) == 0
    assert len(stream.step(CODES[35:36], last=False)) == 24
    rest = stream.step(CODES[36:90], last=True)
    assert len(first) + 24 + len(rest) == 180


def test_a_first_block_that_comes_sooner_does_not_if_it_need_not(flow):
    late, soon = (Solver("euler", 2, 0.0, first_lookahead=first) for first in (None, 4))
    sizes = [30, 24, 24]
    expected = streamed(flow.begin(VOICE, NOISE, late), CODES, sizes)
    assert (streamed(flow.begin(VOICE, NOISE, soon), CODES, sizes) == expected).all()


def test_a_stream_begun_anew_gives_the_same_again(flow):
    stream = flow.begin(VOICE, NOISE, Solver("euler", 3, 0.5))
    first = streamed(stream, CODES[:70], [30, 30])
    stream.reset()
    assert (streamed(stream, CODES[:70], [30, 30]) == first).all()


def test_a_chunk_costs_the_same_wherever_it_lies(flow, counting):
    stream = flow.begin(VOICE, NOISE, Solver("euler", 2, 0.0))
    stream.step(CODES[:24], last=False)
    counting.shapes.clear()
    for _ in range(30):
        stream.step(CODES[:12], last=False)
    assert len(counting.shapes) == 30
    assert all(shapes == counting.shapes[0] for shapes in counting.shapes)
    assert counting.shapes[0]["noisy"] == (48, 80)


class Periodic:
    """Noise that is the same in every block."""

    def frames(self, start, stop):
        return np.resize(NOISE.frames(0, 24), (stop - start, 80))


def test_what_a_chunk_gives_does_not_hang_on_where_it_lies(flow):
    """Positions count within blocks, so an utterance may be of any length."""
    stream = flow.begin(VOICE, Periodic(), Solver("euler", 3, 0.0))
    mels = [stream.step(CODES[:12], last=False) for _ in range(60)]
    assert np.abs(mels[8] - mels[59]).max() < 1e-5
    assert np.abs(mels[1] - mels[59]).max() > 1e-3  # the beginning is another matter
