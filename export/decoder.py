"""A Qwen2 decoder (thinker or talker) as a hand-built ONNX graph (EXPORT §3, DESIGN §2).

One operator a step of the algorithm: SkipSimplifiedLayerNormalization, one matrix for q|k|v, M-RoPE over the
query and key heads together, GroupQueryAttention on a cache that the caller owns (past and present are one buffer),
one matrix for gate|up. Batch 1, unpadded: the attention operator is silently wrong on masked pasts.

Weights are read from the checkpoint only while the file is written, one matrix at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from ..quant.matrices import CONTRIB, Matrix
from .builder import GraphBuilder
from .checkpoint import Checkpoint
from .config import DecoderConfig


@dataclass(frozen=True)
class DecoderNames:
    """Where a decoder's tensors lie in the checkpoint."""

    layers: str
    head: str
    projection: str | None = None


THINKER = DecoderNames("thinker.model.", "thinker.lm_head.weight")
TALKER = DecoderNames("talker.model.", "talker.codec_head.weight", "talker.thinker_to_talker_proj")

DecoderName = Literal["thinker", "talker"]


def decoder_of(checkpoint: Checkpoint, name: DecoderName) -> tuple[DecoderConfig, DecoderNames]:
    """Shape and tensor names of a decoder."""
    if name == "thinker":
        return checkpoint.config.thinker, THINKER
    return checkpoint.config.talker, TALKER


@dataclass(frozen=True)
class Graph:
    """A model whose matrices are still to be lowered (quant/matrices.py)."""

    model: ir.Model
    matrices: dict[str, Matrix]


def decoder_graph(
    checkpoint: Checkpoint, config: DecoderConfig, names: DecoderNames, *, has_head: bool = True
) -> Graph:
    """Build the graph; its weights stay in the checkpoint until the model is saved.

    Without a head it has no logits, and is for the rows of a prompt before the last.

    Inputs: rows [1, S, rows] f32; positions [3, 1, S] i64; last_index [1] i32 (cached + S - 1); total [] i32
    (cached + S); past_key.N, past_value.N [1, kv heads, C, head] f32.
    Outputs: hidden [1, S, hidden] f32 after the final norm; logits [1, vocab] f32 of the last row; present_key.N,
    present_value.N, to be bound to the same buffers as the past.
    Between layers, by name: stream.N and update.N, whose sum is what layer N passes on; with the last layer's as
    inputs, N = -1 being the rows of the first, a stretch of the graph can be run alone.
    """
    decoder = _Decoder(checkpoint, config, names)
    return Graph(decoder.build(has_head), decoder.matrices)


