"""Where a sound is cut does not change it, and the whole is what soxr gives in one call."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.live.resampling import Resampler

RATES = [(8000, 16000), (11025, 16000), (16000, 16000), (44100, 16000), (48000, 16000), (24000, 48000)]


@pytest.mark.parametrize("rates", RATES, ids=str)
@given(cuts=st.lists(st.integers(0, 2500), max_size=8), seed=st.integers(0, 9))
def test_steps_equal_the_whole(rates, cuts, seed):
    samples = np.random.default_rng(seed).uniform(-1, 1, 2500).astype(np.float32)
    resampler = Resampler(*rates)
    pieces = [resampler.step(piece) for piece in np.split(samples, sorted(cuts))]
    stepped = np.concatenate([*pieces, resampler.finish()])
    np.testing.assert_array_equal(stepped, resampler(samples))
    np.testing.assert_array_equal(stepped, soxr.resample(samples, *rates, quality="HQ"))


def test_reset_forgets():
    resampler, samples = Resampler(48000, 16000), np.ones(500, np.float32)
    resampler.step(np.full(700, -1, np.float32))
    resampler.reset()
    first = np.concatenate([resampler.step(samples), resampler.finish()])
    np.testing.assert_array_equal(first, Resampler(48000, 16000)(samples))
