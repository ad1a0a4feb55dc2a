"""What is looked at before an export writes anything."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..models.errors import BundleError
from ..models.manifest import MANIFEST, SUBNETWORKS, SubnetworkName
from .checkpoint import Checkpoint
from .flow_tables import check_voice
from .front_ends import audio_front_end, chat_template, tokenizer_json, vision_front_end
from .gguf import check_gguf
from .mmproj import check_mmproj
from .precisions import DECODERS, Choice, Precision
from .voices import Voice, read_voices

PREFIXES: dict[SubnetworkName, tuple[str, ...]] = {
    "audio_encoder": ("thinker.audio_tower.",),
    "vision_encoder": ("thinker.visual.",),
    "thinker": ("thinker.model.", "thinker.lm_head."),
    "talker": ("talker.",),
    "flow": ("token2wav.code2wav_dit_model.",),
    "vocoder": ("token2wav.code2wav_bigvgan_model.",),
}
"""Where each subnetwork's tensors lie."""


def parameters(checkpoint: Checkpoint) -> dict[SubnetworkName, int]:
    """Weights of each subnetwork, its embedding table included."""
    sizes = checkpoint.sizes
    return {
        name: sum(count for tensor, count in sizes.items() if tensor.startswith(PREFIXES[name])) for name in SUBNETWORKS
    }


def checked_voices(checkpoint: Checkpoint) -> dict[str, Voice]:
    """The checkpoint's voices.

    Raises:
        BundleError: there is none, or one does not fit the flow.
    """
    voices = read_voices(checkpoint.folder)
    for name, voice in voices.items():
        wrong = check_voice(voice, checkpoint.config.flow)
        if wrong:
            raise BundleError(f"{checkpoint.folder}: voice {name}: {wrong}")
    if not voices:
        raise BundleError(f"{checkpoint.folder}: spk_dict.pt holds no voice; download it again")
    return voices


def check_target(folder: Path) -> None:
    """An existing folder may only be replaced if it is empty or a bundle."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BundleError(f"{folder} is a file; name a folder for the bundle")
    if any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise BundleError(f"{folder} holds other files and is not a bundle; name another folder")


def check_front_ends(checkpoint: Checkpoint) -> None:
    """What the small files lack is said now and not after the graphs of a large checkpoint are written."""
    tokenizer_json(checkpoint.folder)
    chat_template(checkpoint.folder)
    audio_front_end(checkpoint.folder, checkpoint.config)
    vision_front_end(checkpoint.folder, checkpoint.config)


def check_graphs(checkpoint: Checkpoint, choice: Choice, mmproj: str | None, *, listens: bool) -> None:
    """Refuse graphs that a format cannot carry, and kinds that need conversations when there are none."""
    for name in DECODERS:
        for precision in choice[name]:
            if precision.engine == "llama":
                check_gguf(checkpoint, name, precision.name, has_importance=listens)
    if mmproj:
        check_mmproj(checkpoint, mmproj)


def check_space(checkpoint: Checkpoint, choice: Choice, mmproj: str | None, bundle_folder: Path) -> None:
    """Refuse before any work when the weights cannot fit."""
    counts = parameters(checkpoint)
    needed = sum(counts[name] * _bytes(precision) for name, graphs in choice.items() for precision in graphs)
    if mmproj:
        needed += (counts["audio_encoder"] + counts["vision_encoder"]) * (4 if mmproj == "f32" else 2)
    place = bundle_folder.absolute().parent
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise BundleError(
            f"{place} has {free / 1e9:.1f} GB free but the bundle needs about {needed / 1e9:.1f} GB; "
            "free some space, export to another disk, or choose a smaller --precision"
        )


def _bytes(precision: Precision) -> float:
    """Of a weight, about. llama.cpp's kinds are made from a file of two bytes a weight, which lies beside them."""
    if precision.engine == "llama":
        return 4.0 if precision.name == "f32" else 3.0
    if precision.rounding is None:
        return 4.0
    prompt = 1.0 if precision.prompt else 0.0
    scheme = precision.rounding.fine if precision.rounding.finer else precision.rounding.scheme
    return scheme.bits / 8 + 5 / scheme.block + prompt
