"""Loudspeakers: what is played is counted, stopped, ducked and handed to the canceller, on a device and in a file."""

from __future__ import annotations

import threading
import time
import wave
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.runtime.live.clock import RealClock, VirtualClock
from omni_edge.runtime.live.playback import DUCKED, Playback
from omni_edge.runtime.live.speaker import STALLED, DeviceSpeaker
from omni_edge.runtime.live.speaker_file import FileSpeaker

RATE = 24000
AGAIN = "Going on without; it is used again as soon as it is there"
TONE = np.full(RATE, 0.5, np.float32)


@pytest.fixture
def sound(kit):
    return kit.Sound(0)  # any rate that is wanted


@pytest.fixture
def speaker(sound, clock):
    opened = DeviceSpeaker(sound.open_output, clock, lambda: round(16000 * clock.now()), RATE, every=0.01)
    yield opened
    opened.close()


def ask(sound, count: int, ahead: float = 0.05) -> np.ndarray:
    return sound.streams[-1].callback(count, ahead)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(["push", "take", "duck", "loud"]), st.integers(0, 900)), max_size=40),
    st.integers(0, 9),
)
def test_a_buffer_gives_what_it_was_given(steps, seed):
    playback, rng = Playback(RATE), np.random.default_rng(seed)
    pushed, taken = [], []
    for what, count in steps:
        if what == "push":
            part = rng.uniform(-1, 1, min(count, playback.room)).astype(np.float32)
            playback.push(part)
            pushed.append(part)
        elif what == "take":
            taken.append(playback.take(count))
        else:
            playback.duck(what == "duck")
    taken.append(playback.take(RATE))
    before, after = np.concatenate([[0], *pushed]), np.concatenate([[0], *taken])
    assert playback.taken == before.size - 1 == after.size - 1
    assert playback.waiting == 0
    # Volume lies between the two, and moves no faster than its ramp.
    volume = np.divide(after, before, out=np.ones_like(after), where=abs(before) > 0.05)
    assert volume.min() >= DUCKED - 1e-5
    assert volume.max() <= 1 + 1e-5


def test_ducking_takes_twenty_milliseconds():
    playback = Playback(RATE)
    playback.push(np.ones(3000, np.float32))
    playback.duck(True)
    volume = playback.take(1000)
    assert (np.diff(volume[:480]) < 0).all()
    assert volume[479] == pytest.approx(10 ** (-15 / 20))
    playback.duck(False)
    assert playback.take(480)[-1] == 1


class TestDevice:
    def test_played_is_what_has_left_the_driver_as_well(self, speaker, sound, clock):
        speaker.begin()
        speaker.write(TONE[:2400])
        assert (speaker.played, speaker.pending) == (0, 2400)
        np.testing.assert_array_equal(ask(sound, 1200), TONE[:1200])
        assert (speaker.played, speaker.pending) == (0, 2400)
        clock.time += 0.05 + 0.025
        assert speaker.played == pytest.approx(600, abs=1)
        clock.time += 1
        assert (speaker.played, speaker.pending) == (1200, 1200)
        assert ask(sound, 2400)[1200:].max() == 0  # silence where nothing waits
        clock.time += 1
        assert (speaker.played, speaker.pending) == (2400, 0)

    def test_write_waits_for_room_and_stop_ends_it(self, speaker, sound, clock):
        speaker.begin()
        thread = threading.Thread(target=speaker.write, args=(TONE,))
        speaker._clock = RealClock()
        speaker._asked = 0.0
        thread.start()
        time.sleep(0.1)
        assert thread.is_alive()
        assert speaker.pending == pytest.approx(0.2 * RATE)
        ask(sound, 240)
        assert speaker.stop() == 240 + 120
        thread.join(timeout=1)
        assert not thread.is_alive()
        faded = ask(sound, 2400)
        assert (np.diff(faded[:120]) < 0).all()
        assert not faded[120:].any()
        speaker.write(TONE)  # of a stage that does not know yet
        assert not ask(sound, 2400).any()
        speaker.begin()
        speaker.write(TONE[:100])
        assert ask(sound, 2400)[:100].min() == 0.5

    def test_a_device_at_another_rate(self, kit, clock):
        sound = kit.Sound(44100)
        speaker = DeviceSpeaker(sound.open_output, clock, lambda: 0, RATE)
        speaker.begin()
        heard, time_at_device = [], 0
        for begin in range(0, RATE, 2400):
            speaker.write(TONE[begin : begin + 2400] * np.sin(np.arange(begin, begin + 2400) / 20, dtype=np.float32))
            heard.append(ask(sound, 4410))
            time_at_device += 4410
            clock.time += 0.1
        for _ in range(2):
            heard.append(ask(sound, 4410))
            clock.time += 0.1
        clock.time += 1
        assert speaker.played == RATE
        assert speaker.pending == 0
        spectrum = np.abs(np.fft.rfft(np.concatenate(heard)[4410:39690]))
        assert spectrum.argmax() * 44100 / 35280 == pytest.approx(RATE / 20 / (2 * np.pi), abs=2)
        speaker.close()

    def test_what_left_before_a_sink_stalled_was_heard(self, speaker, sound, clock):
        speaker.begin()
        speaker.write(TONE[:4800])
        ask(sound, 2400)
        clock.time += STALLED + 0.1
        speaker.troubles()
        assert speaker.played == 2400
        speaker.close()

    def test_a_stalled_sink_is_left_and_used_again(self, speaker, sound, clock):
        speaker.begin()
        speaker.write(TONE[:4800])
        clock.time += STALLED + 0.1
        speaker.write(TONE)  # does not wait for a sink that takes nothing
        speaker.drain()
        assert (speaker.played, speaker.pending) == (0, 0)
        (trouble,) = speaker.troubles()
        assert trouble.text == f"a device takes no sound. {AGAIN}"
        for _ in range(500):
            if troubles := speaker.troubles():
                break
            time.sleep(0.002)
        assert [trouble.text for trouble in troubles] == ["a device is there again"]
        assert sound.streams[0].closed
        assert not sound.streams[0].callback(100, 0.0).any()  # a late call of the old driver takes nothing
        speaker.begin()
        speaker.write(TONE[:100])
        assert ask(sound, 100).min() == 0.5

    def test_no_loudspeaker_at_all(self, sound, clock):
        sound.there = False
        speaker = DeviceSpeaker(sound.open_output, clock, lambda: 0, RATE, every=0.01)
        speaker.begin()
        speaker.write(TONE)
        speaker.drain()
        assert speaker.stop() == speaker.played == speaker.pending == 0
        assert [trouble.text for trouble in speaker.troubles()] == [
            f"there is no loudspeaker here. Plug one in. {AGAIN}"
        ]
        assert speaker.troubles() == []
        speaker.close()
        speaker.close()

    def test_far_end_follows_what_leaves(self, speaker, sound, clock):
        speaker.begin()
        begin = clock.now()
        for index in range(40):  # times of the driver are a little off, sound is not
            speaker.write(TONE[:240])
            ask(sound, 240, 0.05 + 0.004 * (index % 3 - 1))
            clock.time += 0.01
        pieces = speaker.far()
        assert sum(piece.samples.size for piece in pieces) == 9600
        assert pieces[0].at == pytest.approx((begin + 0.05) * 16000, abs=80)
        assert {b.at - a.at for a, b in pairwise(pieces)} == {160}
        assert speaker.far() == []
        clock.time += 1
        ask(sound, RATE)
        speaker.write(TONE[:240])
        ask(sound, 240)
        (piece,) = speaker.far()
        assert piece.at == pytest.approx((clock.now() + 0.05) * 16000, abs=80)


