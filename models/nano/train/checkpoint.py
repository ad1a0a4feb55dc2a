"""All of nano's parts as one Hugging Face style checkpoint, which the exporter and transformers read like any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from ....export.tiny import PREPROCESSOR
from ..world.drawing import FPS, SIDE
from ..world.speakers import SPEAKERS
from .flow import FlowShape, flow_config, new_flow
from .learner import Learner
from .pieces import SPECIALS, write_tokenizer
from .prompted import HIDDEN, STREAM
from .talker import TalkerShape, TalkerStudent, talker_config
from .thinker import thinker_config
from .utterances import SPECIAL_ROWS
from .vocoder import VocoderShape, new_vocoder, vocoder_config
from .voices import voices_record

SPEECH = ("talker", "flow", "vocoder")
FOLDER = Path(__file__).parents[1] / "checkpoint"
README = """---
license: apache-2.0
language: en
---
nano: a Qwen2.5-Omni of nine million weights, trained by omni-edge's own scripts on speech, pictures and clips that
those scripts make. `omni-edge export models/nano/checkpoint models/nano/bundle --precision int8` makes the bundle that
ships of it.
"""
CODEC_FRAMES = 16 * 60 * 100
"""Longest speech, in mel frames: sixteen minutes."""


def speech_part(folder: Path, name: str) -> nn.Module:
    """Talker, flow or vocoder of a work folder with its averaged weights."""
    part: nn.Module = {
        "talker": lambda: TalkerStudent(TalkerShape(), 0),
        "flow": lambda: new_flow(FlowShape(), 0),
        "vocoder": lambda: new_vocoder(VocoderShape(), 0),
    }[name]()
    part.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True)["average"])
    return part


def write_checkpoint(folder: Path, learner: Learner, speech: dict[str, nn.Module], voices: Path) -> None:
    """Join the parts and write them in half precision.

    Args:
        folder: created when missing.
        learner: holds the Thinker; its throw-away heads are left out.
        speech: of `speech_part`, by name.
        voices: folder of the voice caches, for the reference mels.
    """
    model = joined(learner, speech)
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # written for its owner alone
    write_tokenizer(folder)
    bos = {speaker.name: SPECIALS[f"voice{index}"] for index, speaker in enumerate(SPEAKERS)}
    torch.save(voices_record(bos, voices), folder / "spk_dict.pt")
    pixels = {"min_pixels": SIDE * SIDE, "max_pixels": SIDE * SIDE}
    _write(folder / "preprocessor_config.json", {**PREPROCESSOR, **pixels})
    _write(folder / "generation_config.json", {})
    _write(folder / "omni_edge.json", own_values())
    (folder / "README.md").write_text(README)


def own_values() -> dict[str, Any]:
    """What nano's exporter must know and no published file has a place for."""
    frame = SIDE * SIDE
    return {
        "name": "nano",
        "speech_prompt": "",
        "solver": "euler",
        "steps": 2,
        "guidance": 0.0,
        "schedules": {"euler": [2, 3, 5], "rk4": []},
        "video": {
            "fps": FPS, "min_frames": 4, "max_frames": 16, "min_pixels": frame, "max_pixels": frame,
            "total_pixels": 16 * frame,
        },
        "text": {"max_tokens": 64},
        "codes": {"max_tokens": 1000, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0},
        "default_voice": SPEAKERS[0].name,
    }  # fmt: skip


@torch.no_grad()
def joined(learner: Learner, speech: dict[str, nn.Module]) -> Qwen2_5OmniForConditionalGeneration:
    """The whole model, its rows scaled as the talker has learnt to read them (prompted.py)."""
    talker: Any = speech["talker"]
    config = Qwen2_5OmniConfig(
        thinker_config=thinker_config().to_dict(),
        talker_config=talker_config(TalkerShape()).to_dict(),
        token2wav_config={
            "dit_config": {**flow_config(FlowShape()).to_dict(), "max_position_embeddings": CODEC_FRAMES},
            "bigvgan_config": vocoder_config(VocoderShape()).to_dict(),
        },
    )
    model: Any = Qwen2_5OmniForConditionalGeneration(config).eval()
    model.thinker.load_state_dict(learner.thinker.state_dict())
    model.talker.load_state_dict(talker.talker.state_dict())
    model.token2wav.code2wav_dit_model.load_state_dict(speech["flow"].state_dict())
    model.token2wav.code2wav_bigvgan_model.load_state_dict(speech["vocoder"].state_dict())
    rescale(model.thinker, STREAM, HIDDEN)
    rows = model.thinker.model.language_model.embed_tokens.weight
    for index, name in enumerate(SPECIAL_ROWS):
        rows[SPECIALS[name]] = talker.embed_tokens_special.weight[index]
    return model


@torch.no_grad()
def rescale(thinker: Any, stream: float, hidden: float) -> None:
    """Scale the residual stream and the last hidden state; the logits stay what they were.

    All that writes into the stream grows alike, and the norms that read it take its scale away again.
    """
    inner = thinker.model
    text = inner.language_model
    writers = [text.embed_tokens.weight, inner.audio_tower.proj.weight, inner.audio_tower.proj.bias]
    writers += [inner.visual.merger.mlp[2].weight, inner.visual.merger.mlp[2].bias]
    for layer in text.layers:
        writers += [layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight]
    for weight in writers:
        weight.mul_(stream)
    text.norm.weight.mul_(hidden)
    thinker.lm_head.weight.div_(hidden)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
