"""Cameras through OpenCV; nothing else imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError, MissingExtra
from .absent import absent

PROBED = 4
"""Indices that are tried where the system has no list of cameras."""


class Capture(Protocol):
    """An open camera."""

    name: str

    def grab(self) -> bool:
        """Wait for the next frame. False: there is none any more."""
        ...

    def retrieve(self) -> NDArray[np.uint8] | None:
        """The frame that was grabbed, RGB [h, w, 3]; None when it was damaged on the way."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


OpenCapture = Callable[[], Capture]


@dataclass(frozen=True)
class CameraDevice:
    """One camera."""

    index: int
    name: str


def cameras() -> list[CameraDevice]:
    """All cameras there are; on Linux from the kernel's list, elsewhere by opening the first few.

    Raises:
        MissingExtra: opencv-python is not installed.
    """
    library = _library()
    if sys.platform == "linux":
        return _listed(Path("/sys/class/video4linux"))
    found = []
    for index in range(PROBED):
        capture = library.VideoCapture(index)
        if capture.isOpened():
            found.append(CameraDevice(index, f"camera {index}"))
        capture.release()
    return found


def find_camera(which: str | None) -> CameraDevice:
    """One camera: by index, by a part of its name that only one has, or the first.

    Raises:
        DeviceError: there is none, or more than one; the message lists the names.
    """
    able = cameras()
    if not able:
        raise absent("camera", which)
    if which is None:
        return able[0]
    if which.isdecimal():
        found = [camera for camera in able if camera.index == int(which)]
    else:
        found = [camera for camera in able if which.lower() in camera.name.lower()]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{camera.index} {camera.name}" for camera in able)
    raise DeviceError(f"{'more than one' if found else 'no'} camera goes by {which!r}. Choose one of: {listed}")


def open_capture(which: str | None) -> Capture:
    """Open a camera as it comes: its own size and rate.

    Raises:
        DeviceError: it is not there, or in use.
    """
    library = _library()
    camera = find_camera(which)
    capture = library.VideoCapture(camera.index)
    if not capture.isOpened():
        raise DeviceError(f"{camera.name} cannot be opened. Close the program that uses it, or choose another camera")
    capture.set(library.CAP_PROP_BUFFERSIZE, 1)  # old frames are of no use
    return _Opened(library, capture, camera.name)


class _Opened:
    def __init__(self, library: Any, capture: Any, name: str) -> None:
        self._library = library
        self._capture = capture
        self.name = name

    def grab(self) -> bool:
        return self._capture.grab()

    def retrieve(self) -> NDArray[np.uint8] | None:
        whole, frame = self._capture.retrieve()
        return self._library.cvtColor(frame, self._library.COLOR_BGR2RGB) if whole else None

    def close(self) -> None:
        self._capture.release()


def _listed(folder: Path) -> list[CameraDevice]:
    """Nodes that capture: a camera has others, for its metadata, whose own index is not 0."""
    found = []
    for node in sorted(folder.glob("video*"), key=lambda node: int(node.name[5:])):
        if (node / "index").read_text().strip() == "0":
            found.append(CameraDevice(int(node.name[5:]), (node / "name").read_text().strip()))
    return found


def _library() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtra("opencv-python", "camera", "use a camera") from error
    except ImportError as error:  # the wheels for Linux come without libGL
        raise DeviceError(
            f"OpenCV does not load ({error}). Install what it needs: apt install libgl1 libglib2.0-0"
        ) from error
    logging = cv2.utils.logging
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it writes to stderr, across whatever is on the screen
    return cv2
