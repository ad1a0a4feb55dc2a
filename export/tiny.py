"""Seeded tiny checkpoints: the real classes, file layout and code paths in a few hundred thousand weights.

They know nothing: they are there to test against transformers, to which end the weights are rescaled (the default
initialisation makes BigVGAN silent and logits flat, so that parity would pass trivially, FACTS §9).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from .tiny_tokenizer import SPECIALS, write_tokenizer


@dataclass(frozen=True)
class TinyShape:
    """Sizes of a tiny checkpoint. The defaults mirror the 3B: the talker's W section of M-RoPE is empty."""

    name: str = "like-3b"
    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 128
    mrope: tuple[int, int, int] = (2, 3, 3)
    audio: dict[str, int] = field(
        default_factory=lambda: {
            "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "n_window": 100,
        }
    )  # fmt: skip
    vision: dict[str, Any] = field(
        default_factory=lambda: {
            "depth": 4, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "patch_size": 14,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 56, "fullatt_block_indexes": [1, 3],
        }
    )  # fmt: skip
    talker_hidden: int = 48
    talker_layers: int = 2
    talker_heads: int = 4
    talker_kv_heads: int = 2
    talker_head_dim: int = 8
    talker_intermediate: int = 96
    talker_mrope: tuple[int, int, int] = (2, 2, 0)
    codes: int = 80
    dit: dict[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "head_dim": 8, "emb_dim": 16,
            "block_size": 24, "look_ahead_layers": [1], "look_backward_layers": [0, 2], "repeats": 2,
            "enc_emb_dim": 12, "enc_dim": 8, "enc_channels": [16, 16, 16, 16, 48], "enc_attention_channels": 8,
            "enc_se_channels": 8,
        }
    )  # fmt: skip
    vocoder: dict[str, Any] = field(default_factory=lambda: {"upsample_initial_channel": 64})


LIKE_3B = TinyShape()
LIKE_7B = TinyShape(
    name="like-7b",
    mrope=(2, 3, 3),
    talker_hidden=40,
    talker_heads=6,
    talker_kv_heads=2,
    talker_head_dim=16,  # query width 96, not the hidden size
    talker_mrope=(2, 3, 3),
    codes=96,
)
ODD = TinyShape(
    name="odd",
    hidden=96,
    layers=3,
    heads=6,
    kv_heads=3,
    intermediate=160,
    mrope=(3, 3, 2),
    audio={"d_model": 48, "encoder_layers": 3, "encoder_attention_heads": 3, "encoder_ffn_dim": 80, "n_window": 50},
    vision={
        "depth": 3, "hidden_size": 40, "intermediate_size": 52, "num_heads": 5, "patch_size": 14,
        "spatial_merge_size": 2, "temporal_patch_size": 2, "window_size": 112, "fullatt_block_indexes": [2],
    },
    talker_hidden=32,
    talker_layers=3,
    talker_heads=2,
    talker_kv_heads=1,
    talker_head_dim=16,
    talker_intermediate=72,
    talker_mrope=(4, 2, 2),
    codes=120,
    dit={
        "hidden_size": 48, "num_hidden_layers": 5, "num_attention_heads": 3, "head_dim": 16, "emb_dim": 24,
        "block_size": 24, "look_ahead_layers": [2], "look_backward_layers": [0, 4], "repeats": 2,
        "enc_emb_dim": 20, "enc_dim": 16, "enc_channels": [24, 24, 24, 24, 72], "enc_attention_channels": 12,
        "enc_se_channels": 10,
    },
    vocoder={
        "upsample_initial_channel": 128, "resblock_kernel_sizes": [3, 5],
        "resblock_dilation_sizes": [[1, 2, 4], [1, 3, 5]],
    },
)  # fmt: skip
SHAPES = (LIKE_3B, LIKE_7B, ODD)


def write_tiny(folder: Path, shape: TinyShape = LIKE_3B, seed: int = 0, *, max_shard: str = "1GB") -> Path:
    """Write a whole checkpoint folder: config, weights, tokenizer, template, preprocessor, spk_dict.pt.

    Args:
        folder: created when missing.
        shape: sizes.
        seed: of all weights and voices.
        max_shard: as in save_pretrained; a small value makes several shards.
    """
    model = tiny_model(shape, seed)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, max_shard_size=max_shard)
    torch.save(model.speaker_map, folder / "spk_dict.pt")
    write_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    return folder


