"""The vocoder's convolutions rounded with error correction, on the mels of the checkpoint's own voices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from ..quant.channels import Rounded
from ..quant.convolutions import convolutions, correct
from .config import VocoderConfig
from .graphs import Tick, open_part, relative_error

MOST_FRAMES = 400
"""Mel frames of each voice: four seconds."""
WINDOW = 128
"""Of them at a time: what the graph's values take of memory grows with it."""
CHECKED_FRAMES = 60
"""Of them, that the result is checked on."""
MIDDLE_STAGE = 2
"""The upsampling, from 0, whose residual blocks take one byte a value."""


def corrected_vocoder(
    path: Path, mels: Sequence[np.ndarray], tick: Tick, count: Callable[[str], int]
) -> dict[str, Rounded]:
    """Round a full-precision vocoder graph.

    Args:
        path: the .onnx file.
        mels: f32 [frames, bins] each, what the vocoder is to speak.
        tick: told how much is done.
        count: by the name of a convolution's weight, how many bytes each value that goes into it is rounded to; 0
            leaves it in floats.

    Returns:
        Weights by name, for `by_channel`.
    """
    model = ir.load(path)

    def inputs(names: list[str]) -> Iterator[dict[str, np.ndarray]]:
        session = open_part(_typed(ir.load(path), names), path, ["rows"], list(dict.fromkeys(names)))
        for mel in _windows(mels):
            feeds = {"rows": np.ascontiguousarray(mel[None])}
            yield {name: np.asarray(value)[0] for name, value in zip(names, session.run(names, feeds), strict=True)}

    def weight(name: str) -> np.ndarray:
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        values = np.array(tensor.numpy())
        if isinstance(tensor, ir.ExternalTensor):
            tensor.release()  # or what has been read of the file stays in memory
        return values

    return correct(convolutions(model, count), weight, inputs, tick)


def input_bytes(config: VocoderConfig) -> Callable[[str], int]:
    """How many bytes each value that goes into a convolution is rounded to, by the name of the convolution's weight.

    Two, of which each is multiplied: all that follows goes through the errors of the first stages, where what a voice
    reaches beyond the calibration's is cut off besides, and those of the last ones are heard as noise in silence. One
    in the stage between them, a sixth of the work (`python -m benchmarks.bytes` tells what a byte costs each part). The
    last convolution makes samples in floats, for nothing takes away what its rounding would add.
    """
    blocks = range(MIDDLE_STAGE * len(config.kernels), (MIDDLE_STAGE + 1) * len(config.kernels))

    def count(name: str) -> int:
        if "conv_post" in name:
            return 0
        return 1 if any(f"resblocks.{block}." in name for block in blocks) else 2

    return count


def _windows(mels: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Stretches of WINDOW frames, and what is left of each mel if it is at least half as long."""
    for mel in mels:
        used = mel[:MOST_FRAMES]
        for start in range(0, len(used), WINDOW):
            window = used[start : start + WINDOW]
            if start == 0 or len(window) >= WINDOW // 2:
                yield window


def validate_parts(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    module: nn.Module,
    mels: Sequence[np.ndarray],
    most: float,
) -> float:
    """The largest relative error of a vocoder's sound on mels.

    Args:
        run: the vocoder, from a mel [1, frames, bins] to samples [1, n, 1].
        module: the reference.
        mels: f32 [1, frames, bins] each.
        most: that may be.

    Raises:
        BundleError: it is more.
    """
    errors = []
    for mel in mels:
        with torch.no_grad():
            expected = module(torch.from_numpy(np.ascontiguousarray(mel))).numpy()
        errors.append(relative_error(run(mel), expected, f"the vocoder at {mel.shape[1]} frames", most))
    return max(errors)


def _typed(model: ir.Model, names: list[str]) -> ir.Model:
    """The named values of a graph become floats by declaration, as what leaves a graph must be."""
    for node in model.graph:
        for output in node.outputs:
            if output.name in names and output.type is None:
                output.type = ir.TensorType(ir.DataType.FLOAT)
    return model
