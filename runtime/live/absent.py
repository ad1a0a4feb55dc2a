"""What is said where there is no device of a kind at all."""

from __future__ import annotations

from ...models.errors import DeviceError


def absent(kind: str, which: str | None) -> DeviceError:
    """The error for a device that was asked for.

    Args:
        kind: "microphone", "loudspeaker" or "camera".
        which: what was asked for, which may have been meant as the path of a file; None: any.
    """
    if which is None:
        return DeviceError(f"there is no {kind} here. Plug one in")
    return DeviceError(f"there is no file {which!r}, and no {kind} here. Check the path, or plug one in")
