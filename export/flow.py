"""The flow in torch: one evaluation of the DiT's velocity field, with everything constant taken out (FACTS §6.1).

What the hand-built graph (flow_graph.py) is checked against, and the full precision of `omni-edge report`.

What depends only on the time point (all AdaLN modulations, 40 % of the weights) or only on the voice (the ECAPA
vector) is not in here but comes in as a row of a table (flow_tables.py). Attention is local to blocks of 24
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

    The input projection is cut at its columns [mel | ECAPA | code | speaker].
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
    """One evaluation of a chunk, for R conditions of the same noisy mel (R = 2 with guidance: conditional, none).

    Inputs: noisy [F, bins] f32, F a multiple of the block; codes [R, F / repeats] i64; speaker [R, hidden] f32 and
    modulation [6·layers + 2, hidden] f32 from the tables; before [] i64, how many frames of the block before the
    chunk are real (0 at the beginning of an utterance); frames [] i64, how many of the F are; kept [] i64, how many
    blocks of the chunk are not part of the next one; past_keys, past_values [B, R, block, heads·head] f32, what the
    B layers that look back made of the block before the chunk, not rotated.
    Outputs: velocity [R, F, bins] f32; keys and values of the last block that is kept, shaped as the past ones.
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

    def forward(
        self,
        noisy: Tensor,
        codes: Tensor,
        speaker: Tensor,
        modulation: Tensor,
        before: Tensor,
        frames: Tensor,
        kept: Tensor,
        past_keys: Tensor,
        past_values: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """See the class."""
        config = self.config
        code = self.code_proj(self.codec_embed(codes)).repeat_interleave(config.repeats, dim=1)
        x = self.mel_proj(noisy)[None] + code + speaker[:, None, :]
        # [R, blocks, block, hidden]
        x = x.unflatten(1, (-1, config.block))
        index = torch.arange(-config.block, noisy.shape[0] + config.block).reshape(-1, config.block)
        hidden = torch.where((index >= -before) & (index < frames), 0.0, -1e9)  # [blocks + 2, block], over keys
        # Scores hang on differences of positions only, so each block counts from the one before it.
        angles = torch.arange(3 * config.block)[:, None] * self.frequencies
        rotary = (angles.cos(), angles.sin())
        kept_parts = []
        pasts = dict(zip(config.look_backward, zip(past_keys, past_values, strict=True), strict=True))
        for layer, block in enumerate(self.transformer_blocks):
            past = pasts.get(layer)
            x, joined = block(x, modulation[6 * layer : 6 * layer + 6], rotary, hidden, past)
            if past is not None:
                kept_parts.append([each[:, kept] for each in joined])
        scale, shift = modulation[-2], modulation[-1]  # the final norm has them in this order
        velocity = self.proj_out(_normalise(x, scale, shift)).flatten(1, 2)
        keys, values = (torch.stack(each) for each in zip(*kept_parts, strict=True))
        return velocity, keys, values


Rotary = tuple[Tensor, Tensor]
Joined = tuple[Tensor, Tensor]


class _Block(nn.Module):
    def __init__(self, config: FlowConfig, index: int) -> None:
        super().__init__()
        self.attn = _Attention(config, index in config.look_ahead)
        self.ff = _FeedForward(config)

    def forward(
        self, x: Tensor, modulation: Tensor, rotary: Rotary, hidden: Tensor, past: Joined | None
    ) -> tuple[Tensor, Joined]:
        shift_attn, scale_attn, gate_attn, shift_ff, scale_ff, gate_ff = modulation.unbind(0)
        mixed, joined = self.attn(_normalise(x, scale_attn, shift_attn), rotary, hidden, past)
        x = x + gate_attn * mixed
        return x + gate_ff * self.ff(_normalise(x, scale_ff, shift_ff)), joined


class _Attention(nn.Module):
    def __init__(self, config: FlowConfig, ahead: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.block = config.heads, config.head_dim, config.block
        self.ahead = ahead
        inner = config.heads * config.head_dim
        self.to_q = Linear(config.hidden, inner)
        self.to_k = Linear(config.hidden, inner)
        self.to_v = Linear(config.hidden, inner)
        self.to_out = nn.ModuleList([Linear(inner, config.hidden)])

    def forward(self, x: Tensor, rotary: Rotary, hidden: Tensor, past: Joined | None) -> tuple[Tensor, Joined]:
        """Returns keys and values [R, blocks, block, width] too, with the past block's in front."""
        query, key, value = self.to_q(x), self.to_k(x), self.to_v(x)  # [R, blocks, block, width]
        reach, start = hidden[1:-1], self.block
        joined = (key, value)
        if past is not None:
            joined = (torch.cat([past[0][:, None], key], 1), torch.cat([past[1][:, None], value], 1))
            key, value = (torch.cat([each[:, :-1], each[:, 1:]], 2) for each in joined)
            reach, start = torch.cat([hidden[:-2], reach], 1), 0
        if self.ahead:
            key, value = (torch.cat([each, each.roll(-1, 1)], 2) for each in (key, value))
            reach = torch.cat([reach, hidden[2:]], 1)
        heads = [each.unflatten(3, (self.heads, self.head_dim)).transpose(2, 3) for each in (query, key, value)]
        query, key = _rotate_first_head(heads[0], rotary, self.block), _rotate_first_head(heads[1], rotary, start)
        scores = query @ key.transpose(3, 4) * self.head_dim**-0.5 + reach[:, None, None, :]
        mixed = torch.softmax(scores, dim=-1) @ heads[2]
        return self.to_out[0](mixed.transpose(2, 3).flatten(3)), joined


class _FeedForward(nn.Module):
    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        # Indices 0 and 3 are the checkpoint's names; 1 is the GELU and 2 a dropout that inference skips.
        inner = config.hidden * config.ff_mult
        self.ff = nn.ModuleDict({"0": Linear(config.hidden, inner), "3": Linear(inner, config.hidden)})

    def forward(self, x: Tensor) -> Tensor:
        return self.ff["3"](F.gelu(self.ff["0"](x), approximate="tanh"))


def _normalise(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """LayerNorm without affine, eps 1e-6, then the modulation; the tables have the one of 1 + scale added."""
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * scale + shift


def _rotate_first_head(x: Tensor, rotary: Rotary, start: int) -> Tensor:
    """Rotary positions, in interleaved pairs, on head 0 only, as the checkpoint was trained (FACTS §6.1).

    x [R, blocks, heads, frames, head], its frames at positions from `start` on.
    """
    cos, sin = (table[start : start + x.shape[3]] for table in rotary)
    first, others = x[:, :, :1], x[:, :, 1:]
    even, odd = first[..., 0::2], first[..., 1::2]
    turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2)
    return torch.cat([turned, others], dim=2)
