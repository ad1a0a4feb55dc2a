"""Codes to sound in pieces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver
from omni_edge.runtime.speech import Spoken, chunks
from omni_edge.runtime.vocoder import WINDOW


@given(
    st.integers(0, 700),
    st.sampled_from([(1, 2, 4, 8), (2, 2, 4, 8), (3,)]),
    st.integers(1, 12),
    st.integers(1, 9),
    st.data(),
)
def test_portions_are_all_codes_once_and_the_last_is_known(count, blocks, block, lookahead, data):
    ahead = data.draw(st.integers(1, block * lookahead))
    portions = list(chunks(range(count), blocks, block, lookahead, blocks[0] * block + ahead))
    assert [code for codes, _ in portions for code in codes] == list(range(count))
    assert [last for _, last in portions] == [False] * (len(portions) - 1) + [True]
    sizes = [len(codes) for codes, _ in portions[:-1]]
    ends = np.cumsum([*blocks, *[blocks[-1]] * len(sizes)])[: len(sizes)]
    expected = (ends + lookahead) * block
    expected[:1] = blocks[0] * block + ahead
    assert np.cumsum(sizes).tolist() == expected.tolist()


def test_a_portion_does_not_wait_for_the_code_after_it():
    taken = []
    codes = (taken.append(code) or code for code in range(1000))
    portion, last = next(chunks(codes, (1, 2), 12, 1, 16))
    assert (len(portion), last, len(taken)) == (16, False, 16)


@pytest.mark.parametrize("count", [1, 24, 25, 100])
def test_with_all_the_look_ahead_there_is_it_is_the_sound_of_the_whole(stages, count):
    speech = stages.speech
    codes, noise = [(7 * n) % 100 for n in range(count)], Noise(1, 80)
    solver = Solver("euler", 3, 0.5, lookahead=100)
    spoken = Spoken()
    pieces = list(speech.sound(speech.mels(codes, "Chelsie", noise, solver, spoken), spoken))
    sound = np.concatenate(pieces)
    mel = speech._flow.mel(np.array(codes), "Chelsie", noise, solver)
    assert (sound == np.concatenate(list(speech._vocoder.samples(mel)))).all()
    assert max(piece.size for piece in pieces) <= WINDOW * stages.bundle.manifest.vocoder.hop
    assert spoken.samples == sound.size == 2 * count * stages.bundle.manifest.vocoder.hop
    assert spoken.flow_s > 0
    assert spoken.vocoder_s > 0


def test_sound_comes_before_the_codes_are_all_there(stages):
    speech, taken = stages.speech, []
    codes = (taken.append(code) or code % 100 for code in range(200))
    spoken = Spoken()
    mels = speech.mels(codes, "Chelsie", Noise(1, 80), Solver("euler", 3, 0.0, lookahead=2), spoken)
    sounds = speech.sound(mels, spoken)
    first = next(sounds)
    assert first.size
    # The first portion is long enough for the vocoder to give some of it.
    assert len(taken) == 12 * (speech.sizes[0] + 2) <= 60
    whole = speech._flow.mel(np.arange(200) % 100, "Chelsie", Noise(1, 80), Solver("euler", 3, 0.0))
    sound = np.concatenate([first, *sounds])
    # As many blocks of look-ahead as evaluations: nothing is approximated.
    assert np.abs(sound - np.concatenate(list(speech._vocoder.samples(whole)))).max() < 1e-3


def test_nothing_to_say_is_no_sound(stages):
    speech, spoken = stages.speech, Spoken()
    mels = speech.mels([], "Chelsie", Noise(1, 80), Solver("euler", 3, 0.0), spoken)
    assert list(speech.sound(mels, spoken)) == []


@pytest.mark.parametrize("first", [None, 4, 9])
def test_pieces_are_expected_as_they_come(stages, first):
    speech, spoken = stages.speech, Spoken()
    solver = Solver("euler", 2, 0.0, first_lookahead=first)
    mels = speech.mels([n % 100 for n in range(400)], "Chelsie", Noise(1, 80), solver, spoken)
    ends = np.cumsum([piece.size for piece in speech.sound(mels, spoken)])
    expected = np.cumsum(speech.pieces(solver))
    assert expected[0] == ends[0]
    # Of the second piece on the vocoder's reach is always held back, so that ends differ by nothing.
    assert set(expected[1:]) <= set(ends) | {ends[-1]}
