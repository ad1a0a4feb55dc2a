"""espeak-ng called inside the process, which is ten times faster than a process per sentence."""

from __future__ import annotations

import ctypes
from functools import lru_cache

import numpy as np

from .spoken import SILENCE, Spoken, SynthesiserMissing

# The synchronous mode works in the calling thread; the others sleep until their own thread is done.
_SYNCHRONOUS, _PHONEME_EVENTS, _CHARS_UTF8 = 2, 1, 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_SET_RATE, _SET_PITCH, _SET_RANGE = 1, 3, 4


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """espeak-ng, of which a process holds one."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as error:
            raise SynthesiserMissing("espeak-ng is not installed: apt-get install espeak-ng") from error
        # A buffer of 0 ms means the library's own choice.
        self.rate = int(self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS))
        self._pieces: list[bytes] = []
        self._phones: list[tuple[str, float]] = []
        self._callback = _CALLBACK(self._receive)  # kept, or it would be collected while C holds it
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer, count: int, events: ctypes._Pointer) -> int:
        if count > 0 and samples:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_PHONEME:
                name = events[index].name.decode("utf8", "replace")
                self._phones.append((name or SILENCE, events[index].audio_position / 1000))
            index += 1
        return 0

    def speak(self, text: str, voice: str, rate: int, pitch: int, spread: int) -> Spoken:
        """Speak a text.

        Args:
            text: plain.
            voice: accent and variant, such as "en-us+f3".
            rate: words a minute.
            pitch: 0 to 99.
            spread: range of the pitch, 0 to 99.
        """
        self._pieces.clear()
        self._phones.clear()
        self._library.espeak_SetVoiceByName(voice.encode())
        for key, value in ((_SET_RATE, rate), (_SET_PITCH, pitch), (_SET_RANGE, spread)):
            self._library.espeak_SetParameter(key, value, 0)
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _CHARS_UTF8, None, None)
        samples = (np.frombuffer(b"".join(self._pieces), np.int16) / 32768).astype(np.float32)
        return Spoken(samples, self.rate, tuple(self._phones))


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The process's espeak-ng."""
    return Espeak()
