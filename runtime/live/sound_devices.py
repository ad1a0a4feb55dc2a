"""Which microphones and loudspeakers there are, and which one is meant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...models.errors import DeviceError
from .absent import absent
from .portaudio import Host, look_again, portaudio

Kind = Literal["microphone", "loudspeaker"]


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


def sound_devices() -> list[SoundDevice]:
    """All devices there are.

    Raises:
        MissingExtra: sounddevice is not installed.
        DeviceError: PortAudio is not.
    """
    library = portaudio()
    with Host.lock:
        look_again(library)
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
        raise absent(kind, which)
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


def _defaults(systems: Any) -> tuple[int, int]:
    """PortAudio's own default devices: those of the first system that has one."""
    inputs = [system["default_input_device"] for system in systems]
    outputs = [system["default_output_device"] for system in systems]
    return next((i for i in inputs if i >= 0), -1), next((i for i in outputs if i >= 0), -1)
