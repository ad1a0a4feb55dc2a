"""The part that speaks to OpenCV, on a video that OpenCV opens as it opens a camera."""

from __future__ import annotations

import time
from pathlib import Path

import av
import numpy as np
import pytest

from omni_edge.models.errors import DeviceError
from omni_edge.runtime.live import capture
from omni_edge.runtime.live.camera import DeviceCamera

cv2 = pytest.importorskip("cv2", exc_type=ImportError)
RED = (200, 30, 30)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        pixels = np.broadcast_to(np.array(RED, np.uint8), (48, 64, 3))
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode(None))
    return path


class Files:
    """OpenCV, but for the cameras, which are files."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def __getattr__(self, name: str) -> object:
        return getattr(cv2, name)

    def VideoCapture(self, _: int) -> object:  # noqa: N802
        return cv2.VideoCapture(self._path)


@pytest.fixture
def camera(monkeypatch, red):
    monkeypatch.setattr(capture, "_library", lambda: Files(red))
    monkeypatch.setattr(capture, "cameras", lambda: [capture.CameraDevice(0, "Red Camera")])


@pytest.mark.usefixtures("camera")
def test_frames_are_rgb():
    opened = capture.open_capture("red")
    assert opened.name == "Red Camera"
    for _ in range(10):
        assert opened.grab()
        frame = opened.retrieve()
        assert (frame.shape, frame.dtype) == ((48, 64, 3), np.uint8)
        np.testing.assert_allclose(frame.reshape(-1, 3).mean(axis=0), RED, atol=8)
    assert not opened.grab()
    opened.close()


@pytest.mark.usefixtures("camera")
def test_a_camera_that_ends_is_lost_and_opened_again(kit):
    seen = DeviceCamera(lambda: capture.open_capture(None), 2, lambda: 0, every=0.01)
    events = []
    for _ in range(500):
        events += seen.read()
        if len(kit.told(events)) >= 2:
            break
        time.sleep(0.01)
    seen.close()
    assert kit.told(events)[0].startswith("Red Camera is gone")
    assert kit.told(events)[1] == "Red Camera is there again"
    np.testing.assert_allclose(kit.seen(events)[0].frame[20, 20], RED, atol=8)


@pytest.mark.usefixtures("camera")
def test_a_camera_in_use(red):
    red.unlink()
    with pytest.raises(DeviceError, match=r"Red Camera cannot be opened\. Close the program that uses it"):
        capture.open_capture(None)


def test_the_kernels_list(tmp_path):
    for node, index, name in (("video10", 0, "Desk"), ("video2", 1, "USB Camera"), ("video0", 0, "USB Camera")):
        (tmp_path / node).mkdir()
        (tmp_path / node / "index").write_text(f"{index}\n")
        (tmp_path / node / "name").write_text(f"{name}\n")
    assert capture._listed(tmp_path) == [capture.CameraDevice(0, "USB Camera"), capture.CameraDevice(10, "Desk")]
    assert capture._listed(tmp_path / "none") == []


def test_the_real_library_loads_and_is_silent(capfd):
    assert isinstance(capture.cameras(), list)
    assert capfd.readouterr() == ("", "")