class _Decoder(GraphBuilder):
    def __init__(self, checkpoint: Checkpoint, config: DecoderConfig, names: DecoderNames) -> None:
        super().__init__(checkpoint)
        self.config = config
        self.names = names
        self.caches: list[ir.Value] = []

    def build(self, has_head: bool) -> ir.Model:
        config = self.config
        rows = self.input("rows", ir.DataType.FLOAT, [1, "S", config.rows])
        self.positions = self.input("positions", ir.DataType.INT64, [3, 1, "S"])
        self.last_index = self.input("last_index", ir.DataType.INT32, [1])
        self.total = self.input("total", ir.DataType.INT32, [])
        self.cos, self.sin = self.rotary_tables()
        stream = self.project(rows) if self.names.projection else rows
        update: ir.Value | None = None
        for layer in range(config.layers):
            prefix = f"{self.names.layers}layers.{layer}."
            normed, stream = self.norm(stream, update, f"{prefix}input_layernorm.weight")
            update = self.attention(normed, prefix, layer)
            normed, stream = self.norm(stream, update, f"{prefix}post_attention_layernorm.weight")
            stream.name = f"stream.{layer}"
            update = self.feed_forward(normed, prefix, layer)
            for value in (stream, update):
                self.declare(value, ir.DataType.FLOAT, [1, "S", config.hidden])
        hidden, _ = self.norm(stream, update, f"{self.names.layers}norm.weight", output="hidden")
        self.declare(hidden, ir.DataType.FLOAT, [1, "S", config.hidden])
        outputs = [hidden, self.logits(hidden)] if has_head else [hidden]
        return self.model("decoder", [*outputs, *self.caches])

    # Blocks of the network

    def project(self, rows: ir.Value) -> ir.Value:
        name = self.names.projection
        projected = self.linear(rows, [f"{name}.weight"], [f"{name}.bias"], output="projected")
        self.declare(projected, ir.DataType.FLOAT, [1, "S", self.config.hidden])
        return projected

    def logits(self, hidden: ir.Value) -> ir.Value:
        """Of the last row."""
        last = self.op("Gather", [hidden, self.constant("last", np.array(-1, np.int64))], {"axis": 1})
        logits = self.linear(last, [self.names.head], output="logits")
        self.declare(logits, ir.DataType.FLOAT, [1, self.config.vocab])
        return logits

    def norm(
        self, stream: ir.Value, update: ir.Value | None, weight: str, output: str | None = None
    ) -> tuple[ir.Value, ir.Value]:
        """(normalised, residual stream with the update added)."""
        gamma = self.vector([weight])
        epsilon = {"epsilon": self.config.norm_eps}
        if update is None:
            return self.op("SimplifiedLayerNormalization", [stream, gamma], {"axis": -1, **epsilon}), stream
        node = ir.node(
            "SkipSimplifiedLayerNormalization",
            [stream, update, gamma],
            epsilon,
            domain=CONTRIB,
            num_outputs=4,
        )
        self.nodes.append(node)
        normed, mean, deviation, total = node.outputs
        normed.name = output or self.fresh("norm")
        total.name = self.fresh("stream")
        mean.name = deviation.name = ""
        return normed, total

    def attention(self, x: ir.Value, prefix: str, layer: int) -> ir.Value:
        config = self.config
        names = [f"{prefix}self_attn.{part}_proj" for part in "qkv"]
        turned, kept = (config.heads + config.kv_heads) * config.head_dim, config.kv_heads * config.head_dim
        x = self.linear(x, [f"{name}.weight" for name in names], [f"{name}.bias" for name in names])
        query_key, value = self.split(x, [turned, kept])
        # Rotation treats all heads alike, so queries and keys go through it as one tensor.
        query_key = self.op(
            "MRotaryEmbedding",
            [query_key, self.positions, self.cos, self.sin],
            {"mrope_section": list(config.mrope_section), "num_heads": config.heads + config.kv_heads},
            domain=CONTRIB,
        )
        packed = self.op("Concat", [query_key, value], {"axis": -1})
        shape = [1, config.kv_heads, "C", config.head_dim]
        past = [self.input(f"past_{kind}.{layer}", ir.DataType.FLOAT, shape) for kind in ("key", "value")]
        node = ir.node(
            "GroupQueryAttention",
            [packed, None, None, *past, self.last_index, self.total],
            {"num_heads": config.heads, "kv_num_heads": config.kv_heads, "do_rotary": 0},
            domain=CONTRIB,
            num_outputs=3,
        )
        self.nodes.append(node)
        mixed, *present = node.outputs
        mixed.name = self.fresh("attention")
        for kind, output in zip(("key", "value"), present, strict=True):
            output.name = f"present_{kind}.{layer}"
            self.declare(output, ir.DataType.FLOAT, shape)
            self.caches.append(output)
        return self.linear(mixed, [f"{prefix}self_attn.o_proj.weight"])

    def feed_forward(self, x: ir.Value, prefix: str, layer: int) -> ir.Value:
        width = self.config.intermediate
        both = self.linear(x, [f"{prefix}mlp.{part}_proj.weight" for part in ("gate", "up")])
        gate, up = self.split(both, [width, width])
        # QuickGelu with alpha 1 is x·sigmoid(x): SiLU in one operator.
        gate = self.op("QuickGelu", [gate], {"alpha": 1.0}, domain=CONTRIB)
        x = self.op("Mul", [gate, up])
        return self.linear(x, [f"{prefix}mlp.down_proj.weight"], output=f"update.{layer}")

    def rotary_tables(self) -> tuple[ir.Value, ir.Value]:
        """cos and sin [context, head/2]: angle = position / theta^(2i/head), computed in f32 as in training."""
        half = self.config.head_dim // 2
        exponents = np.arange(0, self.config.head_dim, 2, dtype=np.float32) / np.float32(self.config.head_dim)
        frequencies = (1.0 / np.float32(self.config.rope_theta) ** exponents).astype(np.float32)
        angles = np.arange(self.config.context, dtype=np.float32)[:, None] * frequencies
        assert angles.shape[1] == half
        return self.constant("rotary_cos", np.cos(angles)), self.constant("rotary_sin", np.sin(angles))
