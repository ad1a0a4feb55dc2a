"""flite through ctypes: samples, and when each word and phone sounds."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .spoken import SILENCE, Span, Spoken, SynthesiserMissing

PAUSE = "pau"
"""flite's name for silence."""


@dataclass(frozen=True)
class Pitch:
    """Where a voice's pitch lies and how far it moves, in Hz; None leaves the voice's own."""

    mean: float | None = None
    spread: float | None = None


OWN = Pitch()


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise SynthesiserMissing(f"{name} cannot be loaded: apt-get install flite") from error


class Flite:
    """The synthesiser with its voices "rms", "slt", "awb", "kal16", ...; not safe across threads."""

    def __init__(self) -> None:
        # The voices look for symbols of the two libraries behind the first without naming them.
        self._lib, *self._kept = (_load(f"libflite{part}.so.1") for part in ("", "_usenglish", "_cmulex"))
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float
        for name, result, arguments in (
            ("flite_init", ctypes.c_int, []),
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_wave", ctypes.POINTER(_Wave), [pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("ffeature_string", text, [pointer, text]),
            ("ffeature_float", number, [pointer, text]),
            ("feat_set_float", None, [pointer, text, number]),
            ("feat_remove", ctypes.c_int, [pointer, text]),
            ("delete_utterance", None, [pointer]),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self._lib.flite_init()
        self._voices: dict[str, Any] = {}

    def speak(self, text: str, voice: str, stretch: float = 1.0, pitch: Pitch = OWN) -> Spoken:
        """Say a text.

        Args:
            text: ASCII.
            voice: "slt" for example.
            stretch: 1 is the voice's own tempo, more is slower.
            pitch: only the clustergen voices (slt, rms, awb) follow it closely.
        """
        handle = self._voice(voice)
        settings = {"duration_stretch": stretch, "int_f0_target_mean": pitch.mean, "int_f0_target_stddev": pitch.spread}
        # The features are the second field of a voice.
        features = ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[1]
        for name, value in settings.items():
            if value is None:
                self._lib.feat_remove(features, name.encode())
            else:
                self._lib.feat_set_float(features, name.encode(), value)
        utterance = self._lib.flite_synth_text(text.encode("ascii"), handle)
        try:
            return self._spoken(utterance)
        finally:
            self._lib.delete_utterance(utterance)

    def _spoken(self, utterance: Any) -> Spoken:
        wave = self._lib.utt_wave(utterance).contents
        samples = (np.ctypeslib.as_array(wave.samples, (wave.count,)) / 32768).astype(np.float32)
        # A word starts where the segment before its first one ends.
        words = self._spans(
            utterance, "Word", "R:SylStructure.daughter1.daughter1.R:Segment.p.end",
            "R:SylStructure.daughtern.daughtern.end",
        )  # fmt: skip
        phones = [
            (SILENCE if name == PAUSE else name, start) for name, start, _ in self._spans(utterance, "Segment", "p.end")
        ]
        return Spoken(samples, int(wave.rate), tuple(phones), tuple(words))

    def _voice(self, name: str) -> Any:
        if name not in self._voices:
            register = getattr(_load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
            register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
            self._voices[name] = ctypes.c_void_p(register(None))
        return self._voices[name]

    def _spans(self, utterance: Any, relation: str, start: str, end: str = "end") -> Iterator[Span]:
        item = self._lib.relation_head(self._lib.utt_relation(utterance, relation.encode()))
        while item:
            name = self._lib.ffeature_string(item, b"name").decode()
            yield name, self._feature(item, start), self._feature(item, end)
            item = self._lib.item_next(item)

    def _feature(self, item: Any, path: str) -> float:
        return float(self._lib.ffeature_float(item, path.encode()))


@lru_cache(maxsize=1)
def flite() -> Flite:
    """The process's flite."""
    return Flite()
