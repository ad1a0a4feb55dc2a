"""What every synthesiser gives: samples, and when each phone and word sounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import DeviceError

SILENCE = "_"
Span = tuple[str, float, float]
"""What sounds, from when, until when (seconds)."""


class SynthesiserMissing(DeviceError):
    """A synthesiser is not installed; the message names the package."""


@dataclass(frozen=True)
class Spoken:
    """One synthesised sentence."""

    samples: npt.NDArray[np.float32]
    """[N], in -1..1."""
    rate: int
    phones: tuple[tuple[str, float], ...]
    """(name, start in seconds) in order; the name is the synthesiser's own, "_" for silence."""
    words: tuple[Span, ...] = ()
    """Empty where the synthesiser does not tell."""
