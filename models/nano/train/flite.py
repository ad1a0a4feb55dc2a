"""flite's clustergen voices through ctypes: samples, and when each word and phone sounds."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Span = tuple[str, float, float]  # what sounds, from when, until when (seconds)


class FliteMissing(RuntimeError):
    """flite's shared libraries are not installed."""


@dataclass(frozen=True)
class Spoken:
    """What flite said: int16 [samples] at `rate` Hz, and the spans of its words and phones (pauses are "pau")."""

    samples: npt.NDArray[np.int16]
    rate: int
    words: tuple[Span, ...]
    phones: tuple[Span, ...]


class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("rate", ctypes.c_int),
        ("count", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


def _load(name: str) -> ctypes.CDLL:
    path = ctypes.util.find_library(name) or f"lib{name}.so.1"
    try:
        return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise FliteMissing(f"{path} cannot be loaded: install flite (apt-get install flite libflite1)") from error


class Flite:
    """The synthesiser. Voices are loaded when they are first used; not safe across threads."""

    def __init__(self) -> None:
        self._lib = _load("flite")
        self._lib.flite_init()
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        for name, result, arguments in (
            ("flite_synth_text", pointer, [text, pointer]),
            ("utt_wave", ctypes.POINTER(_Wave), [pointer]),
            ("utt_relation", pointer, [pointer, text]),
            ("relation_head", pointer, [pointer]),
            ("item_next", pointer, [pointer]),
            ("ffeature_string", text, [pointer, text]),
            ("ffeature_float", ctypes.c_float, [pointer, text]),
            ("delete_utterance", None, [pointer]),
        ):
            function = getattr(self._lib, name)
            function.restype, function.argtypes = result, arguments
        self._voices: dict[str, Any] = {}

    def synthesize(self, text: str, voice: str) -> Spoken:
        """Say a text.

        Args:
            text: ASCII.
            voice: library name of a voice, `cmu_us_slt` for example.
        """
        utterance = self._lib.flite_synth_text(text.encode("ascii"), self._voice(voice))
        try:
            wave = self._lib.utt_wave(utterance).contents
            samples = np.ctypeslib.as_array(wave.samples, (wave.count,)).copy()
            # A word starts where the segment before its first one ends.
            words = self._spans(
                utterance, "Word", "R:SylStructure.daughter1.daughter1.R:Segment.p.end",
                "R:SylStructure.daughtern.daughtern.end",
            )  # fmt: skip
            phones = self._spans(utterance, "Segment", "p.end", "end")
            return Spoken(samples, int(wave.rate), tuple(words), tuple(phones))
        finally:
            self._lib.delete_utterance(utterance)

    def _voice(self, name: str) -> Any:
        if name not in self._voices:
            register = getattr(_load(f"flite_{name}"), f"register_{name}")
            register.restype, register.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
            self._voices[name] = register(None)
        return self._voices[name]

    def _spans(self, utterance: Any, relation: str, start: str, end: str) -> Iterator[Span]:
        item = self._lib.relation_head(self._lib.utt_relation(utterance, relation.encode()))
        while item:
            name = self._lib.ffeature_string(item, b"name").decode()
            yield name, self._feature(item, start), self._feature(item, end)
            item = self._lib.item_next(item)

    def _feature(self, item: Any, path: str) -> float:
        return float(self._lib.ffeature_float(item, path.encode()))