def tiny_model(shape: TinyShape, seed: int = 0) -> Qwen2_5OmniForConditionalGeneration:
    """The model in memory, in eval mode, with rescaled weights and two voices."""
    torch.manual_seed(seed)
    model = Qwen2_5OmniForConditionalGeneration(tiny_config(shape)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(_scaled(name, parameter, generator))
        # Stop codes made rarer, or random speech would end at the first code.
        model.talker.codec_head.weight[[model.talker.codec_pad_token, model.talker.codec_eos_token]] *= 0.3
    for index, name in enumerate(("Chelsie", "Ethan")):
        model.speaker_map[name] = {
            "bos_token": SPECIALS[f"voice{index}"],
            "cond": torch.randn(1, shape.dit["enc_emb_dim"], generator=generator) * 0.06,
            "ref_mel": torch.randn(1, 60, 80, generator=generator) * 2.5 - 5.5,
        }
    return model


def _scaled(name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    """Normal values whose layers keep about unit variance, so that every part of the network shows in the output."""
    noise = torch.randn(parameter.shape, generator=generator)
    if name.endswith(("alpha", "beta")):
        return noise * 0.2
    if parameter.ndim == 1:
        is_norm_weight = name.endswith("weight")
        return 1 + 0.1 * noise if is_norm_weight else 0.1 * noise
    if "embed_tokens" in name or "codec_embed" in name:
        return noise
    if ".convs2." in name or "conv_post" in name:
        noise = noise * 0.3  # keeps the waveform inside ±1: a clipped one would hide differences
    if ".ups." in name:
        # ConvTranspose: only kernel/stride of the taps meet each output.
        return noise * math.sqrt(2 / parameter.shape[0] / parameter.shape[2])
    if "codec_head" in name or "lm_head" in name:
        return noise * 3 / math.sqrt(parameter.shape[1])
    return noise / math.sqrt(parameter[0].numel())


def tiny_config(shape: TinyShape) -> Qwen2_5OmniConfig:
    """The transformers configuration of a shape."""
    ids = {
        "audio_token_index": SPECIALS["<|AUDIO|>"],
        "audio_start_token_id": SPECIALS["<|audio_bos|>"],
        "audio_end_token_id": SPECIALS["<|audio_eos|>"],
        "image_token_index": SPECIALS["<|IMAGE|>"],
        "video_token_index": SPECIALS["<|VIDEO|>"],
        "vision_start_token_id": SPECIALS["<|vision_bos|>"],
        "vision_end_token_id": SPECIALS["<|vision_eos|>"],
    }
    vocab = max(SPECIALS.values()) + 1
    rope = {"rope_theta": 1e6, "rope_type": "default"}
    thinker = {
        "text_config": {
            "vocab_size": vocab, "hidden_size": shape.hidden, "intermediate_size": shape.intermediate,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "tie_word_embeddings": False, "max_position_embeddings": 8192,
            "rope_parameters": {**rope, "mrope_section": list(shape.mrope)},
        },
        "audio_config": {**shape.audio, "num_mel_bins": 128, "max_source_positions": 1500, "output_dim": shape.hidden},
        "vision_config": {**shape.vision, "out_hidden_size": shape.hidden},
        "bos_token_id": SPECIALS["<|im_start|>"], "eos_token_id": SPECIALS["<|im_end|>"],
        "pad_token_id": SPECIALS["<|endoftext|>"], **ids,
    }  # fmt: skip
    talker = {
        "vocab_size": shape.codes, "embedding_size": shape.hidden, "hidden_size": shape.talker_hidden,
        "intermediate_size": shape.talker_intermediate, "num_hidden_layers": shape.talker_layers,
        "num_attention_heads": shape.talker_heads, "num_key_value_heads": shape.talker_kv_heads,
        "head_dim": shape.talker_head_dim, "rope_parameters": {**rope, "mrope_section": list(shape.talker_mrope)},
        "max_position_embeddings": 8192, "spatial_merge_size": 2,
        "tts_text_start_token_id": SPECIALS["tts_start"], "tts_text_end_token_id": SPECIALS["tts_end"],
        "tts_text_pad_token_id": SPECIALS["tts_pad"],
        "tts_codec_pad_token_id": shape.codes - 8, "tts_codec_start_token_id": shape.codes - 7,
        "tts_codec_end_token_id": shape.codes - 6, "tts_codec_mask_token_id": shape.codes - 4, **ids,
    }  # fmt: skip
    # Codes between num_embeds and the end of the talker's vocabulary exist in the real models too (8194..8447).
    dit = {**shape.dit, "num_embeds": shape.codes - 1, "mel_dim": 80, "dropout": 0.0, "ff_mult": 2}
    return Qwen2_5OmniConfig(
        thinker_config=thinker,
        talker_config=talker,
        token2wav_config={"dit_config": dit, "bigvgan_config": {**shape.vocoder, "mel_dim": 80}},
    )


PREPROCESSOR = {
    "chunk_length": 300, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128,
    "hop_length": 160, "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "Qwen2VLImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711],
    "max_pixels": 12845056, "merge_size": 2, "min_pixels": 3136, "n_fft": 400, "n_samples": 4800000,
    "nb_max_frames": 30000, "padding_side": "right", "padding_value": 0.0, "patch_size": 14,
    "processor_class": "Qwen2_5OmniProcessor", "return_attention_mask": True, "sampling_rate": 16000,
    "temporal_patch_size": 2,
}  # fmt: skip
