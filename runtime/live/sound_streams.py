"""Opening microphones and loudspeakers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.errors import DeviceError
from .portaudio import Host, portaudio, quiet
from .sound_devices import Kind, SoundDevice, find_device

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


def open_input(which: str | None, on_block: OnBlock) -> SoundStream:
    """Open a microphone at its own rate.

    Raises:
        DeviceError: it is not there, busy, or fails.
    """
    library = portaudio()
    with Host.lock:
        device = find_device(which, "microphone")
        expected: float | None = None

        def callback(data: NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
            nonlocal expected
            # The driver says that it dropped something, not how much; its time stamps do.
            gap = 0.0
            if status.input_overflow and expected is not None:  # before the first block there was nothing to drop
                gap = max(time.inputBufferAdcTime - expected, 1 / stream.samplerate)
            expected = time.inputBufferAdcTime + frames / stream.samplerate
            on_block(data.mean(axis=1, dtype=np.float32), max(0.0, time.currentTime - expected), gap)

        stream = _opened(library.InputStream, device, "microphone", device.rate, min(device.inputs, CHANNELS), callback)
        return _started(stream, f"the microphone {device.name}")


def open_output(which: str | None, rate: int, fill: Fill) -> SoundStream:
    """Open a loudspeaker, at `rate` if it can.

    Raises:
        DeviceError: it is not there, busy, or fails.
    """
    library = portaudio()
    with Host.lock:
        device = find_device(which, "loudspeaker")
        channels = min(device.outputs, CHANNELS)

        def callback(data: NDArray[np.float32], frames: int, time: Any, _: object) -> None:
            ahead = time.outputBufferDacTime - time.currentTime
            # Some drivers say nothing about single blocks.
            data[:] = fill(frames, ahead if ahead > 0 else stream.latency)[:, None]

        with quiet():
            try:
                library.check_output_settings(device.index, channels, "float32", samplerate=rate)
            except library.PortAudioError as error:
                if error.args[1:2] != (RATE,):
                    raise _refused(error, device, "loudspeaker") from error
                rate = device.rate
        stream = _opened(library.OutputStream, device, "loudspeaker", rate, channels, callback)
        return _started(stream, f"the loudspeaker {device.name}")


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
        with Host.lock:
            if self._stream is not None:
                with quiet():
                    self._stream.close(ignore_errors=True)  # drops what waits in the driver
                self._stream = None
                Host.streams -= 1


def _opened(
    make: Callable[..., Any], device: SoundDevice, kind: Kind, rate: float, channels: int, callback: Callable[..., None]
) -> Any:
    library = portaudio()
    with quiet():
        try:
            return make(rate, 0, device.index, channels, "float32", LATENCY, callback=callback)
        except library.PortAudioError as error:
            raise _refused(error, device, kind) from error


def _started(stream: Any, name: str) -> SoundStream:
    Host.streams += 1
    opened = _Stream(stream, name)
    try:
        with quiet():
            stream.start()
    except portaudio().PortAudioError as error:
        opened.close()
        raise DeviceError(f"{name} does not start ({error.args[0]}). Unplug it and plug it in again") from error
    return opened


def _refused(error: Any, device: SoundDevice, kind: Kind) -> DeviceError:
    if error.args[1:2] == (BUSY,):
        return DeviceError(f"{device.name} is in use by another program. Close that program, or choose another {kind}")
    return DeviceError(f"{device.name} cannot be opened ({error.args[0]}). Choose another {kind}: omni-edge devices")
