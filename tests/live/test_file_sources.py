"""Files as microphone and camera: all of it, once, on one clock."""

from __future__ import annotations

import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_edge.models.bundle import open_bundle
from omni_edge.models.errors import MediaError
from omni_edge.models.store import NANO
from omni_edge.runtime.clip import read_clip
from omni_edge.runtime.live.camera_file import FileCamera
from omni_edge.runtime.live.clock import RealClock, VirtualClock
from omni_edge.runtime.live.microphone_file import BLOCK, FileMicrophone
from omni_edge.runtime.live.recent import Frames
from omni_edge.runtime.live.resampling import Resampler
from omni_edge.runtime.pixels import clip_size, fit_frame

RATE = 16000


def heard(microphone, reads, timeout=1.0):
    return [event for _ in range(reads) for event in microphone.read(timeout)]


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([8000, 16000, 44100, 48000]),
    size=st.integers(2000, 30000),
    timeouts=st.lists(st.floats(0.001, 0.3), min_size=1, max_size=5),
)
def test_every_sample_of_a_file_once_then_silence(kit, tmp_path, rate, size, timeouts):
    samples = np.random.default_rng(size).uniform(-0.3, 0.3, size).astype(np.float32)
    clock = VirtualClock()
    microphone = FileMicrophone(kit.write_sound(tmp_path / "mic.mkv", samples, rate), clock)
    events = []
    while not microphone.ended:
        events += microphone.read(timeouts[len(events) % len(timeouts)])
    whole = Resampler(rate, 16000)(samples)
    given_out = kit.joined(events)
    assert microphone.position() >= given_out.size > whole.size - BLOCK
    np.testing.assert_array_equal(given_out[: whole.size], whole)
    assert not given_out[whole.size :].any()
    silence = heard(microphone, 50)
    assert kit.joined(silence, given_out.size).size == 50 * BLOCK
    assert not kit.joined(silence, given_out.size).any()
    assert microphone.ended
    assert microphone.lost == 0
    assert not kit.told(events)


def test_stereo_is_averaged(kit, tmp_path):
    left = np.full(3200, 0.5, np.float32)
    path = kit.write_sound(tmp_path / "mic.wav", np.stack([left, -0.25 * left]), 16000)
    np.testing.assert_array_equal(kit.joined(heard(FileMicrophone(path, VirtualClock()), 10)), 0.375 * left)


def test_real_time_is_real(kit, tmp_path):
    path = kit.write_sound(tmp_path / "mic.wav", np.ones(16000, np.float32) / 2, 16000)
    clock = RealClock()
    microphone = FileMicrophone(path, clock)
    events = microphone.read(0.001)
    assert not events
    while clock.now() < 0.2:
        events += microphone.read(0.5)
    assert kit.joined(events).size <= clock.now() * 16000
    time.sleep(0.1)  # a reader that comes late gets all that it missed
    events += microphone.read(0)
    assert abs(kit.joined(events).size - clock.now() * 16000) < 2 * BLOCK


def test_a_file_that_is_damaged_midway_ends_there_with_a_word(kit, tmp_path):
    samples = np.full(80000, 0.5, np.float32)
    samples[50000:] = np.nan
    microphone = FileMicrophone(kit.write_sound(tmp_path / "mic.mkv", samples, 16000), VirtualClock())
    events = heard(microphone, 400)
    assert microphone.ended
    (text,) = kit.told(events)
    assert "holds samples that are not numbers" in text
    sound = kit.joined(events)
    assert sound.size == 400 * BLOCK
    assert 16000 < np.count_nonzero(sound) <= 50000


def test_what_cannot_be_heard_is_refused_at_once(kit, tmp_path):
    with pytest.raises(MediaError, match="does not exist"):
        FileMicrophone(tmp_path / "none.wav", VirtualClock())
    path = kit.write_video(tmp_path / "mute.mkv", [90] * 4, 4)
    with pytest.raises(MediaError, match="has no sound track"):
        FileMicrophone(path, VirtualClock())
    with pytest.raises(MediaError, match="has no video track"):
        FileCamera(kit.write_sound(tmp_path / "mic.mkv", np.ones(800, np.float32), 8000), 2, lambda: 0)


def test_nothing_comes_after_closing(kit, tmp_path):
    microphone = FileMicrophone(kit.write_sound(tmp_path / "mic.wav", np.ones(800, np.float32), 8000), VirtualClock())
    camera = FileCamera(kit.write_video(tmp_path / "cam.mkv", [90] * 9, 3), 2, microphone.position)
    for source in (microphone, camera):
        source.close()
        source.close()
    assert microphone.read(0.1) == camera.read() == []


class Position:
    """The microphone's count, as the test wants it."""

    def __init__(self) -> None:
        self.now = 4800

    def __call__(self) -> int:
        return self.now


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([Fraction(1), Fraction(10), Fraction(30000, 1001)]),
    count=st.integers(2, 20),
    fps=st.sampled_from([0.5, 2.0, 7.0]),
    steps=st.lists(st.integers(1, 20000), min_size=1, max_size=6),
)
def test_a_camera_gives_what_a_viewer_would_see(kit, tmp_path, rate, count, fps, steps):
    values = [20 + 20 * (index % 11) for index in range(count)]
    position = Position()
    camera = FileCamera(kit.write_video(tmp_path / "cam.mkv", values, rate), fps, position)
    frames = []
    for turn in range(40):
        frames += kit.seen(camera.read())
        position.now += steps[turn % len(steps)]
    frames += kit.seen(camera.read())
    end = min(count / rate, Fraction(position.now, 16000) + Fraction(1, 10**9))
    moments = [Fraction(k) / Fraction(fps) for k in range(10000) if Fraction(k) / Fraction(fps) < end]
    assert [frame.at for frame in frames] == [round(float(moment * 16000)) for moment in moments]
    for frame, moment in zip(frames, moments, strict=True):
        # Matroska keeps whole milliseconds: a frame on the boundary may be the one before.
        index = moment * rate
        shown = {values[min(int(index + margin), count - 1)] for margin in (-rate / 900, 0, rate / 900)}
        assert min(abs(int(frame.frame.mean()) - value) for value in shown) <= 8
        assert frame.frame.shape == (32, 48, 3)


