"""BigVGAN, mel frames to samples, as hand-built ONNX graphs (FACTS §6.3).

Each upsampling with its residual blocks is a graph of its own, a part. The first parts work on few samples of many
channels and look far around, the last ones on many samples and look about as many around: cut into windows that fit a
processor's cache, each part for itself, little of what is around a window is worked out twice.

Signals are laid out by sample, [1, T, C], as products of bytes (quant/products.py) want them; a convolution in floats
turns them round and back. Built by hand because tracing a module of a hundred activations takes minutes, and this
graph seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniBigVGANConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavBigVGANModel

from .builder import GraphBuilder
from .checkpoint import Checkpoint, load_weights
from .config import VocoderConfig
from .graphs import save_graph
from .snake import Snakes, scale

PREFIX = "token2wav.code2wav_bigvgan_model."
EXACT, CLOSE = 4, 3
"""Degrees of the activations' cosine: as good as a float, and well below what rounding costs."""
MEL_SCALE, MEL_SHIFT = 40 / (115 * math.log(10)), 15 / 23
"""exp -> decibels -> clip(2·(S+115)/115 - 1) of the reference is exactly affine + clip to ±1 (FACTS §6.3)."""


def vocoder_graph(checkpoint: Checkpoint) -> ir.Model:
    """Build it in one piece; weights stay in the checkpoint until the model is saved.

    Input: rows [1, T, bins] f32, mel, natural log. Output: [1, T·hop, 1] f32, samples in [-1, 1].
    """
    return _Vocoder(checkpoint).build(range(len(checkpoint.config.vocoder.upsample_rates)))


def vocoder_parts(checkpoint: Checkpoint) -> list[ir.Model]:
    """The same as one graph an upsampling; what one gives, [1, T·rate, C] f32, the next one takes."""
    stages = range(len(checkpoint.config.vocoder.upsample_rates))
    return [_Vocoder(checkpoint).build(range(stage, stage + 1)) for stage in stages]


@contextmanager
def whole_vocoder(checkpoint: Checkpoint, folder: Path) -> Iterator[Path]:
    """A full-precision graph in a folder, in one piece, for as long as the block lasts."""
    with _written([vocoder_graph(checkpoint)], folder) as (path,):
        yield path


@contextmanager
def whole_parts(checkpoint: Checkpoint, folder: Path) -> Iterator[list[Path]]:
    """Full-precision parts in a folder, for as long as the block lasts."""
    with _written(vocoder_parts(checkpoint), folder) as paths:
        yield paths


@contextmanager
def _written(models: Sequence[ir.Model], folder: Path) -> Iterator[list[Path]]:
    paths = [folder / f"vocoder.whole.{index}.onnx" for index in range(len(models))]
    try:
        for model, path in zip(models, paths, strict=True):
            save_graph(model, path, lambda _: None)
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
            path.with_name(f"{path.name}.data").unlink(missing_ok=True)


