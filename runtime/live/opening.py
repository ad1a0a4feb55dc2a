"""What a user names as microphone, camera or loudspeaker, to the object behind it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ...models.errors import DeviceError
from .camera import DeviceCamera
from .camera_file import FileCamera
from .capture import cameras, find_camera, open_capture
from .clock import Clock, RealClock
from .microphone import DeviceMicrophone
from .microphone_file import FileMicrophone
from .sound_devices import Kind, choose_device, sound_devices
from .sound_streams import open_input, open_output
from .sources import Camera, Microphone, Position, Speaker
from .speaker import DeviceSpeaker
from .speaker_file import FileSpeaker


def open_microphone(which: str | None, clock: Clock) -> Microphone:
    """A file that plays as a microphone, or a device.

    Args:
        which: path of a file; or index or name of a device, which has to be there; or None: the default device, now or
            as soon as there is one.
        clock: what a file is played by. Devices have their own time, so they take only a real one.

    Raises:
        DeviceError: no device goes by this name, PortAudio is not installed, or the clock is a virtual one.
        MissingExtra: sounddevice is not installed.
        MediaError: the file cannot be heard.
    """
    if which is not None and Path(which).is_file():
        return FileMicrophone(Path(which), clock)
    _check_sound(which, clock, "microphone")
    return DeviceMicrophone(partial(open_input, which), clock)


def open_camera(which: str | None, fps: float, position: Position) -> Camera:
    """A file that plays as a camera, or a device.

    Args:
        which: path of a file; or index or name of a device, which has to be there; or None: the first camera, now or
            as soon as there is one.
        fps: frames a second.
        position: the microphone's.

    Raises:
        DeviceError: no device goes by this name.
        MissingExtra: opencv-python is not installed.
        MediaError: the file cannot be seen.
    """
    if which is not None and Path(which).is_file():
        return FileCamera(Path(which), fps, position)
    # A device may be absent now and come later; a library that is absent stays so.
    cameras()  # says at once when it cannot work here at all
    if which is not None:
        find_camera(which)
    return DeviceCamera(partial(open_capture, which), fps, position)


def open_speaker(which: str | None, clock: Clock, position: Position, rate: int) -> Speaker:
    """A loudspeaker, a wav file in its place, or nothing that plays as long as a loudspeaker would.

    Args:
        which: "none"; or the path of a file to write, which ends in .wav; or index or name of a device, which has to
            be there; or None: the default device, now or as soon as there is one.
        clock: what a file is played by. Devices have their own time, so they take only a real one.
        position: the microphone's.
        rate: samples per second of what will be written.

    Raises:
        DeviceError: no device goes by this name, PortAudio is not installed, or the clock is a virtual one.
        MissingExtra: sounddevice is not installed.
        OmniError: the file cannot be written.
    """
    if which == "none":
        return FileSpeaker(clock, position, rate)
    if which is not None and which.lower().endswith(".wav"):
        return FileSpeaker(clock, position, rate, Path(which))
    _check_sound(which, clock, "loudspeaker")
    return DeviceSpeaker(partial(open_output, which), clock, position, rate)


def _check_sound(which: str | None, clock: Clock, kind: Kind) -> None:
    if not isinstance(clock, RealClock):
        raise DeviceError(f"a {kind} cannot run faster than real time. Leave --fast out, or give a file in its place")
    devices = sound_devices()  # says at once when it cannot work here at all
    if which is not None:
        choose_device(devices, which, kind)
