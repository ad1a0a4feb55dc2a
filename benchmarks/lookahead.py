"""What a stream that waits for a few blocks of codes makes of the same codes as a whole that waits for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver

Said = tuple[NDArray[np.int64], str]
"""Codes [n] and a voice."""


@dataclass(frozen=True)
class Off:
    """How far streamed mels are from whole ones, in natural logarithms of the amplitude."""

    blocks: int
    """Of look-ahead."""
    mean: float
    largest: float
    relative: float
    """Root mean square, over the standard deviation of the whole ones."""


def off(flow: Flow, said: Sequence[Said], solver: Solver, blocks: int) -> Off:
    """Compare; codes come a block at a time, which is the most borders there can be."""
    solver = replace(solver, lookahead=blocks)
    bins = flow.settings.mel_bins
    whole = np.concatenate([flow.mel(codes, voice, Noise(0, bins), solver) for codes, voice in said])
    apart = np.concatenate([streamed(flow, codes, voice, solver) for codes, voice in said]) - whole
    return Off(
        blocks,
        float(np.abs(apart).mean()),
        float(np.abs(apart).max()),
        float(np.sqrt(np.mean(apart**2)) / whole.std()),
    )


def streamed(flow: Flow, codes: NDArray[np.int64], voice: str, solver: Solver) -> NDArray[np.float32]:
    """The mel [2n, bins] of codes that come a block at a time."""
    settings = flow.settings
    size = settings.block // settings.repeats
    stream = flow.begin(voice, Noise(0, settings.mel_bins), solver)
    parts = [stream.step(codes[at : at + size], last=False) for at in range(0, len(codes), size)]
    return np.concatenate([*parts, stream.step(codes[:0], last=True)])
