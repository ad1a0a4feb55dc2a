"""nano's Thinker: the real class in a few million weights, and forwards over whole batches to train it by.

The stock towers loop over two-second chunks in Python and take one picture list at a time; the forwards here run the
same modules over padded batches. A test holds them to the real class.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Qwen2_5OmniThinkerConfig, Qwen2_5OmniThinkerForConditionalGeneration
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
    Qwen2_5OmniAudioEncoder,
    Qwen2_5OmniVisionEncoder,
    apply_rotary_pos_emb_vision,
)

from .pieces import SPECIALS, VOCABULARY

CHUNK = 200
"""Mel frames that the audio encoder sees at once: two seconds."""
SIDE = 112
"""Pixels of a picture's side: one attention window, 16 tokens."""
PATCHES, TOKENS = 64, 16
"""Patches and tokens of one picture, or of one step of a clip."""
HEADS = 4


def thinker_config() -> Qwen2_5OmniThinkerConfig:
    """Sizes of nano's Thinker: about 3.6 million weights."""
    text = {
        "vocab_size": VOCABULARY, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": False,
        "max_position_embeddings": 2048, "initializer_range": 0.05,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default", "mrope_section": [8, 8, 8]},
    }  # fmt: skip
    audio = {
        "d_model": 128, "encoder_layers": 4, "encoder_attention_heads": HEADS, "encoder_ffn_dim": 512, "n_window": 100,
        "num_mel_bins": 128, "max_source_positions": 1500, "output_dim": 192, "initializer_range": 0.05,
    }  # fmt: skip
    vision = {
        "depth": 4, "hidden_size": 96, "intermediate_size": 320, "num_heads": HEADS, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": SIDE, "fullatt_block_indexes": [1, 3],
        "out_hidden_size": 192, "initializer_range": 0.05,
    }  # fmt: skip
    ids = {
        "audio_token_index": SPECIALS["<|AUDIO|>"], "audio_start_token_id": SPECIALS["<|audio_bos|>"],
        "audio_end_token_id": SPECIALS["<|audio_eos|>"], "image_token_index": SPECIALS["<|IMAGE|>"],
        "video_token_index": SPECIALS["<|VIDEO|>"], "vision_start_token_id": SPECIALS["<|vision_bos|>"],
        "vision_end_token_id": SPECIALS["<|vision_eos|>"], "bos_token_id": SPECIALS["<|im_start|>"],
        "eos_token_id": SPECIALS["<|im_end|>"], "pad_token_id": SPECIALS["<|endoftext|>"],
    }  # fmt: skip
    # The class takes the ids of the vision's start and end as further keys only.
    return Qwen2_5OmniThinkerConfig.from_dict(
        {"text_config": text, "audio_config": audio, "vision_config": vision, "initializer_range": 0.05, **ids}
    )


def new_thinker(seed: int) -> Qwen2_5OmniThinkerForConditionalGeneration:
    """A Thinker with random weights."""
    torch.manual_seed(seed)
    return Qwen2_5OmniThinkerForConditionalGeneration(thinker_config())


# --- hearing -----------------------------------------------------------------------------------------------------


