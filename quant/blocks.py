"""Matrices in blocks of four or eight bits, as ONNX Runtime's MatMulNBits reads them.

A matrix is stored by output, [N, K] as checkpoints have it: each run of `block` inputs shares a scale and, when
asymmetric, a zero point. Weight = (stored - zero) · scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scheme:
    """How values are rounded.

    Args:
        bits: 4 or 8.
        block: inputs that share a scale: a power of two of at least 16.
        symmetric: zero is stored as half the range, and no zero points are kept.
    """

    bits: int = 8
    block: int = 32
    symmetric: bool = True

    def __post_init__(self) -> None:
        if self.bits not in (4, 8):
            raise ValueError(f"{self.bits} bits have no kernel; use 4 or 8")
        if self.block < 16 or self.block & (self.block - 1):
            raise ValueError(f"blocks of {self.block} have no kernel; use 16, 32, 64, 128 or 256")

    @property
    def top(self) -> int:
        """The largest stored value."""
        return (1 << self.bits) - 1

    @property
    def middle(self) -> int:
        """Zero of symmetric blocks."""
        return 1 << (self.bits - 1)


@dataclass(frozen=True)
class Blocks:
    """A rounded matrix of `outputs` rows of `inputs` weights."""

    scheme: Scheme
    inputs: int
    values: NDArray[np.uint8]
    """[N, K / block, block · bits / 8]; of two values in a byte the first is the low half."""
    scales: NDArray[np.float32]
    """[N, K / block]"""
    zeros: NDArray[np.uint8] | None
    """[N, K / block · bits / 8, rounded up], packed likewise; None when symmetric."""

    @property
    def outputs(self) -> int:
        """N."""
        return len(self.scales)

    def matrix(self) -> NDArray[np.float32]:
        """The weights that are left: [N, K]."""
        scheme = self.scheme
        stored = _unpack(self.values, scheme.bits).astype(np.float32)
        if self.zeros is None:
            zeros = np.full(self.scales.shape, scheme.middle, np.float32)
        else:
            zeros = _unpack(self.zeros, scheme.bits)[:, : self.scales.shape[1]].astype(np.float32)
        weights = (stored - zeros[:, :, None]) * self.scales[:, :, None]
        return weights.reshape(self.outputs, -1)[:, : self.inputs]


def joined(parts: Sequence[Blocks]) -> Blocks:
    """Slabs of outputs of one matrix, one below the other."""
    first = parts[0]
    values, scales = (np.concatenate([getattr(part, kind) for part in parts]) for kind in ("values", "scales"))
    zeros = [part.zeros for part in parts if part.zeros is not None]
    return Blocks(first.scheme, first.inputs, values, scales, np.concatenate(zeros) if zeros else None)


def pack(matrix: NDArray[np.float32], scheme: Scheme) -> Blocks:
    """Round a matrix to the nearest stored values.

    Args:
        matrix: [N, K]; K is padded with zeros to whole blocks.
        scheme: bits, block and symmetry.
    """
    outputs, inputs = matrix.shape
    padded = np.pad(matrix, ((0, 0), (0, -inputs % scheme.block))).reshape(outputs, -1, scheme.block)
    scales, zeros = grid(padded, scheme)
    stored = np.clip(np.rint(padded / scales[:, :, None]) + zeros[:, :, None], 0, scheme.top).astype(np.uint8)
    return assemble(stored, scales, zeros, scheme, inputs)


def grid(blocks: NDArray[np.float32], scheme: Scheme) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scales and zero points of blocks [..., block], so that the farthest weight is still within reach: [...] each."""
    if scheme.symmetric:
        scales = _symmetric_scales(blocks, scheme)
        return scales, np.full(scales.shape, scheme.middle, np.float32)
    low, high = np.minimum(blocks.min(-1), 0), np.maximum(blocks.max(-1), 0)
    scales = (np.maximum(high - low, 1e-12) / scheme.top).astype(np.float32)
    return scales, np.clip(np.rint(-low / scales), 0, scheme.top).astype(np.float32)


def assemble(
    stored: NDArray[np.uint8],
    scales: NDArray[np.float32],
    zeros: NDArray[np.float32],
    scheme: Scheme,
    inputs: int,
) -> Blocks:
    """Rounded values [N, blocks, block], scales and zero points [N, blocks] as the kernel wants them packed."""
    kept = None if scheme.symmetric else _pack_row(zeros.astype(np.uint8), scheme.bits)
    return Blocks(scheme, inputs, _pack_row(stored, scheme.bits), scales.astype(np.float32), kept)


def _symmetric_scales(padded: NDArray[np.float32], scheme: Scheme) -> NDArray[np.float32]:
    """Four bits reach from -8 to 7, so the value of largest size takes the -8 whatever its sign (as Q4_0 has it)."""
    if scheme.bits == 8:
        return np.maximum(np.abs(padded).max(-1), 1e-12) / (scheme.middle - 1)
    extreme = np.take_along_axis(padded, np.abs(padded).argmax(-1)[..., None], -1)[..., 0]
    return np.asarray(np.where(np.abs(extreme) < 1e-12, 1e-12, extreme) / -scheme.middle, np.float32)


def _pack_row(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return np.ascontiguousarray(values)
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, values.shape[-1] % 2)])
    return np.ascontiguousarray(padded[..., 0::2] | padded[..., 1::2] << 4).astype(np.uint8)


def _unpack(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    if bits == 8:
        return values
    return np.stack([values & 15, values >> 4], axis=-1).astype(np.uint8).reshape(*values.shape[:-1], -1)
