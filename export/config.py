"""config.json of a checkpoint -> the sizes the exporters need.

Two spellings of the same file are in circulation (FACTS §1.3, §1.4): the published one (dim/depth/heads in the DiT,
rope_scaling + rope_theta in the decoders) and the one that transformers 5 writes (hidden_size/..., rope_parameters).
Both are read; a value that stands in neither is an error, except where the published file relies on a class
default, which is then written out below.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.errors import BundleError
from ..models.manifest import Clock, TokenIds


@dataclass(frozen=True)
class DecoderConfig:
    """A Qwen2 decoder. `rows` is the width of its input rows, which the talker projects to `hidden`."""

    rows: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    mrope_section: tuple[int, int, int]
    rope_theta: float
    norm_eps: float
    context: int


@dataclass(frozen=True)
class AudioConfig:
    """The audio encoder; `window` is n_window, half a chunk in mel frames."""

    width: int
    layers: int
    heads: int
    ffn: int
    mels: int
    window: int
    out: int


@dataclass(frozen=True)
class VisionConfig:
    """The vision encoder; `window` in pixels, `full_blocks` attend over whole frames."""

    depth: int
    hidden: int
    heads: int
    intermediate: int
    patch: int
    temporal_patch: int
    merge: int
    window: int
    channels: int
    out: int
    full_blocks: tuple[int, ...]


@dataclass(frozen=True)
class FlowConfig:
    """The DiT of token2wav and its speaker encoder (FACTS §6.1)."""

    hidden: int
    layers: int
    heads: int
    head_dim: int
    ff_mult: int
    code_width: int
    num_embeds: int
    repeats: int
    mel_bins: int
    block: int
    look_ahead: tuple[int, ...]
    look_backward: tuple[int, ...]
    rope_theta: float
    speaker: Mapping[str, Any]
    """The enc_* keys, for transformers' ECAPA module, whose only user is the exporter."""


@dataclass(frozen=True)
class VocoderConfig:
    """BigVGAN (FACTS §6.3)."""

    mel_bins: int
    channels: int
    upsample_rates: tuple[int, ...]
    upsample_kernels: tuple[int, ...]
    kernels: tuple[int, ...]
    dilations: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class OmniConfig:
    """Everything config.json says that the exporters use."""

    audio: AudioConfig
    vision: VisionConfig
    thinker: DecoderConfig
    talker: DecoderConfig
    flow: FlowConfig
    vocoder: VocoderConfig
    tokens: TokenIds
    clock: Clock


