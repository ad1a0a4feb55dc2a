"""A microphone on a device that comes, goes, is late, overflows and distorts."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.live.microphone import KEPT, SILENT, DeviceMicrophone
from omni_edge.runtime.live.resampling import Resampler

AGAIN = "Going on without; it is used again as soon as it is there"


@pytest.fixture
def sound(kit):
    return kit.Sound(48000)


@pytest.fixture
def microphone(sound, clock):
    opened = DeviceMicrophone(sound.open_input, clock, every=0.01)
    yield opened
    opened.close()


def until_there(microphone, sound, count):
    """Read until a device has been opened so many times, and it is in use."""
    events = []
    for _ in range(500):
        events += microphone.read(0.01)
        if len(sound.streams) == count and microphone._recording is not None:
            return events
        time.sleep(0.002)
    raise AssertionError("it was not opened again")


@settings(max_examples=30)
@given(
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
    blocks=st.lists(st.integers(1, 3000), min_size=1, max_size=12),
    reads=st.integers(1, 5),
)
def test_any_blocks_at_any_rate_give_the_whole(kit, rate, blocks, reads):
    sound, clock = kit.Sound(rate), kit.HandClock()
    microphone = DeviceMicrophone(sound.open_input, clock)
    whole = np.random.default_rng(rate).uniform(-0.3, 0.3, sum(blocks)).astype(np.float32)
    events = []
    for index, block in enumerate(np.split(whole, np.cumsum(blocks)[:-1])):
        clock.time += block.size / rate
        sound.streams[0].callback(block, 0.0, 0.0)
        if index % reads == 0:
            events += microphone.read(0)
    sound.streams[0].active = False
    events += microphone.read(0) + microphone.read(0)
    microphone.close()
    np.testing.assert_array_equal(kit.joined(events), Resampler(rate, 16000)(whole))
    assert microphone.lost == 0


def test_position_is_what_is_in_the_air(microphone, sound, clock):
    sound.streams[0].callback(np.zeros(4800, np.float32), 0.01, 0.0)
    assert microphone.position() == 1600 + 160
    clock.time += 0.05
    assert microphone.position() == 1600 + 160 + 800
    microphone.read(0)
    assert microphone.position() == 1600 + 160 + 800


def test_unplugged_and_back(kit, microphone, sound, clock):
    tone = np.full(4800, 0.25, np.float32)
    sound.streams[0].callback(tone, 0.0, 0.0)
    events = microphone.read(0)
    sound.streams[0].active = sound.there = False
    clock.time += 0.5
    events += microphone.read(0) + microphone.read(0)
    assert kit.told(events) == [f"a device is gone. {AGAIN}"]
    assert abs(kit.joined(events).size - 1600 - 8000) <= 1  # the clock went on
    clock.time += 2.0
    assert microphone.position() == pytest.approx(1600 + 40000, abs=1)
    for _ in range(20):
        events += microphone.read(0)
    sound.there = True
    events += until_there(microphone, sound, 2)
    assert kit.told(events) == [f"a device is gone. {AGAIN}", "a device is there again"]
    silence = kit.joined(events).size
    sound.streams[1].callback(2 * tone, 0.0, 0.0)
    events += microphone.read(0)
    after = kit.joined(events)[silence:]
    assert after[200:].min() > 0.4
    assert sound.streams[0].closed
    assert microphone.lost == 0


def test_a_driver_that_falls_silent_counts_as_lost(kit, microphone, sound, clock):
    sound.streams[0].callback(np.zeros(480, np.float32), 0.0, 0.0)
    microphone.read(0)
    clock.time += SILENT - 0.1
    assert not microphone.read(0)
    clock.time += 0.2
    events = microphone.read(0) + microphone.read(0)
    assert kit.told(events) == [f"a device is gone. {AGAIN}"]


def test_none_at_the_start_and_one_later(kit, sound, clock):
    sound.there = False
    microphone = DeviceMicrophone(sound.open_input, clock, every=0.01)
    events = microphone.read(0.02)
    assert kit.told(events) == [f"there is no microphone here. Plug one in. {AGAIN}"]
    for _ in range(50):
        events += microphone.read(0.02)
    assert kit.joined(events).size == pytest.approx(50 * 320, abs=2)
    sound.there = True
    events += until_there(microphone, sound, 1)
    assert kit.told(events)[1:] == ["a device is there again"]
    microphone.close()
    assert sound.streams[0].closed


def test_nobody_reads_for_too_long(kit, microphone, sound):
    second = np.full(48000, 0.25, np.float32)
    for _ in range(round(KEPT) + 3):
        sound.streams[0].callback(second, 0.0, 0.0)
    events = microphone.read(0)
    assert kit.told(events) == ["3.00 s of a device were lost: this machine is too busy"]
    assert microphone.lost == 3 * 16000
    sound.streams[0].callback(second, 0.0, 0.0)
    events += microphone.read(0)
    assert kit.joined(events).size == pytest.approx((KEPT + 1) * 16000, abs=400)  # the resampler's reach
    assert len(kit.told(events)) == 1


def test_what_the_driver_drops_is_counted(kit, microphone, sound):
    sound.streams[0].callback(np.zeros(4800, np.float32), 0.0, 0.0)
    sound.streams[0].callback(np.zeros(4800, np.float32), 0.0, 0.25)
    assert kit.told(microphone.read(0)) == ["0.25 s of a device were lost: this machine is too busy"]
    assert microphone.lost == 4000


def test_clipping_and_silence_are_said_once(kit, microphone, sound):
    loud, silent = np.ones(48000, np.float32), np.zeros(48000, np.float32)
    events = []
    for block in [loud] * 5 + [silent] * 600:
        sound.streams[0].callback(block, 0.0, 0.0)
        events += microphone.read(0)
    assert [text.split(".")[0] for text in kit.told(events)] == [
        "a device is too loud and distorts",
        "a device has given silence for 60 s",
    ]


def test_read_waits_no_longer_than_asked(microphone):
    begin = time.monotonic()
    assert microphone.read(0.05) == []
    assert time.monotonic() - begin >= 0.05


def test_closing_while_it_is_lost(sound, clock):
    sound.there = False
    microphone = DeviceMicrophone(sound.open_input, clock, every=0.01)
    microphone.close()
    microphone.close()
    assert microphone.read(0.01)[1:] == []
    assert not sound.streams
