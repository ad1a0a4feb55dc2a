"""espeak-ng and flite called inside the process, which is ten times faster than a process per sentence.

Both tell when each phone begins; that is what frame-level labels are made of.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

RATE = 16000
SILENCE = "_"


class SynthesiserMissing(RuntimeError):
    """A synthesiser's library is not installed; the message names the package."""


@dataclass(frozen=True)
class Spoken:
    """One synthesised sentence."""

    samples: npt.NDArray[np.float32]
    """[N], in -1..1."""
    rate: int
    phones: tuple[tuple[str, float], ...]
    """(name, start in seconds) in order; the name is the synthesiser's own, "_" for silence."""


def _library(name: str, package: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise SynthesiserMissing(f"{name} is not installed: apt-get install {package}") from error


# --- espeak-ng ---------------------------------------------------------------------------------------------------

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
        self._library = _library("libespeak-ng.so.1", "libespeak-ng1 espeak-ng-data")
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


# --- flite -------------------------------------------------------------------------------------------------------


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class Flite:
    """flite with some of its voices: "rms", "slt", "awb", "kal16"."""

    def __init__(self) -> None:
        # The voices look for symbols of the libraries below them without naming them.
        for name in ("libflite.so.1", "libflite_usenglish.so.1", "libflite_cmulex.so.1"):
            try:
                library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                raise SynthesiserMissing(f"{name} is not installed: apt-get install libflite1") from error
            if name == "libflite.so.1":
                self._library = library
        call, pointer = self._library, ctypes.c_void_p
        call.flite_init()
        for function in ("flite_synth_text", "utt_relation", "relation_head", "item_next"):
            getattr(call, function).restype = pointer
        call.utt_wave.restype = ctypes.POINTER(_Wave)
        call.item_feat_string.restype = ctypes.c_char_p
        call.item_feat_float.restype = ctypes.c_float
        self._voices: dict[str, int] = {}

    def speak(self, text: str, voice: str, stretch: float) -> Spoken:
        """Speak a text.

        Args:
            text: plain.
            voice: one of the four names.
            stretch: 1 is the voice's own tempo, more is slower.
        """
        call, pointer = self._library, ctypes.c_void_p
        handle = pointer(self._voice(voice))
        features = ctypes.cast(handle, ctypes.POINTER(pointer))[1]
        call.feat_set_float(pointer(features), b"duration_stretch", ctypes.c_float(stretch))
        utterance = pointer(call.flite_synth_text(text.encode(), handle))
        wave = call.utt_wave(utterance).contents
        samples = (np.ctypeslib.as_array(wave.samples, (wave.count,)) / 32768).astype(np.float32)
        phones, start = [], 0.0
        item = call.relation_head(pointer(call.utt_relation(utterance, b"Segment")))
        while item:
            name = call.item_feat_string(pointer(item), b"name").decode()
            phones.append((SILENCE if name == "pau" else name, start))
            start = float(call.item_feat_float(pointer(item), b"end"))
            item = call.item_next(pointer(item))
        rate = wave.rate
        call.delete_utterance(utterance)
        return Spoken(samples, rate, tuple(phones))

    def _voice(self, name: str) -> int:
        if name not in self._voices:
            library = _library(f"libflite_cmu_us_{name}.so.1", "libflite1")
            register = getattr(library, f"register_cmu_us_{name}")
            register.restype = ctypes.c_void_p
            self._voices[name] = register(None)
        return self._voices[name]


@lru_cache(maxsize=1)
def espeak() -> Espeak:
    """The process's espeak-ng."""
    return Espeak()


@lru_cache(maxsize=1)
def flite() -> Flite:
    """The process's flite."""
    return Flite()
