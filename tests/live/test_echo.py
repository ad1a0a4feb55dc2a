"""What keeps a conversation from hearing itself, frame by frame; replies over a room's echo are in the benchmarks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.errors import MissingExtra
from omni_edge.runtime.live import echo
from omni_edge.runtime.live.echo import FRAME, Canceller, EchoSearch, FarTrack, HalfDuplex, Open, ears
from omni_edge.runtime.live.sources import Played

NOISE = np.random.default_rng(1).standard_normal(16000 * 3).astype(np.float32) * 0.1


def played(sound: np.ndarray, at: int) -> Played:
    return Played(sound.astype(np.float32), at)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_far_sound_lies_where_it_left(sizes: list[int]) -> None:
    track, whole, at = FarTrack(24000), NOISE[: sum(sizes)], 1600
    for size in sizes:
        track.add(played(whole[:size], int(at)))
        whole, at = whole[size:], at + size / 1.5
    count = -(-sum(sizes) * 2 // 3 // FRAME) * FRAME + FRAME
    taken = np.concatenate([track.take(1600 - FRAME + start, FRAME) for start in range(0, count + FRAME, FRAME)])
    np.testing.assert_array_equal(taken[240 : 240 + sum(sizes)], NOISE[: sum(sizes)])
    assert not taken[:240].any()
    assert not taken[240 + sum(sizes) :].any()


@pytest.mark.parametrize(("share", "found"), [(0.1, True), (0.001, False)])
def test_an_echo_is_found_where_there_is_one(share: float, found: bool) -> None:
    search = EchoSearch()
    answers = [search.step(NOISE[k : k + FRAME] * share, NOISE[k : k + FRAME]) for k in range(0, 16000, FRAME)]
    assert answers[0]
    assert answers[-1] is found


def test_half_duplex_is_deaf_while_something_is_played_and_a_little_longer() -> None:
    half, near = HalfDuplex(), np.ones(320, np.float32)
    assert half.step(near, []).all()
    assert not half.step(near, [played(near, 0)]).any()
    after = np.concatenate([half.step(near, []) for _ in range(50)])
    assert 0.2 * 16000 < np.flatnonzero(after)[0] < 0.3 * 16000
    assert after[np.flatnonzero(after)[0] :].all()


def test_the_canceller_takes_the_echo_away_whatever_the_pieces() -> None:
    pytest.importorskip("livekit.rtc")
    canceller, near = Canceller(16000), np.pad(NOISE * 0.1, (400, 0))[: NOISE.size]
    whole = canceller(near, [played(NOISE, 0)])
    assert whole.size == NOISE.size - FRAME
    late = slice(-16000, None)
    assert np.sqrt(np.mean(whole[late] ** 2)) < 0.1 * np.sqrt(np.mean(near[late] ** 2))
    canceller.reset()
    pieces = [canceller.step(near[k : k + 450], [played(NOISE[k : k + 450], k)]) for k in range(0, near.size, 450)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=2 / 32767)


def test_without_the_library_auto_is_half_duplex_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtra("livekit", "live", "cancel echo")

    monkeypatch.setattr(echo, "_library", missing)
    found, note = ears("auto", 24000)
    assert isinstance(found, HalfDuplex)
    assert "half-duplex" in note
    with pytest.raises(MissingExtra):
        ears("on", 24000)
    assert isinstance(ears("off", 24000)[0], Open)
