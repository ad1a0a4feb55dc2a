"""The voices that nano speaks with, and who taught them."""

from __future__ import annotations

from dataclasses import dataclass

from .flite import OWN, Pitch


@dataclass(frozen=True)
class Speaker:
    """A voice nano has: the name of the flite voice that taught it, and at which pitch it did."""

    name: str
    pitch: Pitch = OWN


# slt's own pitch (190 ± 25 Hz) resolves into harmonics in the low mel bands, and codes are spent on them: flatter and
# lower, 512 codes leave a mel L1 of 0.32 where they left 0.37. rms's pitch costs nothing.
SPEAKERS = (Speaker("slt", Pitch(165.0, 6.0)), Speaker("rms"))