@pytest.fixture(scope="module")
def vision():
    return open_bundle(NANO).manifest.vision


def watched(kit, path, vision, seconds):
    """What a turn of so many seconds shows the model, as the model sees it."""
    position, frames = Position(), Frames(vision.video_fps)
    camera = FileCamera(path, vision.video_fps, position)
    frames.begin(0)
    shown = []
    for now in range(0, round(seconds * RATE), 100):
        position.now = now
        for each in kit.seen(camera.read()):
            frames.see(each)
        shown += frames.due(now + 1)
    size = clip_size(len(shown), *shown[0].shape[:2], vision)
    return np.stack([fit_frame(frame, *size) for frame in shown])


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patches=st.integers(1, 8), suffix=st.sampled_from([".mkv", ".mp4"]))
def test_a_clip_at_the_models_rate_is_seen_as_it_is_read(kit, tmp_path, vision, patches, suffix):
    values = [20 + 13 * index for index in range(vision.temporal_patch * patches)]
    clip = kit.write_video(tmp_path / f"cam{suffix}", values, round(vision.video_fps))
    read = read_clip(clip, vision)
    assert read.fps == vision.video_fps
    np.testing.assert_array_equal(read.frames, watched(kit, clip, vision, read.duration))


def test_of_a_faster_clip_a_camera_cannot_know_the_last_frame(kit, tmp_path, vision):
    clip = kit.write_video(tmp_path / "cam.mkv", list(range(20, 220, 10)), 10)
    levels = [frames.mean(axis=(1, 2, 3)) for frames in (read_clip(clip, vision).frames, watched(kit, clip, vision, 2))]
    np.testing.assert_allclose(levels[0], [20, 80, 150, 210], atol=4)  # frames 0, 6, 13 and 19
    np.testing.assert_allclose(levels[1], [20, 70, 120, 170], atol=4)  # those of every half second


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_a_picture_is_a_camera_that_shows_it(kit, tmp_path, suffix):
    picture = np.full((30, 40, 3), 120, np.uint8)
    picture[:, 20:] = 60
    path = tmp_path / f"still{suffix}"
    Image.fromarray(picture).save(path)
    position = Position()
    camera = FileCamera(path, 2, position)
    frames = kit.seen(camera.read())
    position.now = 600 * RATE
    frames += kit.seen(camera.read())
    assert [frame.at for frame in frames] == list(range(0, 600 * RATE + 1, RATE // 2))
    for frame in (frames[0], frames[-1]):
        np.testing.assert_allclose(frame.frame, picture, atol=8)
    camera.close()
    position.now += RATE
    assert camera.read() == []


def test_a_black_picture_is_said_once(kit, tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "still.png")
    position = Position()
    position.now = 60 * RATE
    (text,) = kit.told(FileCamera(tmp_path / "still.png", 2, position).read())
    assert "gives black pictures" in text


def test_pictures_that_cannot_be_shown(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "whole.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.png").write_text("no picture")
    Image.new("RGB", (1000, 4)).save(tmp_path / "strip.png")
    for name, says in (
        ("torn", "is damaged or too large"),
        ("empty", "is empty"),
        ("words", "is damaged, or not a sound or video file"),
        ("strip", "at most 200 times"),
    ):
        with pytest.raises(MediaError, match=says):
            FileCamera(tmp_path / f"{name}.png", 2, Position())


def test_black_frames_of_a_file(kit, tmp_path):
    position = Position()
    camera = FileCamera(kit.write_video(tmp_path / "cam.mkv", [0] * 20, 2), 2, position)
    position.now += 160000
    events = camera.read()
    assert len(kit.seen(events)) == 20
    assert len(kit.told(events)) == 1


@pytest.mark.slow
def test_an_hour_without_drift(kit, tmp_path):
    """Every minute there is a click, and from that very moment a white picture for three seconds."""
    minutes, rate = 60, 8000
    sound = np.zeros(3600 * rate, np.float32)
    sound[60 * rate :: 60 * rate] = 0.9
    light = [200 if second >= 60 and second % 60 < 3 else 40 for second in range(3600)]
    clock = VirtualClock()
    microphone = FileMicrophone(kit.write_sound(tmp_path / "mic.wav", sound, rate), clock)
    camera = FileCamera(kit.write_video(tmp_path / "cam.mkv", light, 1), 2, microphone.position)
    clicks, lights, expected, before = [], [], 0, 40
    while not microphone.ended:
        for event in microphone.read(1):
            assert event.start == expected
            expected += event.samples.size
            if event.samples.max() > 0.5 and event.start > (clicks or [0])[-1] + RATE:  # its top may be cut in two
                clicks.append(event.start + int(event.samples.argmax()))
        for frame in kit.seen(camera.read()):
            value = frame.frame.mean()
            if value > 120 > before:
                lights.append(frame.at)
            before = value
    assert expected == 3600 * RATE
    assert len(clicks) == len(lights) == minutes - 1
    assert max(abs(click - light) for click, light in zip(clicks, lights, strict=True)) < 0.04 * RATE
