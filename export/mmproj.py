"""Both encoders as one GGUF in llama.cpp's own format for other programs: projector "qwen2.5o" (FACTS §8).

Our runtime does not read it. What llama.cpp computes with it is not what the reference computes: its audio encoder
attends over 30 padded seconds where the model was trained on chunks of 2 (FACTS §8). The thinker's GGUF and this file
are what `llama-mtmd-cli -m thinker.gguf --mmproj mmproj.gguf` takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGUFType, GGUFWriter, VisionProjectorType, get_tensor_name_map

from ..models.errors import BundleError
from .checkpoint import Checkpoint
from .config import VisionConfig
from .front_ends import vision_front_end
from .gguf_decoder import FILE_TYPES
from .gguf_file import F16, F32, Content, Made, Stored, Tensor, write_file
from .graphs import Tick

MMPROJ, MMPROJ_KINDS = "mmproj.gguf", tuple(FILE_TYPES)
PURPOSE = (
    "both encoders, for programs built on llama.cpp (llama-mtmd-cli --mmproj). What it hears with is not the model's "
    "own audio encoder; this runtime does not read the file"
)
AUDIO, VISION = "thinker.audio_tower.", "thinker.visual."
UNUSED = "audio_bos_eos_token"
"""Stored and never read (FACTS §2.3)."""
PATCHES = "patch_embed.proj.weight"
IMAGE_SIZE = 560
"""Side in pixels that the file gives as its default; llama.cpp takes pictures of any size."""
WINDOW, MERGE, TEMPORAL = 112, 2, 2
"""What llama.cpp takes for granted of the vision encoder."""
AUDIO_POSITIONS = 1500
"""Rows of the sinusoid table: 30 s."""


def write_mmproj(checkpoint: Checkpoint, folder: Path, kind: str, tick: Tick) -> str:
    """Write both encoders.

    Args:
        checkpoint: weights.
        folder: gets mmproj.gguf.
        kind: one of MMPROJ_KINDS; vectors are always f32, the audio encoder's convolutions f16.
        tick: told how far it is.

    Returns:
        The file's name.

    Raises:
        BundleError: no such kind, or encoders of a shape that llama.cpp does not have.
    """
    pattern = check_mmproj(checkpoint, kind)
    path = folder / MMPROJ
    matrices, file_type = FILE_TYPES[kind]
    writer = GGUFWriter(path, "clip")
    writer.add_type(GGUFType.MMPROJ)
    writer.add_name(f"{checkpoint.folder.name} encoders")
    writer.add_file_type(file_type)
    writer.add_clip_projector_type(VisionProjectorType.QWEN25O)
    _add_vision(writer, checkpoint, pattern)
    _add_audio(writer, checkpoint)
    tensors: list[Tensor] = []
    for name, content in _tensors(checkpoint):
        is_kernel = name.startswith("a.conv1d") and name.endswith(".weight")
        is_vector = len(content.shape) == 1 or name.endswith(".bias") or "position_embd" in name
        tensors.append(Tensor(name, content, F16 if is_kernel else F32 if is_vector else matrices))
    write_file(writer, path, tensors, tick)
    return path.name


def check_mmproj(checkpoint: Checkpoint, kind: str) -> int:
    """Refuse, before anything is written, what `write_mmproj` cannot do.

    Returns:
        How many blocks apart those are that attend over a whole picture.

    Raises:
        BundleError: no such kind, or encoders of a shape that llama.cpp does not have.
    """
    if kind not in MMPROJ_KINDS:
        raise BundleError(f"there is no mmproj precision {kind}; take one of {', '.join(MMPROJ_KINDS)}")
    return _window_pattern(checkpoint.config.vision)


def _window_pattern(vision: VisionConfig) -> int:
    """How many blocks apart those are that attend over a whole picture."""
    first = vision.full_blocks[0] + 1
    regular = tuple(range(first - 1, vision.depth, first))[: len(vision.full_blocks)] == vision.full_blocks
    found = (vision.window, vision.merge, vision.temporal_patch)
    if not regular or found != (WINDOW, MERGE, TEMPORAL):
        raise BundleError(
            f"the vision encoder cannot be an mmproj: llama.cpp takes windows of {WINDOW} pixels and whole views in "
            f"every n-th block, this one has {vision.window} and {list(vision.full_blocks)}. Export it for onnx"
        )
    return first


def _add_vision(writer: GGUFWriter, checkpoint: Checkpoint, pattern: int) -> None:
    vision = checkpoint.config.vision
    pixels = vision_front_end(checkpoint.folder, checkpoint.config)
    writer.add_clip_has_vision_encoder(True)
    writer.add_vision_projection_dim(vision.out)
    writer.add_vision_image_size(IMAGE_SIZE)
    writer.add_vision_patch_size(vision.patch)
    writer.add_vision_embedding_length(vision.hidden)
    writer.add_vision_feed_forward_length(vision.intermediate)
    writer.add_vision_block_count(vision.depth)
    writer.add_vision_head_count(vision.heads)
    writer.add_vision_image_mean(pixels.mean)
    writer.add_vision_image_std(pixels.std)
    writer.add_vision_use_silu(True)
    writer.add_vision_n_wa_pattern(pattern)
    writer.add_vision_attention_layernorm_eps(1e-6)


def _add_audio(writer: GGUFWriter, checkpoint: Checkpoint) -> None:
    audio = checkpoint.config.audio
    writer.add_clip_has_audio_encoder(True)
    writer.add_audio_projection_dim(audio.out)
    writer.add_audio_embedding_length(audio.width)
    writer.add_audio_feed_forward_length(audio.ffn)
    writer.add_audio_block_count(audio.layers)
    writer.add_audio_head_count(audio.heads)
    writer.add_audio_num_mel_bins(audio.mels)
    writer.add_audio_attention_layernorm_eps(1e-5)


@dataclass(frozen=True)
class _Frame:
    """One frame of the patch kernel: llama.cpp adds two plane convolutions instead of one in three dimensions."""

    kernel: Stored
    frame: int

    @property
    def shape(self) -> tuple[int, ...]:
        out, channels, _, height, width = self.kernel.shape
        return out, channels, height, width

    def slabs(self) -> Iterator[np.ndarray]:
        return (slab[:, :, self.frame] for slab in self.kernel.slabs())


def _tensors(checkpoint: Checkpoint) -> Iterator[tuple[str, Content]]:
    """llama.cpp's name and the values of every tensor of both encoders."""
    config = checkpoint.config
    table = get_tensor_name_map(MODEL_ARCH.MMPROJ, max(config.audio.layers, config.vision.depth))
    yield "a.position_embd.weight", Made(_sinusoids(config.audio.width))
    for key in sorted(checkpoint.files):
        if not key.startswith((AUDIO, VISION)) or UNUSED in key:
            continue
        name = table.get_name(key.removeprefix("thinker."), try_suffixes=(".weight", ".bias"))
        if name is None:
            raise BundleError(f"llama.cpp has no name for {key} of {checkpoint.folder}. Export it for onnx")
        stored = Stored(checkpoint, key)
        if key == VISION + PATCHES:
            yield name, _Frame(stored, 0)
            yield f"{name}.1", _Frame(stored, 1)
        elif key.startswith(f"{AUDIO}conv") and key.endswith(".bias"):
            # One column a channel, as it is added to [channels, time].
            yield name, Made(checkpoint.array(key)[:, None])
        else:
            yield name, stored


def _sinusoids(width: int) -> np.ndarray:
    """Positions of the audio encoder [AUDIO_POSITIONS, width]: sines, then cosines (FACTS §4.2)."""
    half = width // 2
    scales = np.exp(-np.log(10000.0) / (half - 1) * np.arange(half, dtype=np.float32))
    angles = np.arange(AUDIO_POSITIONS, dtype=np.float32)[:, None] * scales
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
