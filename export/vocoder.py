"""BigVGAN, mel frames to samples, as a hand-built ONNX graph in which nothing is interleaved (FACTS §6.3).

The anti-aliased activation doubles the rate, applies x + sin²(αx)/β, and halves it again. Both filters have 12
taps and the activation is elementwise, so the doubled signal can stay as two phases side by side: the up filter is
one grouped convolution C -> 2C over 7 neighbours, the down filter one grouped convolution 2C -> C. The doubled
signal's replicated edges are its first even and its last odd sample.

Built by hand because tracing a module of a hundred activations takes minutes, and this graph seconds.
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

PREFIX = "token2wav.code2wav_bigvgan_model."
NEIGHBOURS = 3
"""Neighbours on either side that a 12-tap filter at the doubled rate touches at the original rate."""


def vocoder_graph(checkpoint: Checkpoint) -> ir.Model:
    """Build the graph; its weights stay in the checkpoint until the model is saved.

    Input: mel [1, bins, T] f32, natural log. Output: samples [T·hop] f32 in [-1, 1].
    """
    return _Vocoder(checkpoint).build()


@contextmanager
def whole_vocoder(checkpoint: Checkpoint, folder: Path) -> Iterator[Path]:
    """A full-precision graph in a folder, for as long as the block lasts."""
    path = folder / "vocoder.whole.onnx"
    try:
        save_graph(vocoder_graph(checkpoint), path, lambda _: None)
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
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.config: VocoderConfig = checkpoint.config.vocoder
        self.up_filter, self.down_filter = phase_filters()

    def build(self) -> ir.Model:
        config = self.config
        mel = self.input("mel", ir.DataType.FLOAT, [1, config.mel_bins, "T"])
        # exp -> decibels -> clip(2·(S+115)/115 - 1) of the reference is exactly affine + clip (FACTS §6.3).
        x = self.op("Mul", [mel, self.scalar("mel_scale", 40 / (115 * math.log(10)))])
        x = self.op("Add", [x, self.scalar("mel_shift", 15 / 23)])
        x = self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])
        x = self.conv(x, "conv_pre", 7)
        channels = config.channels
        for stage, (rate, kernel) in enumerate(zip(config.upsample_rates, config.upsample_kernels, strict=True)):
            channels //= 2
            x = self.upsample(x, f"ups.{stage}.0", rate, kernel)
            blocks = [
                self.block(x, stage * len(config.kernels) + index, channels, size, config.dilations[index])
                for index, size in enumerate(config.kernels)
            ]
            x = self.op("Mean", blocks)
        x = self.activation(x, "activation_post", channels)
        x = self.conv(x, "conv_post", 7, bias=False)
        x = self.op("Clip", [x, self.scalar("low", -1), self.scalar("high", 1)])
        x = self.op("Reshape", [x, self.constant("flat", np.array([-1], np.int64))], output="samples")
        self.declare(x, ir.DataType.FLOAT, ["N"])
        return self.model("vocoder", [x])

    def block(self, x: ir.Value, index: int, channels: int, size: int, dilations: tuple[int, ...]) -> ir.Value:
        for step, dilation in enumerate(dilations):
            prefix = f"resblocks.{index}"
            y = self.activation(x, f"{prefix}.activations.{2 * step}", channels)
            y = self.conv(y, f"{prefix}.convs1.{step}", size, dilation)
            y = self.activation(y, f"{prefix}.activations.{2 * step + 1}", channels)
            y = self.conv(y, f"{prefix}.convs2.{step}", size)
            x = self.op("Add", [x, y])
        return x

    def conv(self, x: ir.Value, name: str, size: int, dilation: int = 1, *, bias: bool = True) -> ir.Value:
        pad = (size - 1) * dilation // 2
        weights = [self.stored(f"{PREFIX}{name}.{part}") for part in (("weight", "bias") if bias else ("weight",))]
        return self.op("Conv", [x, *weights], {"dilations": [dilation], "pads": [pad, pad]})

    def upsample(self, x: ir.Value, name: str, rate: int, kernel: int) -> ir.Value:
        pad = (kernel - rate) // 2
        weights = [self.stored(f"{PREFIX}{name}.{part}") for part in ("weight", "bias")]
        return self.op("ConvTranspose", [x, *weights], {"strides": [rate], "pads": [pad, pad]})

    def activation(self, x: ir.Value, name: str, channels: int) -> ir.Value:
        """Anti-aliased SnakeBeta; α and β are stored as logarithms."""
        alpha, beta = (
            np.exp(self.checkpoint.array(f"{PREFIX}{name}.act.{part}")).repeat(2)[None, :, None]
            for part in ("alpha", "beta")
        )
        reach = self.constant("reach", np.array([0, 0, NEIGHBOURS, 0, 0, NEIGHBOURS], np.int64))
        x = self.op("Pad", [x, reach], {"mode": "edge"})
        up = self.constant(f"up_{channels}", np.tile(self.up_filter[:, None, :], (channels, 1, 1)))
        x = self.op("Conv", [x, up], {"group": channels})  # [1, 2C, T]: even, odd of each channel
        turn = self.op("Sin", [self.op("Mul", [x, self.constant(f"{name}.alpha", alpha)])])
        swing = self.op("Mul", [self.op("Mul", [turn, turn]), self.constant(f"{name}.gain", 1 / (beta + 1e-9))])
        x = self.op("Add", [x, swing])
        pairs = np.arange(channels).repeat(2) * 2
        left = self.edge(x, 0, self.constant(f"even_{channels}", pairs))
        right = self.edge(x, -1, self.constant(f"odd_{channels}", pairs + 1))
        x = self.op("Concat", [left] * NEIGHBOURS + [x] + [right] * NEIGHBOURS, {"axis": 2})
        down = self.constant(f"down_{channels}", np.tile(self.down_filter[None], (channels, 1, 1)))
        return self.op("Conv", [x, down], {"group": channels})

    def edge(self, x: ir.Value, place: int, channels: ir.Value) -> ir.Value:
        index = self.constant(f"place_{place}", np.array([place], np.int64))
        return self.op("Gather", [self.op("Gather", [x, index], {"axis": 2}), channels], {"axis": 1})

    def scalar(self, name: str, value: float) -> ir.Value:
        return self.constant(name, np.array(value, np.float32))


def phase_filters() -> tuple[np.ndarray, np.ndarray]:
    """The anti-aliasing filter (12 taps, cutoff 1/4, half width 0.3) as phases: up [2, 7], down [2, 7], f32.

    With f the 12 taps and x the signal, the doubled signal y is (FACTS §6.3)
    y[2j] = 2·Σ f[11-2i]·x[j-3+i] and y[2j+1] = 2·Σ f[10-2i]·x[j-2+i] for i = 0..5; back again,
    z[j] = Σ f[k]·y[2j+k-5], whose odd k meet even samples from j-2 on and whose even k meet odd ones from j-3 on.
    """
    taps = kaiser_sinc(12, cutoff=0.25, half_width=0.3)
    up, down = np.zeros((2, 7), np.float32), np.zeros((2, 7), np.float32)
    up[0, :6], up[1, 1:] = 2 * taps[11::-2], 2 * taps[10::-2]
    down[0, 1:], down[1, :6] = taps[1::2], taps[0::2]
    return up, down


def kaiser_sinc(size: int, *, cutoff: float, half_width: float) -> np.ndarray:
    """Low-pass filter of even length `size`, sum 1; β from the stop-band attenuation (Kaiser 1974).

    The one filter of this network attenuates by 51 dB, in the upper range (above 50) of Kaiser's formula.
    """
    attenuation = 2.285 * (size // 2 - 1) * math.pi * 4 * half_width + 7.95
    assert attenuation > 50
    beta = 0.1102 * (attenuation - 8.7)
    time = np.arange(-size // 2, size // 2) + 0.5
    taps = np.kaiser(size, beta) * np.sinc(2 * cutoff * time)
    return taps / taps.sum()
