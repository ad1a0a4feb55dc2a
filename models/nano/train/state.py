"""What a training goes on from in a fresh work folder: the checkpoint, and what a checkpoint has no place for.

`state/` holds the codec and the throw-away heads, in half precision, and how far each stage was. The optimisers'
momenta are left out; they come back within a hundred steps.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5OmniForConditionalGeneration

from . import checkpoint
from .learner import Learner
from .marathon import StageOptions
from .pieces import SPECIALS
from .utterances import SPECIAL_ROWS

FOLDER = Path(__file__).parents[1] / "state"
HEADS = FOLDER / "heads.safetensors"
CODEC = "codec.safetensors"
PROGRESS = FOLDER / "progress.json"
STAGES = ("joint", "vocoder", "flow", "talker")
HELD_OUT = ("wer_seen", "mel_l1", "l1_1", "held_code")
"""Names by which the lines with figures on held-out items are known."""


def write(options: StageOptions) -> None:
    """Write the newest parts of the work folder into the repository."""
    saved = torch.load(options.folder / "joint.pt", weights_only=True)["learner"]
    learner = Learner(options.seed)
    learner.load_state_dict(saved)
    speech = {name: checkpoint.speech_part(options.folder, name) for name in checkpoint.SPEECH}
    checkpoint.write_checkpoint(checkpoint.FOLDER, learner, speech, options.folder / "voices")
    FOLDER.mkdir(exist_ok=True)
    shutil.copyfile(options.folder / CODEC, FOLDER / CODEC)
    heads = {f"{part}.{name}": value for part in ("phone_head", "token_head") for name, value in saved[part].items()}
    save_file({name: value.half().contiguous() for name, value in heads.items()}, HEADS)
    HEADS.chmod(0o644)
    progress = {stage: _progress(options.folder, stage) for stage in STAGES}
    PROGRESS.write_text(json.dumps({"seed": options.seed, "ring": options.ring, **progress}, indent=2) + "\n")


def read(options: StageOptions) -> None:
    """Make work states of the repository's weights, from which `--resume` goes on."""
    options.folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(FOLDER / CODEC, options.folder / CODEC)
    progress = json.loads(PROGRESS.read_text())
    for stage, state in _states().items():
        facts = progress[stage]
        torch.save({"step": facts["step"], "cpu": facts["cpu_seconds"], **state}, options.folder / f"{stage}.pt")


def read_learner() -> dict[str, Any]:
    """The repository's Thinker and heads as `Learner.load_state_dict` takes them."""
    return _states()["joint"]["learner"]


def _states() -> dict[str, dict[str, Any]]:
    model: Any = Qwen2_5OmniForConditionalGeneration.from_pretrained(checkpoint.FOLDER, dtype=torch.float32)
    special = torch.stack(
        [model.thinker.model.language_model.embed_tokens.weight[SPECIALS[name]].detach() for name in SPECIAL_ROWS]
    )
    checkpoint.rescale(model.thinker, 1 / checkpoint.STREAM, 1 / checkpoint.HIDDEN)
    learner: dict[str, dict[str, torch.Tensor]] = {"thinker": model.thinker.state_dict()}
    for name, value in load_file(HEADS).items():
        part, rest = name.split(".", 1)
        learner.setdefault(part, {})[rest] = value.float()
    talker = {f"talker.{name}": value for name, value in model.talker.state_dict().items()}
    speech = {
        "vocoder": model.token2wav.code2wav_bigvgan_model.state_dict(),
        "flow": model.token2wav.code2wav_dit_model.state_dict(),
        "talker": {**talker, "embed_tokens_special.weight": special.clone()},
    }
    averages = {name: {"model": weights, "average": weights} for name, weights in speech.items()}
    return {"joint": {"learner": learner}, **averages}


def _progress(folder: Path, stage: str) -> dict[str, Any]:
    saved = torch.load(folder / f"{stage}.pt", weights_only=True, mmap=True)
    lines = [json.loads(line) for line in (folder / f"{stage}.jsonl").read_text().splitlines()]
    held_out = next((line for line in reversed(lines) if any(name in line for name in HELD_OUT)), {})
    return {"step": saved["step"], "cpu_seconds": round(saved["cpu"]), "held_out": held_out}
