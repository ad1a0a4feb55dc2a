"""The audio encoder as one graph over a batch of independent 2-s chunks (FACTS §4.2).

Attention never leaves a chunk and positions restart in each, so chunks are the batch and a key mask replaces
the reference's cu_seqlens loop. Names of the parameters are those of the checkpoint below thinker.audio_tower.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpoint import Checkpoint
from .config import AudioConfig
from .linear import Linear, attach, sources


def audio_encoder(checkpoint: Checkpoint) -> AudioEncoder:
    """The encoder with a checkpoint's weights."""
    with torch.device("meta"):
        module = AudioEncoder(checkpoint.config.audio).eval()
    # audio_bos_eos_token is stored but never used (FACTS §2.3).
    attach(module, sources(checkpoint, "thinker.audio_tower.", without=("audio_bos_eos_token",)), checkpoint)
    module.positions = sinusoids(checkpoint.config.audio.window, checkpoint.config.audio.width)
    return module


class AudioEncoder(nn.Module):
    """mel [n, mels, T] f32, frames [n] i64 -> rows [n, (T+1)//2//2, out] f32.

    T is at most 2·n_window and even a shorter batch works; rows of chunk i beyond its own token count are padding.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(config.mels, config.width, 3, padding=1)
        self.conv2 = nn.Conv1d(config.width, config.width, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.ln_post = nn.LayerNorm(config.width)
        self.proj = Linear(config.width, config.out)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(config.window, config.width), persistent=False)

    def forward(self, mel: Tensor, frames: Tensor) -> Tensor:
        """See the class."""
        valid = (torch.arange(mel.shape[2]) < frames[:, None])[:, None, :]
        x = F.gelu(self.conv1(mel)) * valid.to(mel.dtype)
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        steps = x.shape[1]
        x = x + self.positions[:steps]
        # Positions after the stride-2 convolution: (frames - 1)//2 + 1. Masked keys get a large negative bias.
        keys = torch.arange(steps) < ((frames - 1) // 2 + 1)[:, None]
        bias = torch.where(keys, 0.0, -1e9)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        # Average pairs (2i, 2i+1); an odd last position is dropped, pairs never straddle chunks.
        pairs = steps // 2
        x = x[:, : pairs * 2].reshape(x.shape[0], pairs, 2, x.shape[2]).mean(dim=2)
        return self.proj(self.ln_post(x))


class _Layer(nn.Module):
    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.self_attn = _Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.width)
        self.final_layer_norm = nn.LayerNorm(config.width)
        self.fc1 = Linear(config.width, config.ffn)
        self.fc2 = Linear(config.ffn, config.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), bias)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class _Attention(nn.Module):
    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = Linear(config.width, config.width)
        self.k_proj = Linear(config.width, config.width, bias=False)
        self.v_proj = Linear(config.width, config.width)
        self.out_proj = Linear(config.width, config.width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        n, steps, width = x.shape
        query, key, value = (
            projection(x).reshape(n, steps, self.heads, width // self.heads).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5 + bias
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.out_proj(mixed.transpose(1, 2).reshape(n, steps, width))


def sinusoids(length: int, width: int) -> Tensor:
    """Fixed positional table [length, width], f32: [sin | cos], timescales up to 10000 (FACTS §4.2)."""
    increment = math.log(10000) / (width // 2 - 1)
    scales = torch.exp(-increment * torch.arange(width // 2).float())
    angles = torch.arange(length)[:, None] * scales[None, :]
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=1)
