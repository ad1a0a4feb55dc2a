"""Checkpoints of true shape without true weights: `python -m omni_edge.export.synthetic --like CONFIG OUT`.

Names, shapes, dtypes, shards and index are those of a published checkpoint; the values are seeded noise whose layers
keep about unit variance. Speed and memory of the large models can so be measured where none can be downloaded.

One block of noise is drawn once. Each tensor is a stretch of it, scaled, from an offset of its own, so that files are
written as fast as the disk takes them.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import torch
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from ..models.errors import BundleError
from .checkpoint import INDEX

SMALL_FILES = (
    "tokenizer.json", "tokenizer_config.json", "chat_template.json", "preprocessor_config.json",
    "generation_config.json", "spk_dict.pt",
)  # fmt: skip
SHARD_BYTES = 5_000_000_000
BLOCK = 1 << 24
"""Values of noise."""
ROPE = "token2wav.code2wav_dit_model.rotary_embed.inv_freq"
"""Stored by the published checkpoints, computed by transformers 5 (FACTS §2.3)."""
_LEGACY = (
    ("thinker.model.audio_tower.", "thinker.audio_tower."),
    ("thinker.model.visual.", "thinker.visual."),
    ("thinker.model.language_model.", "thinker.model."),
)
"""How transformers 5 names what checkpoints name otherwise (FACTS §2.4)."""


@dataclass(frozen=True)
class Stored:
    """One tensor of the checkpoint."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """"BF16" or "F32", as safetensors spells them."""
    scale: float
    """Deviation of the values; they lie around 1 for weights of norms, around 0 elsewhere."""
    mean: float = 0.0

    @property
    def count(self) -> int:
        """Values."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """In the file."""
        return self.count * (2 if self.dtype == "BF16" else 4)


def stored_tensors(config: Qwen2_5OmniConfig) -> list[Stored]:
    """All tensors of a checkpoint with this configuration, in the order of the model."""
    with torch.device("meta"):
        model = Qwen2_5OmniForConditionalGeneration(config)
    found = []
    for name, value in model.state_dict().items():
        for new, legacy in _LEGACY:
            name = legacy + name.removeprefix(new) if name.startswith(new) else name  # noqa: PLW2901
        found.append(_stored(name, tuple(value.shape)))
    token2wav: Any = config.token2wav_config
    width = token2wav.dit_config.head_dim // 2
    return [*found, Stored(ROPE, (width,), "F32", 0.1)]


def _stored(name: str, shape: tuple[int, ...]) -> Stored:
    dtype = "F32" if name.startswith("token2wav.") else "BF16"
    if name.endswith(("alpha", "beta")):
        return Stored(name, shape, dtype, 0.2)
    if len(shape) == 1:
        is_norm = name.endswith("weight")
        return Stored(name, shape, dtype, 0.1, 1.0 if is_norm else 0.0)
    if "embed_tokens" in name or "codec_embed" in name:
        return Stored(name, shape, dtype, 1.0)
    if ".ups." in name:
        # ConvTranspose: only kernel / stride of the taps meet each output.
        return Stored(name, shape, dtype, math.sqrt(2 / (shape[0] * shape[2])))
    quiet = 0.3 if ".convs2." in name or "conv_post" in name else 1.0
    return Stored(name, shape, dtype, quiet / math.sqrt(math.prod(shape[1:])))


class Noise:
    """The block, and its scaled forms as bytes."""

    def __init__(self, seed: int) -> None:
        self._normal = np.random.default_rng(seed).standard_normal(BLOCK, dtype=np.float32)
        self._forms: dict[tuple[str, float, float], memoryview] = {}

    def pieces(self, tensor: Stored) -> Iterator[memoryview]:
        """The bytes of a tensor, at most a block at a time."""
        width = 2 if tensor.dtype == "BF16" else 4
        block = self._form(tensor)
        start = zlib.crc32(tensor.name.encode()) % BLOCK * width
        left = tensor.bytes
        while left:
            piece = block[start : start + left]
            yield piece
            left -= len(piece)
            start = 0

    def _form(self, tensor: Stored) -> memoryview:
        key = (tensor.dtype, tensor.scale, tensor.mean)
        if key not in self._forms:
            values = self._normal * np.float32(tensor.scale) + np.float32(tensor.mean)
            made = values.astype(ml_dtypes.bfloat16) if tensor.dtype == "BF16" else values
            # A few forms are enough for one kind of layer after the other; all of them would not fit memory.
            if len(self._forms) >= 4:
                del self._forms[next(iter(self._forms))]
            self._forms[key] = memoryview(made.tobytes())
        return self._forms[key]


def write_synthetic(
    like: Path, out: Path, files: Path | None = None, seed: int = 0, tick: Callable[[int], None] = lambda _: None
) -> None:
    """Write a checkpoint.

    Args:
        like: a config.json, or the folder that holds one.
        out: folder, created when missing.
        files: where tokenizer, templates and voices are copied from; None: the folder of `like`.
        seed: of the values.
        tick: called with the bytes written since the last call.

    Raises:
        BundleError: a file is missing, or the disk is too small.
    """
    path = like / "config.json" if like.is_dir() else like
    source = files or path.parent
    missing = [name for name in SMALL_FILES if not (source / name).exists()]
    if missing:
        raise BundleError(f"{source} lacks {', '.join(missing)}; name a folder that has them with --files")
    tensors = stored_tensors(Qwen2_5OmniConfig.from_dict(json.loads(path.read_text(encoding="utf-8"))))
    out.mkdir(parents=True, exist_ok=True)
    needed, free = sum(tensor.bytes for tensor in tensors), shutil.disk_usage(out).free
    if free < needed:
        raise BundleError(f"{out} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed")
    for name in SMALL_FILES:
        shutil.copyfile(source / name, out / name)
    shutil.copyfile(path, out / "config.json")
    shards, noise = list(_sharded(tensors)), Noise(seed)
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        _write_shard(out / name, shard, noise, tick)
        index |= dict.fromkeys((tensor.name for tensor in shard), name)
    content = {"metadata": {"total_size": needed}, "weight_map": dict(sorted(index.items()))}
    (out / INDEX).write_text(json.dumps(content, indent=2) + "\n")


def _sharded(tensors: list[Stored]) -> Iterator[list[Stored]]:
    shard: list[Stored] = []
    size = 0
    for tensor in tensors:
        if shard and size + tensor.bytes > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append(tensor)
        size += tensor.bytes
    yield shard


def _write_shard(path: Path, shard: list[Stored], noise: Noise, tick: Callable[[int], None]) -> None:
    """A safetensors file: length of the header, header, tensors end to end."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in shard:
        header[tensor.name] = {
            "dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.bytes],
        }  # fmt: skip
        offset += tensor.bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in shard:
            for piece in noise.pieces(tensor):
                file.write(piece)
                tick(len(piece))


def main() -> None:
    """Read the command line and write."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    parser = argparse.ArgumentParser(prog="python -m omni_edge.export.synthetic", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--like", type=Path, required=True, metavar="CONFIG", help="config.json or its folder")
    parser.add_argument("--files", type=Path, help="folder of the tokenizer, templates and voices")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()) as bars:
        task = bars.add_task("", total=None)
        write_synthetic(given.like, given.out, given.files, given.seed, lambda count: bars.update(task, advance=count))


if __name__ == "__main__":
    main()