class TestFile:
    @settings(max_examples=25)
    @given(sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=6))
    def test_it_plays_as_long_as_a_device(self, sizes):
        clock = VirtualClock()
        speaker = FileSpeaker(clock, lambda: round(16000 * clock.now()), RATE)
        speaker.begin()
        for size in sizes:
            speaker.write(TONE[:size])
            assert speaker.pending <= 0.2 * RATE
        speaker.drain()
        assert speaker.played == sum(sizes)
        assert clock.now() == pytest.approx(sum(sizes) / RATE, abs=0.011)
        pieces = speaker.far()
        assert sum(piece.samples.size for piece in pieces) == sum(sizes)
        assert pieces[0].at == 0
        for a, b in pairwise(pieces):
            assert abs(a.at + a.samples.size * 2 / 3 - b.at) <= 1

    def test_the_wav_is_a_recording_of_the_room(self, tmp_path):
        clock = VirtualClock()
        speaker = FileSpeaker(clock, lambda: 0, RATE, tmp_path / "out.wav")
        clock.wait_until(0.5)
        speaker.begin()
        speaker.write(TONE[:4800])
        clock.wait_until(0.55)
        speaker.duck(True)
        clock.wait_until(0.6)
        assert speaker.stop() == 2400 + 120
        speaker.write(TONE)
        clock.wait_until(1.0)
        speaker.close()
        speaker.close()
        with wave.open(str(tmp_path / "out.wav")) as file:
            samples = np.frombuffer(file.readframes(RATE), np.int16) / 32767
        assert samples.size == RATE
        assert not samples[:12000].any()
        np.testing.assert_allclose(samples[12000:13200], 0.5, atol=1e-4)
        np.testing.assert_allclose(samples[13680:14400], 0.5 * DUCKED, atol=1e-4)
        assert not samples[14400 + 120 :].any()

    def test_a_fast_run_is_the_same_every_time(self):
        def run() -> list[tuple[int, int]]:
            clock, log = VirtualClock(), []
            speaker = FileSpeaker(clock, lambda: 0, RATE)
            speaker.begin()

            def write(hold) -> None:
                with hold:
                    for _ in range(5):
                        speaker.write(TONE[:7000])

            thread = threading.Thread(target=write, args=(clock.hold(),))
            with clock.hold():
                thread.start()
                clock.wait_until(1e-9, order=1)  # nobody waits for a moment that is, and both threads work in the first
                for block in range(100):
                    clock.wait_until(block * 0.02, order=1)
                    log.append((speaker.played, speaker.pending))
                    if block == 60:
                        speaker.stop()
            thread.join()
            return log

        first = run()
        assert first[50] == (24000, 4800)
        assert first[-1] == (28920, 0)
        assert all(run() == first for _ in range(5))
