"""The cache: however a sequence is fed, cut back and fed again, the rows come out the same."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import Bundle
from omni_edge.models.errors import RequestError
from omni_edge.runtime import decoder as module
from omni_edge.runtime.decoder import OnnxDecoder
from omni_edge.runtime.engine import open_session

NETWORKS = ("thinker", "talker")
LENGTH = 24
TOLERANCE = 1e-4
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
cuts = st.lists(st.integers(1, LENGTH - 1), max_size=6, unique=True).map(sorted)


class Networks:
    """Both decoders of a bundle; a session may be shared by any number of caches."""

    def __init__(self, bundle: Bundle) -> None:
        self.shapes = {name: getattr(bundle.manifest, name) for name in NETWORKS}
        self.sessions = {name: open_session(bundle, name, 1) for name in NETWORKS}

    def new(self, name: str, **shape: int) -> OnnxDecoder:
        return OnnxDecoder(self.sessions[name], msgspec.structs.replace(self.shapes[name], **shape))

    def sequence(self, name: str, seed: int = 0, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
        """Rows, and positions that differ on the three axes."""
        rng = np.random.default_rng(seed)
        rows = rng.standard_normal((length, self.shapes[name].rows), np.float32)
        return rows, np.cumsum(rng.integers(0, 3, (3, length)), axis=1)


@pytest.fixture(scope="module")
def networks(bundle: Bundle) -> Networks:
    return Networks(bundle)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_at_a_time_equals_all_at_once(name, networks):
    rows, positions = networks.sequence(name)
    whole, last = networks.new(name).extend(rows, positions)
    stepwise = networks.new(name)
    parts = [stepwise.extend(rows[i : i + 1], positions[:, i : i + 1]) for i in range(LENGTH)]
    assert np.abs(np.concatenate([hidden for hidden, _ in parts]) - whole).max() < TOLERANCE
    assert np.abs(parts[-1][1] - last).max() < TOLERANCE
    assert stepwise.length == LENGTH
    assert whole.shape == (LENGTH, networks.shapes[name].hidden)
    assert last.shape == (networks.shapes[name].vocab,)


@few
@given(cuts, st.sampled_from(NETWORKS))
def test_any_cut_equals_the_whole(networks, cut, name):
    rows, positions = networks.sequence(name)
    whole, last = networks.new(name).extend(rows, positions)
    pieces = networks.new(name)
    edges = [0, *cut, LENGTH]
    parts = [pieces.extend(rows[a:b], positions[:, a:b]) for a, b in itertools.pairwise(edges)]
    assert np.abs(np.concatenate([hidden for hidden, _ in parts]) - whole).max() < TOLERANCE
    assert np.abs(parts[-1][1] - last).max() < TOLERANCE


@few
@given(st.integers(0, LENGTH), st.integers(1, 9), st.sampled_from(NETWORKS))
def test_going_back_is_never_having_been_there(networks, kept, more, name):
    rows, positions = networks.sequence(name)
    other, elsewhere = networks.sequence(name, seed=1, length=more)
    straight, turned = networks.new(name), networks.new(name)
    if kept:
        straight.extend(rows[:kept], positions[:, :kept])
    turned.extend(rows, positions)
    turned.truncate(kept)
    assert turned.length == kept
    expected = straight.extend(other, elsewhere)
    actual = turned.extend(other, elsewhere)
    for one, two in zip(actual, expected, strict=True):
        assert np.abs(one - two).max() < TOLERANCE


@few
@given(cuts, st.integers(1, 7), st.integers(1, 9))
def test_buffers_that_grow_and_long_prompts_in_parts(networks, cut, capacity, part):
    rows, positions = networks.sequence("thinker")
    whole, last = networks.new("thinker").extend(rows, positions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_CAPACITY", capacity)
        patch.setattr(module, "PREFILL_ROWS", part)
        growing = networks.new("thinker")
        edges = [0, *cut, LENGTH]
        parts = [growing.extend(rows[a:b], positions[:, a:b]) for a, b in itertools.pairwise(edges)]
    assert np.abs(np.concatenate([hidden for hidden, _ in parts]) - whole).max() < TOLERANCE
    assert np.abs(parts[-1][1] - last).max() < TOLERANCE


def test_the_context_may_be_filled_but_not_exceeded(networks):
    rows, positions = networks.sequence("thinker")
    decoder = networks.new("thinker", context=LENGTH)
    decoder.extend(rows[:-1], positions[:, :-1])
    with pytest.raises(RequestError, match=rf"{LENGTH + 1} positions.* {LENGTH}\."):
        decoder.extend(rows[:2], positions[:, :2])
    assert decoder.length == LENGTH - 1  # the refusal changed nothing
    _, last = decoder.extend(rows[-1:], positions[:, -1:])
    _, expected = networks.new("thinker").extend(rows, positions)
    assert np.abs(last - expected).max() < TOLERANCE


def test_forgetting_what_is_not_there_is_a_mistake_of_the_caller(networks):
    decoder = networks.new("talker")
    for length in (-1, 1):
        with pytest.raises(ValueError, match="cannot truncate"):
            decoder.truncate(length)
