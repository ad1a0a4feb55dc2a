"""What is in view at each moment of a turn, and for how long it is kept."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.runtime.live.recent import IN_VIEW, Frames, Recent
from omni_edge.runtime.live.sources import HEARD_RATE, Seen

HALF = HEARD_RATE // 2


def shown(frames: Frames, now: int) -> list[int]:
    return [int(frame[0, 0, 0]) for frame in frames.due(now)]


def see(frames: Frames, *moments: int) -> None:
    for number, at in enumerate(moments):
        frames.see(Seen(np.full((1, 1, 3), number, np.uint8), at))


@given(
    moments=st.lists(st.integers(0, 200000), min_size=1, max_size=20, unique=True).map(sorted),
    start=st.integers(0, 100000),
    steps=st.lists(st.integers(1, 30000), max_size=8),
)
def test_each_moment_has_the_newest_frame(moments: list[int], start: int, steps: list[int]) -> None:
    frames, got, now = Frames(2), [], start
    see(frames, *moments)
    frames.begin(start)
    for step in steps:
        now += step
        got += shown(frames, now)
    expected = []
    views = zip(moments, [*moments[1:], math.inf], strict=True)
    first = next((number for number, (at, end) in enumerate(views) if min(at + IN_VIEW, end) > start), None)
    for moment in range(start, now, HALF):
        if first is None:
            break
        newest = max([first, *(number for number, at in enumerate(moments) if at <= moment)])
        if moments[newest] + IN_VIEW <= moment:
            break  # the camera is gone: no picture of this turn comes after that
        expected.append(newest)
    assert got == expected


@given(
    moments=st.lists(st.integers(0, 100000), min_size=1, max_size=20, unique=True).map(sorted),
    start=st.integers(0, 120000),
)
def test_forgetting_changes_nothing_that_follows(moments: list[int], start: int) -> None:
    whole, short = Frames(2), Frames(2)
    for frames in (whole, short):
        see(frames, *moments)
    short.forget(start)
    for frames in (whole, short):
        frames.begin(start)
    assert shown(short, start + 50000) == shown(whole, start + 50000)
    assert bool(short) == (moments[-1] + IN_VIEW > start)


def test_a_camera_that_is_switched_off_is_forgotten() -> None:
    frames = Frames(2)
    see(frames, 0, HALF)
    frames.forget(HALF + IN_VIEW - 1)
    assert frames
    frames.forget(HALF + IN_VIEW)
    assert not frames
    frames.begin(HALF + IN_VIEW)
    assert shown(frames, 10**6) == []


@given(sizes=st.lists(st.integers(0, 50), max_size=20), at=st.integers(0, 400), forgotten=st.integers(0, 400))
def test_sound_since_a_sample(sizes: list[int], at: int, forgotten: int) -> None:
    recent, whole = Recent(), np.arange(sum(sizes), dtype=np.float32)
    for end, size in zip(np.cumsum(sizes, dtype=int), sizes, strict=True):
        recent.hear(whole[end - size : end])
    recent.forget(min(forgotten, at))
    np.testing.assert_array_equal(recent.since(at), whole[at:])
    assert recent.now == whole.size