def run_parts(sessions: Sequence[ort.InferenceSession], rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """What goes into each part, [1, T, C], and after the last what came out."""
    signals = [rows]
    for session in sessions:
        signals.append(np.asarray(session.run(None, {"rows": signals[-1]})[0]))
    return signals


def alpha_beta(checkpoint: Checkpoint, name: str) -> tuple[np.ndarray, np.ndarray]:
    """α and β of an activation, f32 [C]; they are stored as logarithms."""
    alpha, beta = (np.exp(checkpoint.array(f"{PREFIX}{name}.act.{part}")) for part in ("alpha", "beta"))
    return alpha, beta


def reference_vocoder(checkpoint: Checkpoint) -> nn.Module:
    """The reference class with a checkpoint's weights, behind the graph's own shapes."""
    config = checkpoint.config.vocoder
    module = Qwen2_5OmniToken2WavBigVGANModel(
        Qwen2_5OmniBigVGANConfig(
            mel_dim=config.mel_bins,
            upsample_initial_channel=config.channels,
            upsample_rates=config.upsample_rates,
            upsample_kernel_sizes=config.upsample_kernels,
            resblock_kernel_sizes=config.kernels,
            resblock_dilation_sizes=config.dilations,
        )
    ).eval()
    load_weights(module, checkpoint.state(PREFIX), checkpoint)
    return _BySample(module)


class _BySample(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, rows: Tensor) -> Tensor:
        return self.module(rows.transpose(1, 2)).reshape(1, -1, 1)


class _Vocoder(GraphBuilder):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.config: VocoderConfig = checkpoint.config.vocoder
        self.snakes = Snakes(self, EXACT)

    def build(self, stages: range) -> ir.Model:
        config = self.config
        last = stages.stop == len(config.upsample_rates)
        rows = config.channels >> stages.start if stages.start else config.mel_bins
        x = self.input("rows", ir.DataType.FLOAT, [1, "T", rows])
        if not stages.start:
            x = self.conv(self.normalised(x), "conv_pre", 7)
        for stage in stages:
            x = self.stage(x, stage)
        if last:
            x = self.sound(x)
        x = self.op("Identity", [x], output="result")
        self.declare(x, ir.DataType.FLOAT, [1, "N", 1 if last else config.channels >> stages.stop])
        return self.model("vocoder", [x])

    def normalised(self, mel: ir.Value) -> ir.Value:
        x = self.op("Mul", [mel, self.scalar("mel_scale", MEL_SCALE)])
        x = self.op("Add", [x, self.scalar("mel_shift", MEL_SHIFT)])
        return self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])

    def stage(self, x: ir.Value, stage: int) -> ir.Value:
        config = self.config
        x = self.upsample(x, f"ups.{stage}.0", config.upsample_rates[stage], config.upsample_kernels[stage])
        blocks = [
            self.block(x, stage, stage * len(config.kernels) + index, size, config.dilations[index])
            for index, size in enumerate(config.kernels)
        ]
        return self.op("Mean", blocks)

    def block(self, x: ir.Value, stage: int, index: int, size: int, dilations: tuple[int, ...]) -> ir.Value:
        prefix, rate = f"resblocks.{index}", str(stage)
        for step, dilation in enumerate(dilations):
            first, second = (f"{prefix}.activations.{2 * step + which}" for which in range(2))
            y = self.activation(self.scaled(x, first), first, rate)
            # What the second activation multiplies by is part of the weights before it.
            y = self.conv(
                y, f"{prefix}.convs1.{step}", size, dilation, factors=scale(alpha_beta(self.checkpoint, second)[0])
            )
            y = self.conv(self.activation(y, second, rate), f"{prefix}.convs2.{step}", size)
            x = self.op("Add", [x, y])
        return x

    def sound(self, x: ir.Value) -> ir.Value:
        name = "activation_post"
        x = self.activation(self.scaled(x, name), name, str(len(self.config.upsample_rates) - 1))
        x = self.conv(x, "conv_post", 7, bias=False)
        return self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])

    def conv(
        self,
        x: ir.Value,
        name: str,
        size: int,
        dilation: int = 1,
        *,
        bias: bool = True,
        factors: np.ndarray | None = None,
    ) -> ir.Value:
        """Outputs are multiplied by factors [C]."""
        pad = (size - 1) * dilation // 2
        weights = [
            self.multiplied(f"{PREFIX}{name}.{part}", factors) for part in (("weight", "bias") if bias else ("weight",))
        ]
        return self.turned(self.op("Conv", [self.turned(x), *weights], {"dilations": [dilation], "pads": [pad, pad]}))

    def multiplied(self, name: str, factors: np.ndarray | None) -> ir.Value:
        """A tensor of the checkpoint times factors along its first axis."""
        if factors is None:
            return self.stored(name)
        shape = list(self.checkpoint.shape(name))
        column = factors.reshape(-1, *[1] * (len(shape) - 1))
        return self.lazy([name], shape, lambda: self.checkpoint.array(name) * column)

    def upsample(self, x: ir.Value, name: str, rate: int, kernel: int) -> ir.Value:
        pad = (kernel - rate) // 2
        weights = [self.stored(f"{PREFIX}{name}.{part}") for part in ("weight", "bias")]
        x = self.op("ConvTranspose", [self.turned(x), *weights], {"strides": [rate], "pads": [pad, pad]})
        return self.turned(x)

    def activation(self, x: ir.Value, name: str, rate: str) -> ir.Value:
        """Anti-aliased SnakeBeta of a signal that is scaled already."""
        return self.snakes.apply(x, name, rate, *alpha_beta(self.checkpoint, name))

    def scaled(self, x: ir.Value, name: str) -> ir.Value:
        return self.op(
            "Mul", [x, self.constant(f"{name}.scale", scale(alpha_beta(self.checkpoint, name)[0])[None, None])]
        )

    def turned(self, x: ir.Value) -> ir.Value:
        """[1, T, C] -> [1, C, T] and back."""
        return self.op("Transpose", [x], {"perm": [0, 2, 1]})

    def scalar(self, name: str, value: float) -> ir.Value:
        return self.constant(name, np.array(value, np.float32))
