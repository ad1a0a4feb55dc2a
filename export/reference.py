"""The decoders in plain torch, one layer in memory at a time: what an exported decoder is validated against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .checkpoint import Checkpoint
from .config import DecoderConfig
from .decoder import DecoderNames


@torch.no_grad()
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
    read = checkpoint.tensor
    x = rows
    if names.projection:
        x = F.linear(x, read(f"{names.projection}.weight"), read(f"{names.projection}.bias"))
    cos, sin = _rotary(config, positions)
    for layer in range(config.layers):
        prefix = f"{names.layers}layers.{layer}."
        y = _norm(x, read(f"{prefix}input_layernorm.weight"), config.norm_eps)
        x = x + _attention(checkpoint, config, prefix, y, cos, sin)
        y = _norm(x, read(f"{prefix}post_attention_layernorm.weight"), config.norm_eps)
        gate = F.silu(F.linear(y, read(f"{prefix}mlp.gate_proj.weight")))
        x = x + F.linear(gate * F.linear(y, read(f"{prefix}mlp.up_proj.weight")), read(f"{prefix}mlp.down_proj.weight"))
    hidden = _norm(x, read(f"{names.layers}norm.weight"), config.norm_eps)
    return hidden, F.linear(hidden, read(names.head))


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def _rotary(config: DecoderConfig, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [S, head]: contiguous sections of the frequencies follow t, h and w (FACTS §3.4)."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    angles = positions[:, :, None].float() * config.rope_theta**-exponents
    parts = angles.split(config.mrope_section, dim=-1)
    half = torch.cat([part[axis] for axis, part in enumerate(parts)], dim=-1)
    both = torch.cat([half, half], dim=-1)
    return both.cos(), both.sin()


def _attention(
    checkpoint: Checkpoint, config: DecoderConfig, prefix: str, x: Tensor, cos: Tensor, sin: Tensor
) -> Tensor:
    def project(part: str, heads: int) -> Tensor:
        name = f"{prefix}self_attn.{part}_proj"
        y = F.linear(x, checkpoint.tensor(f"{name}.weight"), checkpoint.tensor(f"{name}.bias"))
        return y.reshape(len(x), heads, config.head_dim).transpose(0, 1)

    def turn(y: Tensor) -> Tensor:
        left, right = y.chunk(2, dim=-1)
        return y * cos + torch.cat([-right, left], dim=-1) * sin

    query, key, value = (
        project("q", config.heads),
        project("k", config.kv_heads),
        project("v", config.kv_heads),
    )
    mixed = F.scaled_dot_product_attention(
        turn(query)[None], turn(key)[None], value[None], is_causal=True, enable_gqa=True
    )[0]
    return F.linear(mixed.transpose(0, 1).flatten(1), checkpoint.tensor(f"{prefix}self_attn.o_proj.weight"))
