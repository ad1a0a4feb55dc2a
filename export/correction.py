"""A decoder's graph anew, fitted to what the decoder read in conversations.

An ONNX graph is rounded with error correction (calibration.py); llama.cpp's quantiser is given an importance matrix
(importance.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..models.errors import BundleError
from .calibration import Calibration, Passage
from .checkpoint import Checkpoint
from .decoder import DecoderName, decoder_graph, decoder_of
from .gguf import write_gguf
from .gguf_quantise import TAKE_IMPORTANCE
from .graphs import Tick
from .importance import importance
from .precisions import Precision
from .subnetworks import write_decoder

FITTING = 0.9
"""Part of the work that is done before anything is written."""
Write = Callable[[], tuple[str, ...]]
"""Writes the graph in the place of the older one, and returns the names of its files, the graph first."""


def is_corrected(precision: Precision) -> bool:
    """Whether conversations change how this is written."""
    return precision.rounding is not None or precision.name in TAKE_IMPORTANCE


def correct(
    checkpoint: Checkpoint,
    name: DecoderName,
    precision: Precision,
    passages: Sequence[Passage],
    folder: Path,
    tick: Tick,
) -> Write:
    """Fit a precision of a decoder to passages.

    Args:
        checkpoint: weights.
        name: of the decoder.
        precision: one that `is_corrected`.
        passages: what the decoder read.
        folder: of the bundle; also keeps what is fitted until it is written.
        tick: told how far fitting and writing are, 0 to 1.

    Raises:
        BundleError: there are no passages; or, when it is written, see `write_decoder` and `write_gguf`.
    """
    if not passages:
        raise BundleError(f"the {name} read nothing in the conversations; give others to --calibration")

    def fitting(part: float) -> None:
        tick(FITTING * part)

    def writing(part: float) -> None:
        tick(FITTING + (1 - FITTING) * part)

    if precision.rounding is None:
        weights = importance(checkpoint, name, passages, fitting)
        return lambda: write_gguf(checkpoint, name, folder, precision.name, writing, weights)
    rounding = precision.rounding
    config, names = decoder_of(checkpoint, name)
    matrices = decoder_graph(checkpoint, config, names).matrices
    walk = Calibration(checkpoint, config, names, matrices, rounding, folder / f"{name}.rounded")
    packer = walk.run(passages, fitting)

    def write() -> tuple[str, ...]:
        files = write_decoder(name, checkpoint, folder, rounding, writing, packer).files
        walk.clear()
        return files

    return write
