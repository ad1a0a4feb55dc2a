"""The manifest of an exported bundle: what stands in the checkpoint's small files, in the runtime's terms."""

from __future__ import annotations

import numpy as np

from ..models.manifest import (
    SCHEMA,
    Decoder,
    Extra,
    FileEntry,
    Flow,
    Manifest,
    Subnetwork,
    SubnetworkName,
    Vocoder,
    VocoderPart,
    Voices,
)
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .front_ends import audio_front_end, vision_front_end
from .origin import source_of
from .own_values import OwnValues

EMBEDDINGS = "embeddings.npy"
CODEC_EMBEDDINGS = "codec_embeddings.npy"
FLOW_TABLES = "flow_tables.npz"
VOICES = "voices.npz"
TOKENIZER = "tokenizer.json"
TEMPLATE = "chat_template.jinja"


def describe(
    checkpoint: Checkpoint,
    own: OwnValues,
    voices: tuple[str, ...],
    subnetworks: dict[SubnetworkName, Subnetwork],
    files: tuple[FileEntry, ...],
    extras: tuple[Extra, ...],
    reaches: tuple[int, ...],
) -> Manifest:
    """Put a manifest together.

    Args:
        checkpoint: where sizes and ids come from.
        own: what its config has no place for.
        voices: names.
        subnetworks: their graphs.
        files: all files of the bundle.
        extras: those of them that are for other programs.
        reaches: of the vocoder's parts.
    """
    config = checkpoint.config
    source = source_of(checkpoint.folder, own.name)
    tokens = config.tokens
    rates = config.vocoder.upsample_rates
    parts = tuple(VocoderPart(rate=rate, reach=reach) for rate, reach in zip(rates, reaches, strict=True))
    hop = int(np.prod(rates))
    return Manifest(
        schema=SCHEMA,
        name=source.checkpoint.rpartition("/")[2],
        source=source,
        subnetworks=subnetworks,
        files=files,
        tokenizer=TOKENIZER,
        chat_template=TEMPLATE,
        embeddings=EMBEDDINGS,
        codec_embeddings=CODEC_EMBEDDINGS,
        tokens=tokens,
        thinker=_decoder(config.thinker),
        talker=_decoder(config.talker),
        audio=audio_front_end(checkpoint.folder, config),
        vision=vision_front_end(checkpoint.folder, config, own.video),
        clock=config.clock,
        flow=Flow(
            mel_bins=config.flow.mel_bins,
            codes=config.flow.num_embeds + 1,
            repeats=config.flow.repeats,
            block=config.flow.block,
            back_layers=len(config.flow.look_backward),
            width=config.flow.heads * config.flow.head_dim,
            solver=own.solver,
            steps=own.steps,
            guidance=own.guidance,
            guided_until=own.guided_until,
            sway=own.sway,
            schedules=own.schedules,
            tables=FLOW_TABLES,
        ),
        # 100 mel frames a second whatever the vocoder's hop (FACTS §6).
        vocoder=Vocoder(rate=100 * hop, parts=parts, dilations=config.vocoder.dilations),
        thinker_sampling=own.text.sampling(stop=tokens.eos),
        talker_sampling=own.codes.sampling(stop=(tokens.codec_pad, tokens.codec_end), suppress=(tokens.codec_start,)),
        voices=Voices(
            file=VOICES, names=voices, default=own.default_voice if own.default_voice in voices else voices[0]
        ),
        speech_prompt=own.speech_prompt,
        extras=extras,
    )


def _decoder(config: DecoderConfig) -> Decoder:
    return Decoder(
        rows=config.rows,
        hidden=config.hidden,
        layers=config.layers,
        heads=config.heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_dim,
        vocab=config.vocab,
        mrope_section=config.mrope_section,
        context=config.context,
    )
