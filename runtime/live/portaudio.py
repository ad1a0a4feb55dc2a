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
from typing import Any, TextIO

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
    """PortAudio writes what it tries, and what fails, to stderr from C. While any thread is in this block that goes
    nowhere; what Python writes to sys.stderr arrives."""
    with _Silence.lock:
        _Silence.depth += 1
        if _Silence.depth == 1:
            _Silence.begin()
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.depth -= 1
            if not _Silence.depth:
                _Silence.end()


class _Silence:
    """Of descriptor 2. `kept` is where it led; `ours` stands for `theirs`, Python's stream to it, in the meantime."""

    lock = threading.Lock()
    depth = 0
    kept: int | None = None
    ours: TextIO | None = None
    theirs: TextIO | None = None

    @classmethod
    def begin(cls) -> None:
        try:
            cls.kept = os.dup(2)
        except OSError:  # it is closed: nothing can be written
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        theirs = sys.stderr
        with suppress(AttributeError, OSError, ValueError):  # none, or none with a descriptor
            if theirs.fileno() == 2:
                theirs.flush()
                cls.ours = os.fdopen(
                    cls.kept, "w", buffering=1, encoding=theirs.encoding, errors=theirs.errors, closefd=False
                )
                cls.theirs, sys.stderr = theirs, cls.ours

    @classmethod
    def end(cls) -> None:
        if cls.kept is None:
            return
        if cls.ours is not None and sys.stderr is cls.ours and cls.theirs is not None:
            cls.ours.flush()
            sys.stderr = cls.theirs
        os.dup2(cls.kept, 2)
        os.close(cls.kept)
        cls.kept = cls.ours = cls.theirs = None
