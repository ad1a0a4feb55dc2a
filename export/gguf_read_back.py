"""The matrices of a written GGUF as llama.cpp multiplies with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from gguf import GGUFReader, ReaderTensor, dequantize
from numpy.typing import NDArray

from ..quant.matrices import Matrix
from .config import DecoderConfig
from .decoder import DecoderNames
from .gguf_decoder import matrix_labels


def gguf_matrices(path: Path, config: DecoderConfig, names: DecoderNames) -> Iterator[tuple[str, Matrix]]:
    """Matrices that rows are multiplied with, read from the mapped file.

    Args:
        path: a decoder's .gguf file.
        config: its shape.
        names: where its tensors lie in the checkpoint.

    Yields:
        The checkpoint's name and the matrix, layer by layer, the head last; nothing of a file with types that the
        gguf package does not know yet, as q2_0 is to its 0.19.
    """
    try:
        tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    except ValueError:
        return
    for name, label in matrix_labels(config, names).items():
        yield name, _matrix(tensors[label])


def _matrix(tensor: ReaderTensor) -> Matrix:
    def rows(start: int, stop: int) -> NDArray[np.float32]:
        return np.asarray(dequantize(tensor.data[start:stop], tensor.tensor_type), np.float32)

    inputs, outputs = map(int, tensor.shape)
    return Matrix(outputs, inputs, rows)
