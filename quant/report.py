"""What quantising cost: the result types of `omni-edge report`."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ..models.manifest import EngineName


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all results."""


class EncoderError(Result, frozen=True):
    """Directions of the rows an encoder gives, against those of the full precision."""

    cosine: float
    """Mean over the rows."""
    worst_cosine: float
    rows: int

    @property
    def size(self) -> float:
        """One number, 0 when nothing was lost: how much the mean cosine lacks to 1."""
        return max(0.0, 1 - self.cosine)


class MatrixError(Result, frozen=True):
    """What is left of one matrix of a decoder."""

    name: str
    """As in the checkpoint; merged ones are joined with +."""
    layer: int | None
    """None for a matrix that belongs to no layer (the head, a projection)."""
    part: str
    """What it is in its layer, short: "q k v", "down", "lm_head"."""
    error: float
    """Root mean square of the difference over that of the matrix."""


class DecoderError(Result, frozen=True):
    """Next-token distributions when both sides read the same rows."""

    kl: float
    """Mean Kullback-Leibler divergence (full precision || bundle) over the reply's positions, in nats."""
    top1: float
    """Share of the reply's positions at which both find the same token likeliest."""
    positions: int
    prompt_kl: float | None
    """As `kl`, over the prompt's text; None for the talker, whose prompt is no speech."""
    prompt_top1: float | None
    matrices: tuple[MatrixError, ...]
    """In the graph's order; empty where their types cannot be read (export/gguf_read_back.py)."""

    @property
    def size(self) -> float:
        """One number, 0 when nothing was lost."""
        return self.kl


class FlowError(Result, frozen=True):
    """Mels of the same codes, voice, noise and solver."""

    mel_distance: float
    """Mean absolute difference, natural logarithm."""
    relative: float
    """The same over the standard deviation of the full precision's mels."""
    frames: int

    @property
    def size(self) -> float:
        """One number, 0 when nothing was lost."""
        return self.relative


class VocoderError(Result, frozen=True):
    """Sounds of the same mels."""

    spectral_convergence: float
    log_magnitude: float
    """In nepers (natural logarithm of the amplitude)."""
    snr_db: float
    """Of the waveform, over all sounds; infinite (null in JSON) when they are equal."""
    samples: int

    @property
    def size(self) -> float:
        """One number, 0 when nothing was lost."""
        return self.spectral_convergence


Error: TypeAlias = EncoderError | DecoderError | FlowError | VocoderError


class GraphReport(Result, frozen=True):
    """One graph of one subnetwork."""

    engine: EngineName
    precision: str
    bytes: int
    bits_per_weight: float | None
    """Bits of all its files over its weights; None when the manifest does not count those."""
    error: Error | None
    """None when it was not measured."""
    unmeasured: str = ""
    """Why it was not."""
