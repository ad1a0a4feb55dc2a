"""Files to play, a clock to turn by hand, and devices that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from omni_edge.models.errors import DeviceError
from omni_edge.runtime.live.sources import Heard, Seen, Trouble


class HandClock:
    """Time that passes when told to, and while somebody waits for it."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wait_until(self, when: float, order: int = 0) -> None:
        self.time = max(self.time, when)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


class FakeStream:
    """An open sound device; the test is its driver."""

    name = "a device"

    def __init__(self, callback: Callable[..., Any], rate: float) -> None:
        self.callback = callback
        self.rate = rate
        self.latency = 0.03
        self.active = True
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Sound:
    """Opens fake devices, as many as are there."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.there = True
        self.streams: list[FakeStream] = []

    def open_input(self, callback: Callable[..., Any]) -> FakeStream:
        if not self.there:
            raise DeviceError("there is no microphone here. Plug one in")
        self.streams.append(FakeStream(callback, self.rate))
        return self.streams[-1]

    def open_output(self, wanted: int, callback: Callable[..., Any]) -> FakeStream:
        if not self.there:
            raise DeviceError("there is no loudspeaker here. Plug one in")
        self.streams.append(FakeStream(callback, self.rate or wanted))
        return self.streams[-1]


def joined(events: list[Any], start: int = 0) -> np.ndarray:
    """The samples of all Heard, which have to follow each other."""
    pieces = [np.zeros(0, np.float32)]
    for event in events:
        if isinstance(event, Heard):
            assert event.start == start
            assert event.samples.dtype == np.float32
            assert event.samples.size > 0
            start += event.samples.size
            pieces.append(event.samples)
    return np.concatenate(pieces)


def told(events: list[Any]) -> list[str]:
    return [event.text for event in events if isinstance(event, Trouble)]


def seen(events: list[Any]) -> list[Seen]:
    return [event for event in events if isinstance(event, Seen)]


def write_sound(path: Path, samples: np.ndarray, rate: int) -> Path:
    """A file that keeps float samples as they are: [n], or [channels, n]."""
    planes = np.atleast_2d(samples)
    with av.open(path, "w") as container:
        stream = container.add_stream("pcm_f32le", rate=rate)
        stream.layout = "stereo" if len(planes) == 2 else "mono"
        for begin in range(0, planes.shape[1], rate):
            part = np.ascontiguousarray(planes[:, begin : begin + rate].T.reshape(1, -1), np.float32)
            frame = av.AudioFrame.from_ndarray(part, format="flt", layout=stream.layout.name)
            frame.rate, frame.pts = rate, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_video(path: Path, values: list[int], fps: Any) -> Path:
    """Frames of one grey value each."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for value in values:
            pixels = np.full((32, 48, 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def kit() -> SimpleNamespace:
    """The above, for tests: they cannot import this file."""
    return SimpleNamespace(
        HandClock=HandClock,
        Sound=Sound,
        joined=joined,
        told=told,
        seen=seen,
        write_sound=write_sound,
        write_video=write_video,
    )
