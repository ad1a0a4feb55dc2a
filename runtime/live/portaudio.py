"""sounddevice, and PortAudio behind it; nothing else imports it.

PortAudio reads the list of devices once. It is read again when it is wanted and no stream is open, because that ends
all streams; so a device that was never there before is found only then.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from ...models.errors import DeviceError, MissingExtra


class Host:
    """PortAudio's state in this process."""

    lock = threading.RLock()
    streams = 0
    fresh = True
    handler: object = None


def portaudio() -> Any:
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
    Host.handler = handler(lambda *_: None)  # libasound keeps a pointer to it
    with suppress(OSError):  # a PortAudio built without ALSA
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(Host.handler)


def look_again(library: Any) -> None:
    """Have PortAudio read its list again, unless it has just done so or a stream is open."""
    if not Host.fresh and not Host.streams:
        with quiet():
            library._terminate()
            library._initialize()
    Host.fresh = False


@contextmanager
def quiet() -> Iterator[None]:
    """PortAudio writes what it tries, and what fails, to stderr from C. Nothing reaches stderr in this block."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
