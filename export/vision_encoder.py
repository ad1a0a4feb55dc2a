"""The vision encoder as one graph over the patches of one picture or clip (FACTS §4.4).

Patches come in window order. Linear layers run on the flat list; only attention needs to know which patches
see each other, so each block gathers its queries, keys and values into groups (windows, or whole frames in the
full-attention blocks), attends, and gathers back. Frames and windows never mix over time.
Names of the parameters are those of the checkpoint below thinker.visual.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpoint import Checkpoint
from .config import VisionConfig
from .linear import Linear, attach, changed, sources


def vision_encoder(checkpoint: Checkpoint) -> VisionEncoder:
    """The encoder with a checkpoint's weights; the 3-D patch convolution becomes one matrix."""
    config = checkpoint.config.vision
    with torch.device("meta"):
        module = VisionEncoder(config).eval()
    given = sources(checkpoint, "thinker.visual.")
    given["patch_embed.weight"] = changed(given.pop("patch_embed.proj.weight"), lambda weight: weight.flatten(1))
    attach(module, given, checkpoint)
    module.frequencies = frequencies(config.hidden // config.heads)
    return module


class VisionEncoder(nn.Module):
    """patches -> rows.

    Inputs: patches [N, channels·temporal·patch·patch] f32 in window order; places [N, 2] i64 (row, column of each
    patch in its frame); windows [w, W] i64, the patches of each window, short ones padded with any index;
    window_sizes [w] i64; window_slots [N] i64, where each patch lies in the flattened windows; frames [t, P] i64,
    the patches of each frame. Output: rows [N / merge², out] f32, still in window order.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = Linear(config.channels * config.temporal_patch * config.patch**2, config.hidden, bias=False)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.merger = _Merger(config)
        self.frequencies: Tensor
        self.register_buffer("frequencies", frequencies(config.hidden // config.heads), persistent=False)

    def forward(
        self,
        patches: Tensor,
        places: Tensor,
        windows: Tensor,
        window_sizes: Tensor,
        window_slots: Tensor,
        frames: Tensor,
    ) -> Tensor:
        """See the class."""
        angles = (places[:, :, None].float() * self.frequencies).flatten(1)
        angles = torch.cat([angles, angles], dim=1)[:, None, :]
        cos, sin = angles.cos(), angles.sin()
        inside = torch.arange(windows.shape[1]) < window_sizes[:, None]
        bias = torch.where(inside, 0.0, -1e9)[:, None, None, :]
        frame_slots = torch.arange(patches.shape[0])
        x = self.patch_embed(patches)
        for index, block in enumerate(self.blocks):
            if index in self.config.full_blocks:
                # The patches of a frame are contiguous, in order, and equally many in all frames.
                x = block(x, cos, sin, frames, None, frame_slots)
            else:
                x = block(x, cos, sin, windows, bias, window_slots)
        return self.merger(x)


def frequencies(head: int) -> Tensor:
    """Of the rotation by rows and by columns, a quarter of the head each: [head / 4]."""
    return 1.0 / (10000.0 ** (torch.arange(0, head // 2, 2, dtype=torch.float32) / (head // 2)))


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class _Block(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = _Norm(config.hidden)
        self.norm2 = _Norm(config.hidden)
        self.attn = _Attention(config)
        self.mlp = _Mlp(config)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, groups: Tensor, bias: Tensor | None, slots: Tensor
    ) -> Tensor:
        x = x + self.attn(self.norm1(x), cos, sin, groups, bias, slots)
        return x + self.mlp(self.norm2(x))


class _Attention(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.q = Linear(config.hidden, config.hidden)
        self.k = Linear(config.hidden, config.hidden)
        self.v = Linear(config.hidden, config.hidden)
        self.proj = Linear(config.hidden, config.hidden)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, groups: Tensor, bias: Tensor | None, slots: Tensor
    ) -> Tensor:
        count, width = x.shape
        head = width // self.heads
        query, key, value = (layer(x).reshape(count, self.heads, head) for layer in (self.q, self.k, self.v))
        query = query * cos + _rotate(query) * sin
        key = key * cos + _rotate(key) * sin
        n, size = groups.shape
        flat = groups.reshape(-1)
        # [groups, patches, width]
        query, key, value = (part.reshape(count, width)[flat].reshape(n, size, width) for part in (query, key, value))
        mixed = _attend(query, key, value, bias, self.heads)
        return self.proj(mixed.reshape(n * size, width)[slots])


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, heads: int) -> Tensor:
    """Attention within each group, [groups, patches, width] each; bias over keys [groups, 1, 1, patches] or None.

    Whole frames of a photo hold tens of thousands of patches, whose scores would take gigabytes, so without a bias
    the graph gets ONNX Runtime's operator, which works through them in blocks.
    """
    n, size, width = query.shape
    if bias is None and torch.onnx.is_in_onnx_export():
        return torch.onnx.ops.symbolic(
            "com.microsoft::MultiHeadAttention",
            (query, key, value),
            {"num_heads": heads},
            dtype=query.dtype,
            shape=query.shape,
            version=1,
        )
    query, key, value = (part.reshape(n, size, heads, width // heads).transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return mixed.transpose(1, 2).reshape(n, size, width)


class _Mlp(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden, config.intermediate)
        self.up_proj = Linear(config.hidden, config.intermediate)
        self.down_proj = Linear(config.intermediate, config.hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class _Merger(nn.Module):
    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.width = config.hidden * config.merge**2
        self.ln_q = _Norm(config.hidden)
        self.mlp = nn.Sequential(Linear(self.width, self.width), nn.GELU(), Linear(self.width, config.out))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.ln_q(x).reshape(-1, self.width))


def _rotate(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat([-x[..., half:], x[..., :half]], dim=-1)
