"""Microphones and loudspeakers through sounddevice (PortAudio); nothing else imports it.

PortAudio reads the list of devices once. It is read again when a device is opened and no stream is open, because that
ends all streams; so a device that was never there before is found only then.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError, MissingExtra

Kind = Literal["microphone", "loudspeaker"]

OnBlock = Callable[[NDArray[np.float32], float, float], None]
"""Takes from the driver's thread mono samples [n], the seconds since the last of them was in the air, and the seconds
that the driver dropped before them (0: none)."""
Fill = Callable[[int, float], NDArray[np.float32]]
"""Gives the driver's thread n mono samples, the first of which leaves after so many seconds."""

LATENCY = 0.06
"""Seconds of buffer that the driver is asked for: enough for a busy machine, and short enough to stop in 100 ms."""
CHANNELS = 2
"""More are not opened: the other inputs of an interface are seldom connected, and would only dilute the mean."""
BUSY, RATE = -9985, -9997  # PaErrorCode: paDeviceUnavailable, paInvalidSampleRate


class SoundStream(Protocol):
    """An open device."""

    name: str
    rate: float
    """Samples per second that it really runs at."""
    latency: float
    """Seconds between the driver's thread and the air."""

    @property
    def active(self) -> bool:
        """False once the driver has given it up."""
        ...

    def close(self) -> None:
        """Stop at once."""
        ...


OpenInput = Callable[[OnBlock], SoundStream]
OpenOutput = Callable[[int, Fill], SoundStream]
"""With the rate that is wanted; a device that cannot do it runs at its own."""


@dataclass(frozen=True)
class SoundDevice:
    """One line of PortAudio's list."""

    index: int
    name: str
    system: str
    """ALSA, Core Audio, Windows WASAPI, ..."""
    inputs: int
    outputs: int
    rate: int
    default_input: bool
    default_output: bool

    def channels(self, kind: Kind) -> int:
        """How many it has as a microphone or as a loudspeaker; 0 when it is none."""
        return self.inputs if kind == "microphone" else self.outputs

    def is_default(self, kind: Kind) -> bool:
        """Whether it is the one that is used when none is named."""
        return self.default_input if kind == "microphone" else self.default_output


class _Host:
    """PortAudio's state in this process."""

    lock = threading.RLock()
    streams = 0
    fresh = True
    handler: object = None


def sound_devices() -> list[SoundDevice]:
    """All devices there are.

    Raises:
        MissingExtra: sounddevice is not installed.
        DeviceError: PortAudio is not.
    """
    library = _library()
    with _Host.lock:
        _look_again(library)
        systems = library.query_hostapis()
        default_input, default_output = _defaults(systems)
        return [
            SoundDevice(
                entry["index"],
                entry["name"],
                systems[entry["hostapi"]]["name"],
                entry["max_input_channels"],
                entry["max_output_channels"],
                round(entry["default_samplerate"]),
                entry["index"] == default_input,
                entry["index"] == default_output,
            )
            for entry in library.query_devices()
        ]


def find_device(which: str | None, kind: Kind) -> SoundDevice:
    """One device: by index, by name or a part of the name that only one has, or the default.

    Raises:
        DeviceError: there is none, or more than one; the message lists the names.
    """
    return choose_device(sound_devices(), which, kind)


def choose_device(devices: list[SoundDevice], which: str | None, kind: Kind) -> SoundDevice:
    """As `find_device`, of these."""
    able = [device for device in devices if device.channels(kind)]
    listed = ", ".join(f"{device.index} {device.name}" for device in able)
    if not able:
        raise DeviceError(f"there is no {kind} here. Plug one in")
    if which is None:
        default = [
            device for device in able if (device.default_input if kind == "microphone" else device.default_output)
        ]
        return (default or able)[0]
    if which.isdecimal():
        found = [device for device in able if device.index == int(which)]
    else:
        named = [device for device in able if which.lower() in device.name.lower()]
        found = [device for device in named if device.name.lower() == which.lower()] or named
    if len(found) == 1 or (found and len({device.name for device in found}) == 1):
        return found[0]  # the same device seen through several systems: PortAudio lists the preferred one first
    if found:
        raise DeviceError(f"more than one {kind} goes by {which!r}. Choose one of: {listed}")
    raise DeviceError(f"no {kind} goes by {which!r}. Choose one of: {listed}")


