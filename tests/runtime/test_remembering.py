"""A turn that is taken back and goes on is not encoded anew, and is the same turn to the bit."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.bundle import open_bundle
from omni_edge.models.store import NANO
from omni_edge.runtime.events import Done
from omni_edge.runtime.listening import Listening
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio, Media, Video
from omni_edge.runtime.options import Options
from omni_edge.runtime.remembering import Remembering
from omni_edge.runtime.session import Session
from omni_edge.runtime.stages import Stages

RATE = 16000
TEXT = Options(speech=False, greedy=True, seed=1)


class Counted:
    """Encodes, and counts."""

    def __init__(self, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.encode, self.runs = memory._encode, 0
        monkeypatch.setattr(memory, "_encode", self)

    def __call__(self, inputs: Any) -> np.ndarray:
        self.runs += 1
        return self.encode(inputs)


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=8))
def test_rows_are_those_of_the_encoder_and_none_of_two_turns_is_made_twice(turns: list[list[int]]) -> None:
    made: list[int] = []

    def encode(number: int) -> np.ndarray:
        made.append(number)
        return np.full((2, 3), number, np.float32)

    memory = Remembering(encode, lambda number: bytes([number]))
    expected: list[int] = []
    for before, turn in zip([[], *turns], turns, strict=False):
        memory.turn()
        for number in turn:
            assert (memory.rows(number) == number).all()
        expected += [number for number in dict.fromkeys(turn) if number not in before]
    assert made == expected


@pytest.fixture(scope="module")
def live() -> Stages:
    return load_stages(open_bundle(NANO))


def feed(turn: Listening, samples: np.ndarray, frames: np.ndarray) -> None:
    """Second by second, two frames with each."""
    for index, end in enumerate(accumulate([RATE] * (samples.size // RATE))):
        turn.hear(samples[end - RATE : end])
        for frame in frames[2 * index : 2 * index + 2]:
            turn.see(frame)
        while turn.step():
            pass


@pytest.mark.parametrize("pictures", [0, 16])
def test_what_was_said_before_a_pause(live: Stages, monkeypatch: pytest.MonkeyPatch, pictures: int) -> None:
    perception = live.perception
    ear, eye = Counted(perception.hear_again, monkeypatch), Counted(perception.see_again, monkeypatch)
    rng = np.random.default_rng(pictures)
    samples = rng.uniform(-0.1, 0.1, 8 * RATE).astype(np.float32)
    shown = rng.integers(0, 256, (pictures, 112, 112, 3), np.uint8)
    session = Session(live)
    turn = session.listen(TEXT, video=bool(pictures))
    feed(turn, samples[: 7 * RATE], shown[:14])
    list(turn.answer())
    assert (ear.runs, eye.runs) == (4, pictures and 7)  # three chunks and the tail; a step is two frames
    session.take_back()
    turn = session.listen(TEXT, video=bool(pictures))
    feed(turn, samples, shown)
    answer = list(turn.answer())[-1]
    assert (ear.runs, eye.runs) == (5, pictures and 8)
    rows = live.thinker.context.talker_rows.copy()
    part: Media = Video(shown, sound=samples) if pictures else Audio(samples)
    whole = list(Session(live).respond(part, options=TEXT))[-1]
    assert isinstance(answer, Done)
    assert isinstance(whole, Done)
    assert answer.ids == whole.ids
    np.testing.assert_array_equal(rows, live.thinker.context.talker_rows)
