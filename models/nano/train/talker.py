"""The real talker class, small: the thinker's rows and codes in, the next code out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniTalkerConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
    Qwen2_5OmniTalkerForConditionalGeneration,
    apply_rotary_pos_emb,
    repeat_kv,
)

from .pieces import SPECIALS
from .prompted import Prompted
from .utterances import SPECIAL_ROWS, CodeIds, Lesson, TalkerBatch, collate


@dataclass(frozen=True)
class TalkerShape:
    """Sizes of the talker."""

    codes: int = 2048
    embedding: int = 192  # the thinker's width
    hidden: int = 160
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 448
    mrope: tuple[int, int, int] = (8, 6, 6)


class TalkerStudent(nn.Module):
    """The talker, and the rows of the thinker's table that only it reads."""

    def __init__(self, shape: TalkerShape, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.ids = CodeIds(shape.codes)
        self.talker = Qwen2_5OmniTalkerForConditionalGeneration._from_config(
            talker_config(shape), attn_implementation="sdpa"
        )
        self.embed_tokens_special = nn.Embedding(len(SPECIAL_ROWS), shape.embedding)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, module.in_features**-0.5)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, 0.0, 0.5)

    def rows(self, batch: TalkerBatch, codes: Tensor) -> Tensor:
        """Talker inputs: [batch, rows, hidden]."""
        special = self.embed_tokens_special(batch.special.clamp(min=0)) * (batch.special >= 0)[:, :, None]
        spoken = self.talker.model.embed_tokens(codes.clamp(min=0)) * (codes >= 0)[:, :, None]
        return self.talker.thinker_to_talker_proj(batch.thinker + special + spoken)

    def forward(self, batch: TalkerBatch, codes: Tensor, guided: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Logits of the next code, and what the guided heads look at.

        Args:
            batch: rows and positions.
            codes: in the place of the batch's own, [batch, rows].
            guided: layers of which head 0 is guided.

        Returns:
            Logits [batch, rows, codes], attention logits [batch, rows, rows] of each guided head.
        """
        model = self.talker.model
        hidden = self.rows(batch, codes)
        turns = model.rotary_emb(hidden, batch.positions)
        looks = []
        for index, layer in enumerate(model.layers):
            if index in guided:
                looks.append(_look_logits(layer, hidden, turns))
            hidden = layer(hidden, attention_mask=None, position_embeddings=turns)
        return self.talker.codec_head(model.norm(hidden)), looks

    @torch.no_grad()
    def speak(self, prompted: Prompted, speaker: int, limit: int = 250) -> Tensor:
        """Greedy codes of one reply, without the end.

        Args:
            prompted: the conversation and its reply.
            speaker: of SPECIAL_ROWS.
            limit: most codes (50 a second).
        """
        blank = torch.full((limit,), self.ids.pad).numpy()
        pieces = torch.zeros(len(prompted.reply), dtype=torch.long).numpy()
        batch = collate([Lesson("", speaker, pieces, blank, blank * 0)], [prompted], self.ids)
        made, codes = batch.codes.clone(), []
        cache: Any = None
        first, last = 0, len(prompted.prompt) + 2
        while len(codes) < limit:
            inputs = self.rows(batch, made)[:, first:last]
            output = self.talker.model(
                inputs_embeds=inputs, position_ids=batch.positions[:, :, first:last], past_key_values=cache,
                use_cache=True,
            )  # fmt: skip
            cache, first = output.past_key_values, last
            logits = self.talker.codec_head(output.last_hidden_state[0, -1])
            logits[[0, self.ids.start, self.ids.pad, self.ids.mask]] = -1e9
            code = int(logits.argmax())
            if code == self.ids.end:
                break
            codes.append(code)
            made[0, last] = code
            last += 1
        return torch.tensor(codes, dtype=torch.long)


def talker_config(shape: TalkerShape) -> Qwen2_5OmniTalkerConfig:
    """The transformers configuration of a shape."""
    ids = CodeIds(shape.codes)
    rope = {"rope_theta": 1e4, "rope_type": "default", "mrope_section": list(shape.mrope)}
    return Qwen2_5OmniTalkerConfig(
        vocab_size=ids.vocabulary,
        embedding_size=shape.embedding,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.hidden // shape.heads,
        rope_parameters=rope,
        max_position_embeddings=3072,
        spatial_merge_size=2,
        pad_token_id=None,
        tts_text_start_token_id=SPECIALS["tts_start"],
        tts_text_end_token_id=SPECIALS["tts_end"],
        tts_text_pad_token_id=SPECIALS["tts_pad"],
        tts_codec_pad_token_id=ids.pad,
        tts_codec_start_token_id=ids.start,
        tts_codec_end_token_id=ids.end,
        tts_codec_mask_token_id=ids.mask,
        audio_token_index=SPECIALS["<|AUDIO|>"],
        audio_start_token_id=SPECIALS["<|audio_bos|>"],
        audio_end_token_id=SPECIALS["<|audio_eos|>"],
        image_token_index=SPECIALS["<|IMAGE|>"],
        video_token_index=SPECIALS["<|VIDEO|>"],
        vision_start_token_id=SPECIALS["<|vision_bos|>"],
        vision_end_token_id=SPECIALS["<|vision_eos|>"],
    )


def _look_logits(layer: Any, hidden: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Masked attention logits of a layer's head 0, as the layer itself will compute them: [batch, rows, rows]."""
    attention = layer.self_attn
    normed = layer.input_layernorm(hidden)
    shape = (*hidden.shape[:2], -1, attention.head_dim)
    query = attention.q_proj(normed).view(shape).transpose(1, 2)[:, :1]
    key = attention.k_proj(normed).view(shape).transpose(1, 2)[:, :1]
    query, key = apply_rotary_pos_emb(query, key, *turns)
    logits = (query @ repeat_kv(key, 1).transpose(2, 3))[:, 0] * attention.scaling
    future = torch.ones(logits.shape[1:], dtype=torch.bool).triu(1)
    return logits.masked_fill(future, -1e4)
