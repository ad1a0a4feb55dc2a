"""BigVGAN, mel frames to samples, as a hand-built ONNX graph (FACTS §6.3).

Signals are laid out by sample, [1, T, C], as products of bytes (quant/products.py) want them; a convolution in floats
turns them round and back. Built by hand because tracing a module of a hundred activations takes minutes, and this
graph seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx_ir as ir
from torch import nn
from transformers.models.qwen2_5_omni.configuration_qwen2_5_omni import Qwen2_5OmniBigVGANConfig
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniToken2WavBigVGANModel

from .builder import GraphBuilder
from .checkpoint import Checkpoint, load_weights
from .config import VocoderConfig
from .graphs import save_graph
from .snake import snake

PREFIX = "token2wav.code2wav_bigvgan_model."
EXACT, CLOSE = 5, 4
"""Degrees of the activations' cosine: as good as a float, and well below what rounding costs."""


def vocoder_graph(checkpoint: Checkpoint, degree: int) -> ir.Model:
    """Build the graph; its weights stay in the checkpoint until the model is saved.

    Input: mel [1, bins, T] f32, natural log. Output: samples [T·hop] f32 in [-1, 1].

    Args:
        checkpoint: whose vocoder.
        degree: of the activations' cosine, EXACT or CLOSE.
    """
    return _Vocoder(checkpoint, degree).build()


@contextmanager
def whole_vocoder(checkpoint: Checkpoint, folder: Path) -> Iterator[Path]:
    """A full-precision graph in a folder, for as long as the block lasts."""
    path = folder / "vocoder.whole.onnx"
    try:
        save_graph(vocoder_graph(checkpoint, EXACT), path, lambda _: None)
        yield path
    finally:
        for file in (path, path.with_name(f"{path.name}.data")):
            file.unlink(missing_ok=True)


def reference_vocoder(checkpoint: Checkpoint) -> nn.Module:
    """The reference class with a checkpoint's weights: mel [1, bins, T] f32 -> samples [T·hop]."""
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
    return module


class _Vocoder(GraphBuilder):
    def __init__(self, checkpoint: Checkpoint, degree: int) -> None:
        super().__init__(checkpoint)
        self.config: VocoderConfig = checkpoint.config.vocoder
        self.degree = degree

    def build(self) -> ir.Model:
        config = self.config
        mel = self.input("mel", ir.DataType.FLOAT, [1, config.mel_bins, "T"])
        # exp -> decibels -> clip(2·(S+115)/115 - 1) of the reference is exactly affine + clip (FACTS §6.3).
        x = self.op("Mul", [mel, self.scalar("mel_scale", 40 / (115 * math.log(10)))])
        x = self.op("Add", [x, self.scalar("mel_shift", 15 / 23)])
        x = self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])
        x = self.conv(self.turned(x), "conv_pre", 7)
        for stage, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True)):
            x = self.upsample(x, f"ups.{stage}.0", rate, kernel)
            blocks = [
                self.block(x, stage * len(config.kernels) + index, size, config.dilations[index])
                for index, size in enumerate(config.kernels)
            ]
            x = self.op("Mean", blocks)
        x = self.activation(x, "activation_post")
        x = self.conv(x, "conv_post", 7, bias=False)
        x = self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])
        x = self.op("Reshape", [x, self.constant("flat", np.array([-1], np.int64))], output="samples")
        self.declare(x, ir.DataType.FLOAT, ["N"])
        return self.model("vocoder", [x])

    def block(self, x: ir.Value, index: int, size: int, dilations: tuple[int, ...]) -> ir.Value:
        for step, dilation in enumerate(dilations):
            prefix = f"resblocks.{index}"
            y = self.activation(x, f"{prefix}.activations.{2 * step}")
            y = self.conv(y, f"{prefix}.convs1.{step}", size, dilation)
            y = self.activation(y, f"{prefix}.activations.{2 * step + 1}")
            y = self.conv(y, f"{prefix}.convs2.{step}", size)
            x = self.op("Add", [x, y])
        return x

    def conv(self, x: ir.Value, name: str, size: int, dilation: int = 1, *, bias: bool = True) -> ir.Value:
        pad = (size - 1) * dilation // 2
        weights = [self.stored(f"{PREFIX}{name}.{part}") for part in (("weight", "bias") if bias else ("weight",))]
        return self.turned(self.op("Conv", [self.turned(x), *weights], {"dilations": [dilation], "pads": [pad, pad]}))

    def upsample(self, x: ir.Value, name: str, rate: int, kernel: int) -> ir.Value:
        pad = (kernel - rate) // 2
        weights = [self.stored(f"{PREFIX}{name}.{part}") for part in ("weight", "bias")]
        x = self.op("ConvTranspose", [self.turned(x), *weights], {"strides": [rate], "pads": [pad, pad]})
        return self.turned(x)

    def activation(self, x: ir.Value, name: str) -> ir.Value:
        """Anti-aliased SnakeBeta; α and β are stored as logarithms."""
        alpha, beta = (np.exp(self.checkpoint.array(f"{PREFIX}{name}.act.{part}")) for part in ("alpha", "beta"))
        return snake(self, x, name, alpha, beta, degree=self.degree)

    def turned(self, x: ir.Value) -> ir.Value:
        """[1, T, C] -> [1, C, T] and back."""
        return self.op("Transpose", [x], {"perm": [0, 2, 1]})

    def scalar(self, name: str, value: float) -> ir.Value:
        return self.constant(name, np.array(value, np.float32))
