"""BigVGAN's convolutions as products of bytes: the graphs of a vocoder that is rounded throughout (FACTS §6.3).

A graph holds what ONNX Runtime is fast at, one product for each convolution: its input is the bytes under the taps,
u8 [rows, taps·channels], what comes out is floats. What lies between two of them, an activation that doubles the rate,
bends and halves it again, takes thirty operators of ONNX and as many passes over memory; the runtime has it compiled
into one (runtime/snake.py). Its constants are outputs of the graphs.

Of a convolution NAME, inputs and outputs are called: NAME, its bytes; NAME.sums; NAME.given, what makes bytes of
values (`Product.given`); NAME.snake, f32 [2, C], if an activation comes before it. Names are `pre` (before all), `up`,
BLOCK.STEP.0 and BLOCK.STEP.1. The convolution that makes samples, `post`, is no product: it has post.snake, post.given,
what is left to multiply by and to add, f32 [2, C], and post.weight, f32 [taps, C]. `filter`, `cosine` and `mel.limits`
are what all have in common.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from ..quant.channels import Rounded
from ..quant.matrices import CONTRIB, lazy_value
from ..quant.products import Product, product
from .builder import GraphBuilder
from .checkpoint import Checkpoint
from .snake import TAPS, cosine_polynomial, kaiser_sinc, scale
from .vocoder import CLOSE, MEL_SCALE, MEL_SHIFT, PREFIX, alpha_beta


def byte_parts(checkpoint: Checkpoint, rounded: Mapping[str, Rounded]) -> list[ir.Model]:
    """One graph an upsampling.

    Args:
        checkpoint: whose vocoder.
        rounded: the weights of all its convolutions, by name, each with a grid for its inputs.
    """
    return [_Part(checkpoint, rounded).build(stage) for stage in range(len(checkpoint.config.vocoder.upsample_rates))]


class _Part(GraphBuilder):
    def __init__(self, checkpoint: Checkpoint, rounded: Mapping[str, Rounded]) -> None:
        super().__init__(checkpoint)
        self.config = checkpoint.config.vocoder
        self.rounded = rounded
        self.outputs: list[ir.Value] = []

    def build(self, stage: int) -> ir.Model:
        config = self.config
        self.table("filter", kaiser_sinc(TAPS, cutoff=0.25, half_width=0.3))
        self.table("cosine", cosine_polynomial(CLOSE))
        if stage == 0:
            self.table("mel.limits", np.array([-1 - MEL_SHIFT, 1 - MEL_SHIFT]) / MEL_SCALE)
            mel = np.full((2, config.mel_bins), [[MEL_SCALE], [MEL_SHIFT]])
            self.convolution("pre", self.product("conv_pre").after(*mel))
        self.convolution("up", self.product(f"ups.{stage}.0", rate=config.upsample_rates[stage]))
        for block, dilations in enumerate(config.dilations):
            prefix = f"resblocks.{stage * len(config.kernels) + block}"
            for step in range(len(dilations)):
                first, second = (f"{prefix}.activations.{2 * step + which}" for which in range(2))
                factors = scale(alpha_beta(self.checkpoint, second)[0])
                own = self.product(f"{prefix}.convs1.{step}", factors=factors)
                self.activated(f"{block}.{step}.0", own, first, scaled=False)
                own = self.product(f"{prefix}.convs2.{step}")
                self.activated(f"{block}.{step}.1", own, second, scaled=True)
        if stage == len(config.upsample_rates) - 1:
            self.last("post")
        return self.model("vocoder", self.outputs)

    def product(self, name: str, *, rate: int = 0, factors: np.ndarray | None = None) -> Product:
        """Of a convolution of the checkpoint, whose outputs are multiplied by factors [C] as its weight was."""
        added = self.checkpoint.array(f"{PREFIX}{name}.bias") * (1 if factors is None else factors)
        return product(self.rounded[f"{PREFIX}{name}.weight"], added, rate)

    def activated(self, name: str, own: Product, activation: str, *, scaled: bool) -> None:
        """A convolution after an activation x + sin²(αx)/β.

        With turns = αx/π, this is (turns - α/(πβ)·cos²(π·turns))·π/α + 1/β, and the last two are left for where it
        becomes bytes. Doubling the rate halves what is there of a signal, so it is doubled too.
        """
        self.convolution(name, own.after(*self.snake(name, activation, scaled=scaled)))

    def last(self, name: str) -> None:
        """The convolution that makes samples stays in floats, and is no node: it has few weights."""
        self.table(f"{name}.given", np.stack(self.snake(name, "activation_post", scaled=False)))
        self.table(f"{name}.weight", self.checkpoint.array(f"{PREFIX}conv_post.weight")[0].T)

    def snake(self, name: str, activation: str, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
        """An activation's table; returns what is left to multiply by and to add, [C] each."""
        alpha, beta = (each.astype(np.float64) for each in alpha_beta(self.checkpoint, activation))
        factor = np.full_like(alpha, 2.0) if scaled else 2 * alpha / math.pi
        self.table(f"{name}.snake", np.stack([factor, -alpha / math.pi / (beta + 1e-9)]))
        return math.pi / alpha, 1 / (beta + 1e-9)

    def convolution(self, name: str, own: Product) -> None:
        """A node of its own."""
        width, outputs = own.matrix.shape
        given = self.input(name, ir.DataType.UINT8, [f"{name}.rows", width])
        steps = f"{name}.steps"
        matrix = lazy_value(steps, ir.DataType.INT8, [width, outputs], lambda: ir.tensor(own.matrix, name=steps))
        self.weights.append(matrix)
        vectors = [
            self.constant(f"{name}.{kind}", array) for kind, array in (("scales", own.scales), ("bias", own.bias))
        ]
        one = self.constant("one", np.array(1, np.float32))
        feeds = [given, matrix, one, vectors[0], None, None, vectors[1]]
        sums = self.op("MatMulIntegerToFloat", feeds, domain=CONTRIB, output=f"{name}.sums")
        self.declare(sums, ir.DataType.FLOAT, [f"{name}.rows", outputs])
        self.outputs.append(sums)
        self.table(f"{name}.given", own.given)

    def table(self, name: str, array: np.ndarray) -> None:
        """Constants for the runtime."""
        self.outputs.append(self.constant(name, array.astype(np.float32)))