class _Section:
    """One object of the json, which names itself in errors and reads the first of several spellings."""

    def __init__(self, values: Mapping[str, Any], path: str) -> None:
        self.values = values
        self.path = path

    def get(self, *names: str) -> Any:
        for name in names:
            if self.values.get(name) is not None:
                return self.values[name]
        raise BundleError(f"{self.path} has no {' or '.join(names)}; is this a Qwen2.5-Omni checkpoint?")

    def find(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def section(self, name: str) -> _Section:
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise BundleError(f"{self.path} has no object {name}; is this a Qwen2.5-Omni checkpoint?")
        return _Section(value, f"{self.path}: {name}")


def read_config(path: Path) -> OmniConfig:
    """Read config.json in either spelling.

    Raises:
        BundleError: missing, not JSON, another model, or a key that is in neither spelling.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} does not exist; give the folder of a Qwen2.5-Omni checkpoint, "
            "or an id that `omni-edge pull` downloaded"
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(values, dict) or values.get("model_type") != "qwen2_5_omni":
        kind = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise BundleError(f"{path} is of model type {kind}; only qwen2_5_omni can be exported")
    try:
        config = _config(_Section(values, str(path)))
    except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
        raise BundleError(f"{path} holds a value that cannot be: {error}; download the checkpoint again") from error
    _check_widths(config, path)
    return config


def _config(root: _Section) -> OmniConfig:
    thinker, talker = root.section("thinker_config"), root.section("talker_config")
    speech = root.section("token2wav_config")
    return OmniConfig(
        audio=_audio(thinker.section("audio_config")),
        vision=_vision(thinker.section("vision_config")),
        thinker=_thinker(thinker.section("text_config")),
        talker=_talker(talker),
        flow=_flow(speech.section("dit_config")),
        vocoder=_vocoder(speech.section("bigvgan_config")),
        tokens=_tokens(thinker, talker),
        clock=Clock(
            ids_per_second=thinker.find("position_id_per_seconds", 25),
            seconds_per_chunk=thinker.find("seconds_per_chunk", 2),
        ),
    )


def _check_widths(config: OmniConfig, path: Path) -> None:
    width = config.thinker.hidden
    for name, value in (
        ("audio_config.output_dim", config.audio.out),
        ("vision_config.out_hidden_size", config.vision.out),
        ("talker_config.embedding_size", config.talker.rows),
    ):
        if value != width:
            raise BundleError(f"{path}: {name} is {value} but the thinker's hidden size is {width}")
    for name, decoder in (("thinker", config.thinker), ("talker", config.talker)):
        if 2 * sum(decoder.mrope_section) != decoder.head_dim:
            raise BundleError(
                f"{path}: {name} mrope_section {list(decoder.mrope_section)} does not add up to half "
                f"its head size {decoder.head_dim}"
            )


def _decoder(section: _Section, *, rows: int, head_dim: int) -> DecoderConfig:
    rope = _Section(
        section.values.get("rope_parameters") or section.values.get("rope_scaling") or {},
        f"{section.path}: rope_parameters",
    )
    theta = rope.values.get("rope_theta") or section.get("rope_theta")
    first, second, third = rope.get("mrope_section")
    return DecoderConfig(
        rows=rows,
        hidden=section.get("hidden_size"),
        layers=section.get("num_hidden_layers"),
        heads=section.get("num_attention_heads"),
        kv_heads=section.get("num_key_value_heads"),
        head_dim=head_dim,
        intermediate=section.get("intermediate_size"),
        vocab=section.get("vocab_size"),
        mrope_section=(first, second, third),
        rope_theta=float(theta),
        norm_eps=section.get("rms_norm_eps"),
        context=section.get("max_position_embeddings"),
    )


def _thinker(text: _Section) -> DecoderConfig:
    hidden = text.get("hidden_size")
    head_dim = text.find("head_dim", hidden // text.get("num_attention_heads"))
    return _decoder(text, rows=hidden, head_dim=head_dim)


def _talker(talker: _Section) -> DecoderConfig:
    return _decoder(talker, rows=talker.get("embedding_size"), head_dim=talker.get("head_dim"))


def _audio(audio: _Section) -> AudioConfig:
    return AudioConfig(
        width=audio.get("d_model"),
        layers=audio.get("encoder_layers"),
        heads=audio.get("encoder_attention_heads"),
        ffn=audio.get("encoder_ffn_dim"),
        mels=audio.get("num_mel_bins"),
        window=audio.get("n_window"),
        out=audio.get("output_dim"),
    )


def _vision(vision: _Section) -> VisionConfig:
    return VisionConfig(
        depth=vision.get("depth"),
        hidden=vision.get("hidden_size", "embed_dim"),
        heads=vision.get("num_heads"),
        intermediate=vision.get("intermediate_size"),
        patch=vision.get("patch_size", "spatial_patch_size"),
        temporal_patch=vision.get("temporal_patch_size"),
        merge=vision.get("spatial_merge_size"),
        window=vision.get("window_size"),
        channels=vision.get("in_channels", "in_chans"),
        out=vision.get("out_hidden_size"),
        full_blocks=tuple(vision.get("fullatt_block_indexes")),
    )


def _flow(dit: _Section) -> FlowConfig:
    # Block size, look-ahead and look-back layers and the rotary base stand in no published file: the
    # defaults below are those of the reference classes (FACTS §1.3).
    rope = dit.find("rope_parameters", {})
    speaker_keys = (
        "mel_dim enc_dim enc_emb_dim enc_channels enc_kernel_sizes enc_dilations "
        "enc_attention_channels enc_res2net_scale enc_se_channels"
    ).split()
    return FlowConfig(
        hidden=dit.get("hidden_size", "dim"),
        layers=dit.get("num_hidden_layers", "depth"),
        heads=dit.get("num_attention_heads", "heads"),
        head_dim=dit.get("head_dim"),
        ff_mult=dit.get("ff_mult"),
        code_width=dit.get("emb_dim"),
        num_embeds=dit.get("num_embeds"),
        repeats=dit.get("repeats"),
        mel_bins=dit.get("mel_dim"),
        block=dit.find("block_size", 24),
        look_ahead=tuple(dit.find("look_ahead_layers", (10,))),
        look_backward=tuple(dit.find("look_backward_layers", (0, 20))),
        rope_theta=float(rope.get("rope_theta") or dit.find("rope_theta", 10000.0)),
        speaker={key: dit.get(key) for key in speaker_keys},
    )


def _vocoder(bigvgan: _Section) -> VocoderConfig:
    return VocoderConfig(
        mel_bins=bigvgan.get("mel_dim"),
        channels=bigvgan.get("upsample_initial_channel"),
        upsample_rates=tuple(bigvgan.get("upsample_rates")),
        upsample_kernels=tuple(bigvgan.get("upsample_kernel_sizes")),
        kernels=tuple(bigvgan.get("resblock_kernel_sizes")),
        dilations=tuple(tuple(row) for row in bigvgan.get("resblock_dilation_sizes")),
    )


def _tokens(thinker: _Section, talker: _Section) -> TokenIds:
    eos = thinker.get("eos_token_id")
    return TokenIds(
        audio=thinker.get("audio_token_index", "audio_token_id"),
        image=thinker.get("image_token_index", "image_token_id"),
        video=thinker.get("video_token_index", "video_token_id"),
        audio_start=thinker.get("audio_start_token_id"),
        audio_end=thinker.get("audio_end_token_id"),
        vision_start=thinker.get("vision_start_token_id"),
        vision_end=thinker.get("vision_end_token_id"),
        eos=tuple(eos) if isinstance(eos, list) else (eos,),
        pad=thinker.get("pad_token_id"),
        tts_text_start=talker.get("tts_text_start_token_id"),
        tts_text_end=talker.get("tts_text_end_token_id"),
        tts_text_pad=talker.get("tts_text_pad_token_id"),
        codec_start=talker.get("tts_codec_start_token_id"),
        codec_end=talker.get("tts_codec_end_token_id"),
        codec_pad=talker.get("tts_codec_pad_token_id"),
        codec_mask=talker.get("tts_codec_mask_token_id"),
    )