def audio_hidden(tower: Qwen2_5OmniAudioEncoder, mel: Tensor, frames: Tensor) -> Tensor:
    """Run the audio layers over a batch; cheapest when the sounds are of similar length.

    Args:
        tower: of the real class.
        mel: float [B, F, 128], zero where a sound has ended.
        frames: int [B].

    Returns:
        [B, L, d] at 50 a second, L = (F - 1) // 2 + 1, before pairs are averaged; zero after a sound's end.
    """
    batch, longest, _ = mel.shape
    hidden = mel.new_zeros(batch, (longest - 1) // 2 + 1, tower.config.d_model)
    for start in range(0, longest, CHUNK):
        rows = torch.nonzero(frames > start).squeeze(1)
        chunk = mel[rows, start : start + CHUNK].transpose(1, 2)
        out = _audio_chunk(tower, chunk, (frames[rows] - start).clamp(max=CHUNK))
        hidden = hidden.index_put(
            (rows[:, None], torch.arange(start // 2, start // 2 + out.shape[1], device=mel.device)[None]), out
        )
    return hidden


def _audio_chunk(tower: Qwen2_5OmniAudioEncoder, chunk: Tensor, frames: Tensor) -> Tensor:
    width = chunk.shape[2]
    inside = torch.arange(width, device=chunk.device) < frames[:, None]
    hidden = F.gelu(tower.conv1(chunk)) * inside[:, None]
    hidden = F.gelu(tower.conv2(hidden)).transpose(1, 2)
    length = hidden.shape[1]
    hidden = hidden + tower.positional_embedding.positional_embedding[:length]
    valid = torch.arange(length, device=chunk.device) < ((frames - 1) // 2 + 1)[:, None]
    mask = None if bool(valid.all()) else valid[:, None, None]
    layers: Any = tower.layers
    for layer in layers:
        attention, normed = layer.self_attn, layer.self_attn_layer_norm(hidden)
        q, k, v = (_heads(project(normed)) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        hidden = hidden + attention.out_proj(mixed.transpose(1, 2).flatten(2))
        hidden = hidden + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(hidden))))
    return hidden * valid[:, :, None]


def _heads(flat: Tensor) -> Tensor:
    """[B, L, d] to [B, heads, L, d / heads]."""
    return flat.unflatten(2, (HEADS, -1)).transpose(1, 2)


def audio_pooled(hidden: Tensor) -> Tensor:
    """Average pairs: [B, L, d] to [B, L // 2, d], 25 a second."""
    even = hidden.shape[1] // 2 * 2
    return (hidden[:, 0:even:2] + hidden[:, 1:even:2]) / 2


def audio_rows(tower: Qwen2_5OmniAudioEncoder, pooled: Tensor) -> Tensor:
    """What the text model gets: [..., d] to [..., hidden]."""
    return tower.proj(tower.ln_post(pooled))


# --- seeing ------------------------------------------------------------------------------------------------------


def vision_hidden(tower: Qwen2_5OmniVisionEncoder, patches: Tensor) -> Tensor:
    """Run the vision blocks over pictures of one window.

    Args:
        tower: of the real class.
        patches: float [N, 64, 1176] in the front end's order.

    Returns:
        [N, 64, d]
    """
    weight = tower.patch_embed.proj.weight
    hidden = patches @ weight.flatten(1).T
    cos, sin = _vision_angles(tower)
    blocks: Any = tower.blocks
    for block in blocks:
        attention, normed = block.attn, block.norm1(hidden)
        q, k, v = (project(normed).unflatten(2, (HEADS, -1)) for project in (attention.q, attention.k, attention.v))
        q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        hidden = hidden + attention.proj(mixed.transpose(1, 2).flatten(2))
        hidden = hidden + block.mlp(block.norm2(hidden))
    return hidden


def vision_rows(tower: Qwen2_5OmniVisionEncoder, hidden: Tensor) -> Tensor:
    """What the text model gets: [N, 64, d] to [N, 16, hidden]."""
    return tower.merger(hidden).unflatten(0, (-1, TOKENS))


def _vision_angles(tower: Qwen2_5OmniVisionEncoder) -> tuple[Tensor, Tensor]:
    places = _places().to(tower.patch_embed.proj.weight.device)
    return tower.rotary_pos_emb(places, places)


@lru_cache(maxsize=1)
def _places() -> Tensor:
    """Row and column of each patch, [64, 2], in blocks of two by two."""
    side = 8
    grid = torch.arange(side)
    rows, columns = torch.meshgrid(grid, grid, indexing="ij")
    blocked = [plane.reshape(4, 2, 4, 2).transpose(1, 2).flatten() for plane in (rows, columns)]
    return torch.stack(blocked, dim=1)


# --- text --------------------------------------------------------------------------------------------------------


def text_logits(thinker: Any, embeds: Tensor, positions: Tensor, wanted: Tensor) -> Tensor:
    """Next-token logits where they are wanted.

    Args:
        thinker: the real class.
        embeds: [B, T, hidden], padded on the right, so that no mask is needed: nothing looks at what follows it.
        positions: int [3, B, T].
        wanted: bool [B, T].

    Returns:
        [wanted.sum(), vocabulary]
    """
    out = thinker.model.language_model(inputs_embeds=embeds, position_ids=positions, use_cache=False)
    return thinker.lm_head(out.last_hidden_state[wanted])
