"""The decoders in plain torch, one layer in memory at a time: what an exported decoder is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..quant.matrices import SLAB_BYTES
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .decoder import DecoderNames

Tap = Callable[[str, Tensor], None]
"""Told, before each matrix product, the matrix's name and what it is multiplied with, [S, inputs]."""


def decoder_reference(
    checkpoint: Checkpoint, config: DecoderConfig, names: DecoderNames, rows: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a whole sequence without a cache.

    Args:
        checkpoint: weights.
        config: shape.
        names: where the weights lie.
        rows: [S, rows] f32.
        positions: [3, S] i64, the t, h and w axes of M-RoPE.

    Returns:
        Hidden rows after the final norm [S, hidden] and logits of every row [S, vocab].
    """
    reference = Reference(checkpoint, config, names)
    x = reference.project(rows)
    for layer in range(config.layers):
        x = reference.layer(layer, x, positions)
    hidden = reference.finish(x)
    return hidden, reference.logits(hidden)


class Reference:
    """The parts of a decoder.

    Args:
        checkpoint: weights.
        config: shape.
        names: where the weights lie.
        read: gives a weight by its name; None: the checkpoint's.
        tap: see `Tap`.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: DecoderConfig,
        names: DecoderNames,
        read: Callable[[str], Tensor] | None = None,
        tap: Tap = lambda name, x: None,
    ) -> None:
        self._checkpoint = checkpoint
        self._config = config
        self._names = names
        self._read = read or checkpoint.tensor
        self._tap = tap

    @torch.no_grad()
    def project(self, rows: Tensor) -> Tensor:
        """Input rows to the width of the layers: [S, rows] -> [S, hidden]."""
        name = self._names.projection
        return rows if name is None else self._linear(rows, name, bias=True)

    @torch.no_grad()
    def layer(self, index: int, x: Tensor, positions: Tensor) -> Tensor:
        """One layer: x [S, hidden], positions [3, S] -> [S, hidden]."""
        prefix = f"{self._names.layers}layers.{index}."
        y = self._norm(x, f"{prefix}input_layernorm.weight")
        x = x + self._attention(prefix, y, *_rotary(self._config, positions))
        y = self._norm(x, f"{prefix}post_attention_layernorm.weight")
        gate = F.silu(self._linear(y, f"{prefix}mlp.gate_proj"))
        return x + self._linear(gate * self._linear(y, f"{prefix}mlp.up_proj"), f"{prefix}mlp.down_proj")

    @torch.no_grad()
    def finish(self, x: Tensor) -> Tensor:
        """The final norm."""
        return self._norm(x, f"{self._names.layers}norm.weight")

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """[S, hidden] after the final norm -> [S, vocab]; the head is read a slab at a time."""
        vocab, width = self._checkpoint.shape(self._names.head)
        self._tap(self._names.head, hidden)
        step = SLAB_BYTES // (4 * width)
        slabs = (self._checkpoint.rows(self._names.head, start, start + step) for start in range(0, vocab, step))
        return torch.cat([F.linear(hidden, torch.from_numpy(slab)) for slab in slabs], dim=-1)

    def _linear(self, x: Tensor, name: str, *, bias: bool = False) -> Tensor:
        self._tap(f"{name}.weight", x)
        return F.linear(x, self._read(f"{name}.weight"), self._read(f"{name}.bias") if bias else None)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self._config.norm_eps) * self._read(name)

    def _attention(self, prefix: str, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        config = self._config

        def heads(part: str, count: int) -> Tensor:
            y = self._linear(x, f"{prefix}self_attn.{part}_proj", bias=True)
            return y.reshape(len(x), count, config.head_dim).transpose(0, 1)

        def turn(y: Tensor) -> Tensor:
            left, right = y.chunk(2, dim=-1)
            return y * cos + torch.cat([-right, left], dim=-1) * sin

        query, key, value = heads("q", config.heads), heads("k", config.kv_heads), heads("v", config.kv_heads)
        mixed = F.scaled_dot_product_attention(
            turn(query)[None], turn(key)[None], value[None], is_causal=True, enable_gqa=True
        )[0]
        return self._linear(mixed.transpose(0, 1).flatten(1), f"{prefix}self_attn.o_proj")


def _rotary(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [S, head]: contiguous sections of the frequencies follow t, h and w (FACTS §3.4)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    angles = positions[:, :, None].float() * config.rope_theta**-exponents
    parts = angles.split(config.mrope_section, dim=-1)
    half = torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
    both = torch.cat([half, half], dim=-1)
    return both.cos(), both.sin()
