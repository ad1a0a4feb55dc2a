"""The numbers of a report: cases that can be checked by hand, and what must hold for any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from omni_edge.quant import measures

LOGITS = arrays(np.float32, (3, 5), elements=st.floats(-50, 50, width=32))
ROWS = arrays(np.float32, (3, 5), elements=st.floats(-50, 50, width=32, allow_subnormal=False))


def noise(count, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


def test_kl_by_hand():
    # p = (1/2, 1/2), q = (3/4, 1/4).
    full, other = np.log(np.array([[0.5, 0.5]], np.float32)), np.log(np.array([[0.75, 0.25]], np.float32))
    expected = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert measures.kl_divergence(full, other)[0] == pytest.approx(expected, rel=1e-5)


def test_kl_of_impossible_tokens():
    full = np.array([[0, -np.inf]], np.float32)
    assert measures.kl_divergence(full, np.array([[0, 0]], np.float32))[0] == pytest.approx(math.log(2))


@given(LOGITS, LOGITS, st.floats(-20, 20))
def test_kl_is_never_negative_and_blind_to_a_constant(full, other, constant):
    divergence = measures.kl_divergence(full, other)
    assert (divergence >= 0).all()
    assert measures.kl_divergence(full, full).max() == 0
    assert measures.kl_divergence(full, other + np.float32(constant)) == pytest.approx(divergence, abs=1e-3)


def test_the_same_choice():
    full = np.array([[1, 2, 0], [3, 1, 2]], np.float32)
    assert measures.same_choice(full, np.array([[0, 9, 0], [1, 2, 1]], np.float32)).tolist() == [True, False]


def test_cosines_by_hand():
    full = np.array([[1, 0], [1, 1], [2, 0], [0, 0]], np.float32)
    other = np.array([[0, 3], [1, 0], [-1, 0], [0, 0]], np.float32)
    assert measures.cosines(full, other) == pytest.approx([0, math.sqrt(0.5), -1, 1])


@given(ROWS, st.floats(0.125, 100, width=32))
def test_cosines_do_not_see_size(rows, factor):
    assert measures.cosines(rows, rows * np.float32(factor)) == pytest.approx(np.ones(3), abs=1e-5)


def test_relative_rms_by_hand():
    full, other = np.array([3, 4], np.float32), np.array([3, 3], np.float32)
    assert measures.relative_rms([(full, other)]) == pytest.approx(0.2)
    assert measures.relative_rms([(full, full)]) == 0
    assert measures.relative_rms([(np.zeros(2, np.float32), np.zeros(2, np.float32))]) == 0
    assert measures.relative_rms([(10 * full, 10 * other)]) == pytest.approx(0.2)
    slabs = zip(full[:, None], other[:, None], strict=True)
    assert measures.relative_rms(slabs) == pytest.approx(0.2)


def test_mel_distance_is_a_mean_in_the_mels_own_unit():
    mel = noise(20).reshape(4, 5)
    assert measures.mel_distance(mel, mel + np.float32(0.25)) == pytest.approx(0.25, abs=1e-6)
    assert measures.mel_distance(mel, mel) == 0


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_equal_sounds_have_no_distance(length):
    sound = noise(length)
    assert measures.stft_distance(sound, sound) == (0, 0)
    assert measures.signal_to_noise(sound, sound) == math.inf


@given(st.floats(0.3, 3))
def test_a_louder_sound(factor):
    """Magnitudes are c times as large: convergence is |1 - c|, log magnitude |ln c|."""
    sound = noise(6000)
    convergence, magnitude = measures.stft_distance(sound, np.float32(factor) * sound)
    assert convergence == pytest.approx(abs(1 - factor), abs=1e-4)
    assert magnitude == pytest.approx(abs(math.log(factor)), abs=1e-3)
    quieter = measures.stft_distance(sound / 4, np.float32(factor) * sound / 4)
    assert quieter == pytest.approx((convergence, magnitude), abs=1e-3)


def test_more_noise_is_a_larger_distance():
    sound, disturbance = noise(8000), noise(8000, seed=1)
    distances = [measures.stft_distance(sound, sound + size * disturbance) for size in (0.01, 0.1, 1)]
    assert distances == sorted(distances)
    assert distances[0][0] == pytest.approx(0.01, rel=0.3)


def test_a_delay_costs_the_waveform_more_than_the_spectrum():
    sound = noise(8000)
    delayed = np.roll(sound, 3)
    assert measures.signal_to_noise(sound, delayed) < 0
    assert measures.stft_distance(sound, delayed)[0] < 0.1


def test_signal_to_noise_by_hand():
    full = np.full(10, 1, np.float32)
    assert measures.signal_to_noise(full, np.full(10, 0.9, np.float32)) == pytest.approx(20, abs=1e-4)
    assert measures.signal_to_noise(full, np.full(10, 2, np.float32)) == pytest.approx(0)
