"""A camera on a device that comes, goes, hangs and is covered."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from omni_edge.models.errors import DeviceError
from omni_edge.runtime.live.camera import DeviceCamera

AGAIN = "Going on without; it is used again as soon as it is there"


class FakeCapture:
    """Gives a frame each time that the test lets it."""

    name = "a camera"

    def __init__(self) -> None:
        self.frames = threading.Semaphore(0)
        self.value = 90
        self.there = self.present = True
        self.opened = self.closed = 0

    def open(self) -> FakeCapture:
        if not self.present:
            raise DeviceError("there is no camera here. Plug one in")
        self.there = True
        self.opened += 1
        return self

    def grab(self) -> bool:
        return self.there and self.frames.acquire(timeout=0.05)

    def retrieve(self) -> np.ndarray:
        return np.full((4, 6, 3), self.value, np.uint8)

    def close(self) -> None:
        self.closed += 1


class Position:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def capture():
    return FakeCapture()


@pytest.fixture
def position():
    return Position()


@pytest.fixture
def camera(capture, position, monkeypatch):
    monkeypatch.setattr("omni_edge.runtime.live.camera.TRIES", 3)
    opened = DeviceCamera(capture.open, 2, position, every=0.01)
    yield opened
    opened.close()


def wait(condition) -> None:
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("it did not happen")


def shoot(camera, capture) -> None:
    """One frame, all the way to where `read` finds it."""
    capture.frames.release()
    wait(lambda: camera._newest is not None)


def test_frames_come_at_the_set_rate_with_their_moment(kit, camera, capture, position):
    frames = []
    for tick in range(40):  # a tenth of a second each
        position.now = 1600 * tick
        capture.value = 50 + tick
        capture.frames.release()
        time.sleep(0.005)
        wait(lambda: capture.frames._value == 0)
        time.sleep(0.005)
        frames += kit.seen(camera.read())
    assert len(frames) == 8
    for frame in frames:
        assert frame.frame[0, 0].tolist() == [50 + frame.at // 1600] * 3
    assert all(b.at > a.at for a, b in pairwise(frames))


def test_unplugged_and_back(kit, camera, capture, position):
    shoot(camera, capture)
    assert len(kit.seen(camera.read())) == 1
    capture.there = capture.present = False
    wait(lambda: capture.closed == 1 and camera._troubles)
    assert kit.told(camera.read()) == [f"a camera is gone. {AGAIN}"]
    time.sleep(0.05)
    position.now += 80000
    assert camera.read() == []
    capture.present = True
    wait(lambda: capture.opened == 2 and camera._troubles)
    assert kit.told(camera.read()) == ["a camera is there again"]
    shoot(camera, capture)
    assert len(kit.seen(camera.read())) == 1


def test_none_at_the_start(kit, capture, position):
    capture.present = False
    camera = DeviceCamera(capture.open, 2, position, every=0.01)
    wait(lambda: camera._troubles)
    assert kit.told(camera.read()) == [f"there is no camera here. Plug one in. {AGAIN}"]
    time.sleep(0.05)
    assert camera.read() == []
    camera.close()
    camera.close()


def test_black_frames_are_said_once(kit, camera, capture, position):
    capture.value = 3
    events = []
    for _ in range(12):
        position.now += 8000
        shoot(camera, capture)
        events += camera.read()
    assert len(kit.seen(events)) == 12
    assert kit.told(events) == ["a camera gives black pictures. Check that it is not covered or in use elsewhere"]


def test_a_driver_that_hangs_is_mentioned_once(kit, position):
    hanging, capture = threading.Event(), FakeCapture()
    capture.grab = lambda: not hanging.wait(5)
    camera = DeviceCamera(capture.open, 2, position)
    wait(lambda: capture.opened)
    time.sleep(0.02)
    position.now += 5 * 16000
    assert kit.told(camera.read()) == ["a camera gives no pictures any more. Going on without"]
    assert camera.read() == []
    hanging.set()
    camera.close()
