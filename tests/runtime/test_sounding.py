"""The first chunk before the vocoder has what it hangs on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.sounding import GUARD, Mel, Sounding
from omni_edge.runtime.vocoder import Vocoder

HOP, REACH = 6, 30
MEL = np.random.default_rng(0).standard_normal((400, 1)).astype(np.float32)


class Averaging:
    """A part of which each sample is the mean of the frames at most REACH from its own."""

    def begin(self):
        return AveragingStream()

    def held(self, before):
        return (before + REACH) * HOP


class AveragingStream:
    def __init__(self):
        self.rows, self.done = np.empty((0, 1), np.float32), 0

    def step(self, rows, *, last):
        self.rows = np.concatenate([self.rows, rows])
        stop = len(self.rows) if last else max(self.done, len(self.rows) - REACH)
        made = [self.rows[max(0, at - REACH) : at + REACH + 1].mean() for at in range(self.done, stop)]
        self.done = stop
        return np.repeat(np.array(made, np.float32), HOP)[:, None]


VOCODER = Vocoder([Averaging()])


def heard(sizes, ahead=0.0):
    """Pieces of sound; what is ahead of the first chunk is off by so much."""
    sounding, pieces, start = Sounding(VOCODER, HOP), [], 0
    total = sum(sizes)
    for number, size in enumerate(sizes):
        stop, last = start + size, number == len(sizes) - 1
        pieces.append(list(sounding.step(Mel(MEL[start:stop], MEL[stop : min(stop + 40, total)] + ahead, last))))
        start = stop
    return pieces


@given(st.integers(1, 60), st.lists(st.integers(0, 130), max_size=4))
def test_with_what_follows_known_exactly_it_is_the_whole(first, more):
    pieces = heard([first, *more])
    whole = VOCODER.run(MEL[: first + sum(more)])
    sound = np.concatenate([piece for each in pieces for piece in each])
    assert sound.shape == whole.shape
    assert np.abs(sound - whole).max() < 1e-6
    # As much as has GUARD frames behind it that are known.
    if more:
        known = first + min(40, sum(more))
        assert sum(map(len, pieces[0])) == max(0, min(first, known - GUARD)) * HOP


@given(st.integers(1, 60), st.lists(st.integers(0, 130), min_size=1, max_size=4))
def test_a_guess_is_heard_in_the_first_chunk_and_for_a_frame_after_it(first, more):
    pieces = heard([first, *more], ahead=0.1)
    sound = np.concatenate([piece for each in pieces for piece in each])
    whole = VOCODER.run(MEL[: first + sum(more)])
    assert sound.shape == whole.shape
    off, end = np.abs(sound - whole), sum(map(len, pieces[0]))
    assert off.max() <= 0.1
    assert off[end + HOP :].max(initial=0) < 1e-6
    if sum(more) and end:
        # What is left of it gets less by the same from sample to sample, down to nothing.
        fading = off[end : end + HOP + 1]
        assert np.ptp(np.diff(fading[: HOP + 1])) < 1e-6
        assert abs(fading[0] - off[end - 1]) < 0.05


def test_a_chunk_that_is_all_there_is():
    (pieces,) = heard([20])
    assert (np.concatenate(pieces) == VOCODER.run(MEL[:20])).all()


def test_begun_anew_it_says_the_same_again():
    sounding = Sounding(VOCODER, HOP)
    first = [piece for _ in range(2) for piece in sounding.step(Mel(MEL[:24], MEL[24:48], False))]
    sounding.reset()
    assert [len(piece) for piece in sounding.step(Mel(MEL[:24], MEL[24:48], False))] == [len(first[0])]


def test_what_is_known_too_little_of_is_not_heard_early():
    sounding = Sounding(VOCODER, HOP)
    assert [len(piece) for piece in sounding.step(Mel(MEL[:24], MEL[24:32], False))] == [16 * HOP]
    sounding.reset()
    assert list(sounding.step(Mel(MEL[:10], MEL[10:16], False))) == []
    (rest,) = sounding.step(Mel(MEL[10:90], MEL[:0], True))
    assert (rest == VOCODER.run(MEL[:90])).all()


def test_no_words_are_no_sound():
    assert heard([0]) == [[]]