def open_input(which: str | None, on_block: OnBlock) -> SoundStream:
    """Open a microphone at its own rate.

    Raises:
        DeviceError: it is not there, busy, or fails.
    """
    library = _library()
    with _Host.lock:
        device = find_device(which, "microphone")
        expected = 0.0

        def callback(data: NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
            nonlocal expected
            # The driver says that it dropped something, not how much; its time stamps do.
            gap = max(time.inputBufferAdcTime - expected, 1 / stream.samplerate) if status.input_overflow else 0.0
            expected = time.inputBufferAdcTime + frames / stream.samplerate
            on_block(data.mean(axis=1, dtype=np.float32), max(0.0, time.currentTime - expected), gap)

        stream = _opened(library.InputStream, device, "microphone", device.rate, min(device.inputs, CHANNELS), callback)
        return _started(stream, device.name)


def open_output(which: str | None, rate: int, fill: Fill) -> SoundStream:
    """Open a loudspeaker, at `rate` if it can.

    Raises:
        DeviceError: it is not there, busy, or fails.
    """
    library = _library()
    with _Host.lock:
        device = find_device(which, "loudspeaker")
        channels = min(device.outputs, CHANNELS)

        def callback(data: NDArray[np.float32], frames: int, time: Any, _: object) -> None:
            ahead = time.outputBufferDacTime - time.currentTime
            # Some drivers say nothing about single blocks.
            data[:] = fill(frames, ahead if ahead > 0 else stream.latency)[:, None]

        with _quiet():
            try:
                library.check_output_settings(device.index, channels, "float32", samplerate=rate)
            except library.PortAudioError as error:
                if error.args[1:2] != (RATE,):
                    raise _refused(error, device, "loudspeaker") from error
                rate = device.rate
        stream = _opened(library.OutputStream, device, "loudspeaker", rate, channels, callback)
        return _started(stream, device.name)


class _Stream:
    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self.name = name
        self.rate: float = stream.samplerate
        self.latency: float = stream.latency

    @property
    def active(self) -> bool:
        return bool(self._stream is not None and self._stream.active)

    def close(self) -> None:
        with _Host.lock:
            if self._stream is not None:
                with _quiet():
                    self._stream.close(ignore_errors=True)  # drops what waits in the driver
                self._stream = None
                _Host.streams -= 1


def _library() -> Any:
    """sounddevice; PortAudio starts when it is first imported."""
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise MissingExtra("sounddevice", "audio", "use a microphone or a loudspeaker") from error
    except OSError as error:  # the wheels for Linux come without PortAudio
        raise DeviceError(
            "PortAudio is not installed; microphones and loudspeakers need it. "
            "Install it: apt install libportaudio2 (Fedora: dnf install portaudio)"
        ) from error
    _silence_alsa()
    return sounddevice


@cache
def _silence_alsa() -> None:
    """Keep libasound from writing to stderr, across whatever is on the screen, each time that it recovers a stream."""
    if sys.platform != "linux":
        return
    handler = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    _Host.handler = handler(lambda *_: None)  # libasound keeps a pointer to it
    with suppress(OSError):  # a PortAudio built without ALSA
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_Host.handler)


def _look_again(library: Any) -> None:
    """Have PortAudio read its list again, unless it has just done so or a stream is open."""
    if not _Host.fresh and not _Host.streams:
        with _quiet():
            library._terminate()
            library._initialize()
    _Host.fresh = False


def _defaults(systems: Any) -> tuple[int, int]:
    """PortAudio's own default devices: those of the first system that has one."""
    inputs = [system["default_input_device"] for system in systems]
    outputs = [system["default_output_device"] for system in systems]
    return next((i for i in inputs if i >= 0), -1), next((i for i in outputs if i >= 0), -1)


def _opened(
    make: Callable[..., Any], device: SoundDevice, kind: Kind, rate: float, channels: int, callback: Callable[..., None]
) -> Any:
    library = _library()
    with _quiet():
        try:
            return make(rate, 0, device.index, channels, "float32", LATENCY, callback=callback)
        except library.PortAudioError as error:
            raise _refused(error, device, kind) from error


def _started(stream: Any, name: str) -> SoundStream:
    _Host.streams += 1
    opened = _Stream(stream, name)
    try:
        with _quiet():
            stream.start()
    except _library().PortAudioError as error:
        opened.close()
        raise DeviceError(f"{name} does not start ({error.args[0]}). Unplug it and plug it in again") from error
    return opened


def _refused(error: Any, device: SoundDevice, kind: Kind) -> DeviceError:
    if error.args[1:2] == (BUSY,):
        return DeviceError(f"{device.name} is in use by another program. Close that program, or choose another {kind}")
    return DeviceError(f"{device.name} cannot be opened ({error.args[0]}). Choose another {kind}: omni-edge devices")


@contextmanager
def _quiet() -> Iterator[None]:
    """PortAudio writes what it tries, and what fails, to stderr from C."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
