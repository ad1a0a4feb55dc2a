"""The matrices of a written GGUF as llama.cpp multiplies with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGUFReader, dequantize, get_tensor_name_map
from numpy.typing import NDArray

from .config import DecoderConfig
from .decoder import DecoderNames

_PARTS = tuple(f"self_attn.{part}_proj" for part in "qkvo") + tuple(
    f"mlp.{part}_proj" for part in ("gate", "up", "down")
)


def gguf_matrices(path: Path, config: DecoderConfig, names: DecoderNames) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Matrices that rows are multiplied with, one in memory at a time.

    Args:
        path: a decoder's .gguf file.
        config: its shape.
        names: where its tensors lie in the checkpoint.

    Yields:
        The checkpoint's name and [N, K] f32 (outputs, inputs), layer by layer, the head last.
    """
    table = get_tensor_name_map(MODEL_ARCH.QWEN2VL, config.layers)
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    wanted = {
        f"model.layers.{layer}.{part}": f"{names.layers}layers.{layer}.{part}.weight"
        for layer in range(config.layers)
        for part in _PARTS
    }
    for key, name in (*wanted.items(), ("lm_head", names.head)):
        tensor = tensors[f"{table.get_name(key)}.weight"]
        yield name, np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
