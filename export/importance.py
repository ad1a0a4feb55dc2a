"""Which inputs of a decoder's matrices matter: llama.cpp's importance matrix, from what the decoder read.

llama-imatrix runs a model over text and keeps, for each matrix and each of its inputs, the mean of the squares. This is
the same number, over the rows of whole conversations: sounds and pictures included, which llama-imatrix cannot give.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .calibration import MOST_ROWS, Passage, at_most
from .checkpoint import Checkpoint
from .decoder import DecoderName, decoder_of
from .gguf_decoder import matrix_labels
from .graphs import Tick
from .reference import Reference


def importance(
    checkpoint: Checkpoint, name: DecoderName, passages: Sequence[Passage], tick: Tick
) -> dict[str, np.ndarray]:
    """Read passages with the checkpoint's own weights, one layer in memory at a time.

    Args:
        checkpoint: weights.
        name: of the decoder.
        passages: at least one; those after the first MOST_ROWS rows are passed over.
        tick: told which part of the layers is done, 0 to 1.

    Returns:
        What `quantise` takes: llama.cpp's name of each matrix -> f32 [inputs], the mean of the input's squares.
    """
    config, names = decoder_of(checkpoint, name)
    labels = matrix_labels(config, names)
    kept: dict[str, Tensor] = {}
    sums: dict[str, Tensor] = {}

    def read(weight: str) -> Tensor:
        if weight not in kept:
            kept[weight] = checkpoint.tensor(weight)
        return kept[weight]

    def watch(weight: str, x: Tensor) -> None:
        if weight in labels:
            squares = x.double().square().sum(0)
            sums[weight] = sums[weight] + squares if weight in sums else squares

    reference = Reference(checkpoint, config, names, read, watch)
    read_passages = at_most(passages, MOST_ROWS)
    places = [torch.from_numpy(each.positions) for each in read_passages]
    streams = [reference.project(torch.from_numpy(each.rows)) for each in read_passages]
    for layer in range(config.layers):
        kept.clear()
        streams = [reference.layer(layer, *each) for each in zip(streams, places, strict=True)]
        tick((layer + 1) / config.layers)
    for x in streams:
        watch(names.head, reference.finish(x))
    count = sum(len(each.rows) for each in read_passages)
    return {labels[weight]: (total / count).float().numpy() for weight, total in sums.items()}
