"""omni-edge devices: what a live conversation can hear, see and speak through, and how loud it hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from ..models.errors import DeviceError, MissingExtra
from .tables import Table, print_tables

if TYPE_CHECKING:
    from ..runtime.live.capture import CameraDevice
    from ..runtime.live.sound_devices import SoundDevice


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("devices")(devices)


def devices(
    mic: Annotated[str | None, typer.Option(metavar="NAME|INDEX|FILE", help="For --level; else the default.")] = None,
    level: Annotated[bool, typer.Option("--level", help="Show how loud the microphone hears, until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(min=0, help="Of --level; 0 is until Ctrl-C.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List microphones, loudspeakers and cameras; the default ones are marked with *.

    Needs pip install "omni-edge[audio,camera]".
    """
    if level:
        from .level import show_level

        show_level(mic, seconds, as_json=as_json)
        return
    sound, sound_notice = _sound()
    seen, camera_notice = _cameras()
    for notice in (sound_notice, camera_notice):
        if notice:
            typer.echo(f"notice: {notice}", err=True)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(_as_data(sound, seen)), indent=2))
        return
    print_tables(_tables(sound, seen))
    kinds = {
        "microphone": bool(sound_notice) or any(device.inputs for device in sound),
        "loudspeaker": bool(sound_notice) or any(device.outputs for device in sound),
        "camera": bool(camera_notice or seen),
    }
    for kind, known in kinds.items():
        if not known:
            typer.echo(f"notice: there is no {kind} here", err=True)


def _sound() -> tuple[list[SoundDevice], str]:
    """Devices, or why they are not known."""
    from ..runtime.live.sound_devices import sound_devices

    try:
        return sound_devices(), ""
    except (DeviceError, MissingExtra) as error:
        return [], str(error)


def _cameras() -> tuple[list[CameraDevice], str]:
    from ..runtime.live.capture import cameras

    try:
        return cameras(), ""
    except (DeviceError, MissingExtra) as error:
        return [], str(error)


def _as_data(sound: list[SoundDevice], seen: list[CameraDevice]) -> dict[str, list[dict[str, Any]]]:
    return {
        "microphones": [
            {**_named(device), "channels": device.inputs, "default": device.default_input}
            for device in sound
            if device.inputs
        ],
        "loudspeakers": [
            {**_named(device), "channels": device.outputs, "default": device.default_output}
            for device in sound
            if device.outputs
        ],
        "cameras": [{"index": camera.index, "name": camera.name, "default": camera is seen[0]} for camera in seen],
    }


def _named(device: SoundDevice) -> dict[str, Any]:
    return {"index": device.index, "name": device.name, "system": device.system, "rate": device.rate}


def _tables(sound: list[SoundDevice], seen: list[CameraDevice]) -> list[Table]:
    tables = []
    for kind, rows in _as_data(sound, seen).items():
        columns = ("", "index", "name") if kind == "cameras" else ("", "index", "name", "system", "rate", "channels")
        cells = [("*" if row["default"] else "", *(str(row[column]) for column in columns[1:])) for row in rows]
        if cells:
            tables.append(Table(kind, columns, tuple(cells)))
    return tables
