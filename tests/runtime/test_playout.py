"""When the loudspeaker starts, against a simulation that knows everything that came."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.playout import CAUTION, Expected, Playout, pace

RATE = 1000
PIECES = (100, 480, 960, 1920)
speeds = st.floats(0.2, 30)
pieces = st.lists(st.tuples(st.integers(1, 3000), st.floats(0, 5)), min_size=1, max_size=30)


def sizes(total: int) -> list[int]:
    """PIECES, and the last of them until the total is reached."""
    found: list[int] = []
    for size in itertools.chain(PIECES, itertools.repeat(PIECES[-1])):
        left = total - sum(found)
        if left <= 0:
            return found
        found.append(min(size, left))
    raise AssertionError


def arrivals(total: int, speed: float, begin: float = 3.0) -> list[tuple[int, float]]:
    """(samples, time) of a speech made at a steady speed."""
    made, found = 0, []
    for size in sizes(total):
        made += size
        found.append((size, begin + made / RATE / speed))
    return found


def gaps(coming: list[tuple[int, float]], start: float) -> tuple[int, float]:
    """Number and seconds of the silences, by following the loudspeaker from piece to piece."""
    heard, count, silent = start, 0, 0.0
    for size, at in coming:
        if at > heard:
            count, silent, heard = count + 1, silent + at - heard, at
        heard += size / RATE
    return count, silent


def earliest(coming: list[tuple[int, float]]) -> float:
    """The start without a gap, in hindsight."""
    before = itertools.accumulate((size for size, _ in coming), initial=0)
    return max(at - made / RATE for (_, at), made in zip(coming, before, strict=False))


def played(coming: list[tuple[int, float]], expected: Expected) -> Playout:
    playout = Playout(RATE, expected)
    for size, at in coming:
        playout.add(size, at)
    playout.end(coming[-1][1])
    return playout


@given(pieces, speeds, st.integers(1, 90_000))
def test_underruns_are_those_of_the_loudspeaker(waits, speed, longest):
    times = itertools.accumulate(wait for _, wait in waits)
    coming = [(size, at) for (size, _), at in zip(waits, times, strict=True)]
    playout = played(coming, Expected(speed, PIECES, longest))
    # What came before the start was there when it started.
    count, silent = gaps([(size, max(at, playout.start_at())) for size, at in coming], playout.start_at())
    assert playout.underruns == count
    assert playout.silent_s == pytest.approx(silent, abs=1e-6)


@given(speeds, st.integers(1, 60_000), st.floats(0, 1))
def test_at_the_pace_expected_there_is_no_gap_however_long_it_becomes(speed, longest, share):
    total = max(1, round(share * longest))
    playout = played(arrivals(total, speed), Expected(speed, PIECES, longest))
    assert playout.underruns == 0


@given(speeds, st.integers(1, 60_000))
def test_it_starts_no_later_than_it_must(speed, total):
    coming = arrivals(total, speed)
    playout = played(coming, Expected(speed, PIECES, total))
    ideal = max(earliest(coming), coming[0][1])
    assert playout.start_at() <= ideal + CAUTION * PIECES[-1] / RATE / speed + 1e-6


@given(st.floats(0.2, 30), st.floats(0.25, 4), st.integers(20_000, 60_000))
def test_a_wrong_guess_is_corrected_by_what_is_seen(speed, factor, total):
    playout = Playout(RATE, Expected(speed * factor, PIECES, total))
    for size, at in arrivals(total, speed):
        playout.add(size, at)
    assert abs(math.log(playout.speed / speed)) < abs(math.log(factor)) * 0.5 + 1e-9


def test_a_fast_machine_starts_with_the_first_piece():
    coming = arrivals(20_000, 40.0)
    playout = Playout(RATE, Expected(40.0, PIECES, 60_000))
    playout.add(*coming[0])
    assert playout.start_at() - coming[0][1] < 0.02
    assert playout.notice() == ""


def test_a_slow_machine_says_so_and_waits_for_the_rest():
    coming = arrivals(20_000, 0.5)
    playout = Playout(RATE, Expected(0.5, PIECES, 20_000))
    playout.add(*coming[0])
    # Twenty seconds take forty: it must wait for about twenty.
    assert 19 < playout.start_at() - coming[0][1] < 23
    wait = round(playout.start_at() - coming[0][1])
    assert playout.notice() == f"this machine makes 0.5 s of speech a second; sound starts after {wait} s"


@given(st.floats(0.2, 0.9), st.integers(5_000, 30_000))
def test_a_length_known_better_starts_it_earlier(speed, total):
    coming = arrivals(total, speed)
    playout = Playout(RATE, Expected(speed, PIECES, 2 * total))
    playout.add(*coming[0])
    before = playout.start_at()
    playout.expect(total, coming[0][1])
    assert playout.start_at() < before
    for piece in coming[1:]:
        playout.add(*piece)
    assert playout.underruns == 0


def test_the_end_starts_what_waits():
    playout = Playout(RATE, Expected(0.2, PIECES, 60_000))
    assert playout.start_at() == math.inf
    playout.add(500, 1.0)
    assert playout.start_at() > 100
    playout.end(2.0)
    assert playout.start_at() == 2.0


def test_reset_equals_new():
    coming = arrivals(9_000, 0.7)
    used = played(coming, Expected(1.3, PIECES, 9_000))
    assert used.underruns
    used.reset()
    for size, at in coming:
        used.add(size, at)
    used.end(coming[-1][1])
    fresh = played(coming, Expected(1.3, PIECES, 9_000))
    assert (used.start_at(), used.underruns, used.silent_s) == (fresh.start_at(), fresh.underruns, fresh.silent_s)


@given(st.floats(1, 500), st.floats(0.01, 0.1), st.floats(0.001, 5))
def test_stages_one_after_the_other_are_slower_than_the_slowest(codes_per_s, code_s, sound_s):
    assert pace(codes_per_s, code_s, sound_s) < min(codes_per_s * code_s, 1 / sound_s)
