"""The flow: one evaluation of the DiT's velocity field, with everything constant taken out (FACTS §6.1).

What depends only on the time point (all AdaLN modulations, 40 % of the weights) or only on the voice (the ECAPA
vector) is not in the graph but comes in as a row of a table (flow_tables.py). Attention is local to blocks of 24
frames, plus one block back or ahead in a few layers, so it runs block by block and no frames × frames mask exists.
Names of the parameters are those of the checkpoint below token2wav.code2wav_dit_model.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .checkpoint import Checkpoint
from .config import FlowConfig
from .linear import Linear, attach, changed, sources

PREFIX = "token2wav.code2wav_dit_model."


def flow(checkpoint: Checkpoint) -> Flow:
    """The network with a checkpoint's weights; what went into the tables is left out.

    The input projection is cut at its columns [mel | ECAPA | code | speaker]; rotary pairs of head 0, stored
    interleaved, are moved to halves in the query and key weights.
    """
    config = checkpoint.config.flow
    given = sources(
        checkpoint, PREFIX, without=("attn_norm.", "time_embed.", "spk_encoder.", "norm_out.", "rotary_embed.")
    )
    given["codec_embed.weight"] = given.pop("text_embed.codec_embed.weight")
    wide = given.pop("input_embed.proj.weight")
    del given["input_embed.proj.bias"]
    code_start = config.mel_bins + config.speaker["enc_dim"]
    given["mel_proj.weight"] = changed(wide, lambda weight: weight[:, : config.mel_bins])
    given["code_proj.weight"] = changed(wide, lambda weight: weight[:, code_start : code_start + config.code_width])
    halves = torch.cat([torch.arange(0, config.head_dim, 2), torch.arange(1, config.head_dim, 2)])
    order = torch.cat([halves, torch.arange(config.head_dim, config.heads * config.head_dim)])
    for name, source in given.items():
        if ".attn.to_q." in name or ".attn.to_k." in name:
            given[name] = changed(source, lambda weight: weight[order.to(weight.device)])
    with torch.device("meta"):
        module = Flow(config).eval()
    attach(module, given, checkpoint)
    module.frequencies = frequencies(config)
    return module


def frequencies(config: FlowConfig) -> Tensor:
    """Of the rotation of head 0: [head / 2]."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    return config.rope_theta**-exponents


class Flow(nn.Module):
    """One evaluation for R conditions of the same noisy mel (R = 2 with guidance: conditional, unconditional).

    Inputs: noisy [F, bins] f32, F a multiple of the block; codes [R, F / repeats] i64; speaker [R, hidden] f32 and
    modulation [6·layers + 2, hidden] f32 from the tables; frames [] i64, how many of the F are real.
    Output: velocity [R, F, bins] f32.
    """

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.codec_embed = nn.Embedding(config.num_embeds + 1, config.code_width)
        self.mel_proj = Linear(config.mel_bins, config.hidden, bias=False)
        self.code_proj = Linear(config.code_width, config.hidden, bias=False)
        self.transformer_blocks = nn.ModuleList(_Block(config, index) for index in range(config.layers))
        self.proj_out = Linear(config.hidden, config.mel_bins)
        self.frequencies: Tensor
        self.register_buffer("frequencies", frequencies(config), persistent=False)

    def forward(self, noisy: Tensor, codes: Tensor, speaker: Tensor, modulation: Tensor, frames: Tensor) -> Tensor:
        """See the class."""
        config = self.config
        code = self.code_proj(self.codec_embed(codes)).repeat_interleave(config.repeats, dim=1)
        x = self.mel_proj(noisy)[None] + code + speaker[:, None, :]
        # [R, blocks, block, hidden]
        x = x.unflatten(1, (-1, config.block))
        index = torch.arange(noisy.shape[0]).reshape(-1, config.block)
        bias = torch.where(index < frames, 0.0, -1e9)  # [blocks, block], over keys
        angles = index[:, None, :, None].float() * self.frequencies
        rotary = (angles.cos(), angles.sin())  # [blocks, 1, block, head / 2]
        for layer, block in enumerate(self.transformer_blocks):
            x = block(x, modulation[6 * layer : 6 * layer + 6], rotary, bias)
        scale, shift = modulation[-2], modulation[-1]  # the final norm has them in this order
        return self.proj_out(_normalise(x, scale, shift)).flatten(1, 2)


class _Block(nn.Module):
    def __init__(self, config: FlowConfig, index: int) -> None:
        super().__init__()
        self.attn = _Attention(config, index in config.look_backward, index in config.look_ahead)
        self.ff = _FeedForward(config)

    def forward(self, x: Tensor, modulation: Tensor, rotary: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        shift_attn, scale_attn, gate_attn, shift_ff, scale_ff, gate_ff = modulation.unbind(0)
        x = x + gate_attn * self.attn(_normalise(x, scale_attn, shift_attn), rotary, bias)
        return x + gate_ff * self.ff(_normalise(x, scale_ff, shift_ff))


class _Attention(nn.Module):
    def __init__(self, config: FlowConfig, back: bool, ahead: bool) -> None:
        super().__init__()
        self.heads, self.head_dim = config.heads, config.head_dim
        self.back, self.ahead = back, ahead
        inner = config.heads * config.head_dim
        self.to_q = Linear(config.hidden, inner)
        self.to_k = Linear(config.hidden, inner)
        self.to_v = Linear(config.hidden, inner)
        self.to_out = nn.ModuleList([Linear(inner, config.hidden)])

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        query, key, value = (
            layer(x).unflatten(3, (self.heads, self.head_dim)).transpose(2, 3)
            for layer in (self.to_q, self.to_k, self.to_v)
        )  # [R, blocks, heads, block, head]
        query, key = _rotate_first_head(query, *rotary), _rotate_first_head(key, *rotary)
        key, value = self._neighbours(key, 0.0), self._neighbours(value, 0.0)
        reach = self._neighbours(bias[None, :, None, :, None], -1e9)[..., 0][:, :, :, None, :]
        scores = query @ key.transpose(3, 4) * self.head_dim**-0.5 + reach
        mixed = torch.softmax(scores, dim=-1) @ value
        return self.to_out[0](mixed.transpose(2, 3).flatten(3))

    def _neighbours(self, x: Tensor, edge: float) -> Tensor:
        """Blocks [., blocks, ., block, .] with the block before and/or after joined on axis 3."""
        parts = [x]
        outside = torch.full_like(x[:, :1], edge)
        if self.back:
            parts.insert(0, torch.cat([outside, x[:, :-1]], dim=1))
        if self.ahead:
            parts.append(torch.cat([x[:, 1:], outside], dim=1))
        return torch.cat(parts, dim=3) if len(parts) > 1 else x


class _FeedForward(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        # Indices 0 and 3 are the checkpoint's names; 1 is the GELU and 2 a dropout that inference skips.
        inner = config.hidden * config.ff_mult
        self.ff = nn.ModuleDict({"0": Linear(config.hidden, inner), "3": Linear(inner, config.hidden)})

    def forward(self, x: Tensor) -> Tensor:
        return self.ff["3"](F.gelu(self.ff["0"](x), approximate="tanh"))


def _normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm without affine, eps 1e-6, then the modulation."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def _rotate_first_head(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on head 0 only, as the checkpoint was trained (FACTS §6.1); x [R, blocks, heads, block, d]."""
    first, others = x[:, :, :1], x[:, :, 1:]
    left, right = first.chunk(2, dim=-1)
    turned = torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
    return torch.cat([turned, others], dim=2)
