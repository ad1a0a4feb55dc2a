"""The flow's velocity field as a hand-built ONNX graph for a chunk of an utterance (FACTS §6.1, flow.py).

One operator a step of the algorithm: a LayerNormalization whose scale and bias are the modulation, one matrix for
q|k|v, RotaryEmbedding, MultiHeadAttention over blocks as the batch, FastGelu. Attention is local to blocks, so no
frames × frames mask exists.

Built by hand so that these operators are what runs: traced, each is a dozen that pass over the same memory.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from ..quant.matrices import CONTRIB, DOMAIN, OPERATOR, Matrix
from .builder import Attributes, GraphBuilder
from .checkpoint import Checkpoint
from .config import FlowConfig
from .decoder import Graph
from .flow import PREFIX

NORM: Attributes = {"axis": -1, "epsilon": 1e-6}
FAR = -1e9
"""Added to the score of a frame that is not there."""


def flow_graph(checkpoint: Checkpoint) -> Graph:
    """Build the graph; its weights stay in the checkpoint until the model is saved. Inputs and outputs: see `Flow`."""
    flow = _Flow(checkpoint)
    return Graph(flow.build(), flow.matrices)


class _Flow(GraphBuilder):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.config: FlowConfig = checkpoint.config.flow
        self.presents: tuple[list[ir.Value], list[ir.Value]] = ([], [])

    def build(self) -> ir.Model:
        config = self.config
        noisy = self.input("noisy", ir.DataType.FLOAT, ["F", config.mel_bins])
        codes = self.input("codes", ir.DataType.INT64, ["R", "C"])
        speaker = self.input("speaker", ir.DataType.FLOAT, ["R", config.hidden])
        self.modulation = self.input("modulation", ir.DataType.FLOAT, [6 * config.layers + 2, config.hidden])
        self.before, self.frames, self.kept = (
            self.input(name, ir.DataType.INT64, []) for name in ("before", "frames", "kept")
        )
        width = config.heads * config.head_dim
        shape = [len(config.look_backward), "R", config.block, width]
        self.past = [self.input(f"past_{kind}", ir.DataType.FLOAT, shape) for kind in ("keys", "values")]
        self.conditions = self.op("Shape", [speaker], {"start": 0, "end": 1})
        self.rotary = [self.constant(f"rotary_{name}", table) for name, table in rotary_tables(config).items()]
        stream = self.enter(noisy, codes, speaker)
        self.masks = self.edges(noisy)
        update: ir.Value | None = None
        for layer in range(config.layers):
            stream, update = self.layer(stream, update, layer)
        # The final norm has its modulation in the order scale, shift.
        x, _ = self.norm(stream, update, 6 * config.layers, 6 * config.layers + 1)
        x = self.linear(x, [f"{PREFIX}proj_out.weight"], [f"{PREFIX}proj_out.bias"])
        velocity = self.op("Reshape", [x, self.by_condition(config.mel_bins)], output="velocity")
        self.declare(velocity, ir.DataType.FLOAT, ["R", "F", config.mel_bins])
        return self.model("flow", [velocity, *self.present(shape)])

    # Blocks of the network

    def enter(self, noisy: ir.Value, codes: ir.Value, speaker: ir.Value) -> ir.Value:
        """What the first layer reads, [R·blocks, block, hidden]; the input projection is cut at its columns."""
        config, name = self.config, f"{PREFIX}input_embed.proj.weight"
        start = config.mel_bins + config.speaker["enc_dim"]
        table = self.stored(f"{PREFIX}text_embed.codec_embed.weight")
        code = self.columns(self.op("Gather", [table, codes]), name, start, start + config.code_width)
        code = self.op("Add", [code, self.op("Unsqueeze", [speaker, self.index(1)])])
        code = self.op("Unsqueeze", [code, self.index(2)])
        repeated = self.constant("repeated", np.array([1, 1, config.repeats, 1], np.int64))
        code = self.op("Reshape", [self.op("Expand", [code, repeated]), self.blocks(config.hidden)])
        mel = self.op("Reshape", [self.columns(noisy, name, 0, config.mel_bins), self.blocks(config.hidden)])
        # Blocks of all conditions lie behind one another; the mel's are the same for each of them.
        shape = self.op("Concat", [self.conditions, self.constant("ones", np.array([1, 1], np.int64))], {"axis": 0})
        return self.op("Add", [code, self.op("Tile", [mel, shape])])

    def layer(self, stream: ir.Value, update: ir.Value | None, layer: int) -> tuple[ir.Value, ir.Value]:
        """(stream, update) whose sum is what a layer passes on."""
        prefix, row = f"{PREFIX}transformer_blocks.{layer}.", 6 * layer
        x, stream = self.norm(stream, update, row + 1, row)
        update = self.op("Mul", [self.attention(x, f"{prefix}attn.", layer), self.row(row + 2)])
        x, stream = self.norm(stream, update, row + 4, row + 3)
        x = self.linear(x, [f"{prefix}ff.ff.0.weight"], [f"{prefix}ff.ff.0.bias"])
        x = self.op("FastGelu", [x], domain=CONTRIB)
        x = self.linear(x, [f"{prefix}ff.ff.3.weight"], [f"{prefix}ff.ff.3.bias"])
        return stream, self.op("Mul", [x, self.row(row + 5)])

    def norm(self, stream: ir.Value, update: ir.Value | None, scale: int, shift: int) -> tuple[ir.Value, ir.Value]:
        """(normalised and modulated, stream with the update added)."""
        # Not SkipLayerNormalization: its kernel takes four times as long as these two together.
        total = stream if update is None else self.op("Add", [stream, update])
        return self.op("LayerNormalization", [total, self.row(scale), self.row(shift)], NORM), total

    def attention(self, x: ir.Value, prefix: str, layer: int) -> ir.Value:
        config = self.config
        names = [f"{prefix}to_{part}" for part in "qkv"]
        x = self.linear(x, [f"{name}.weight" for name in names], [f"{name}.bias" for name in names])
        query, key, value = self.split(x, [config.heads * config.head_dim] * 3)
        mask, start = self.masks[0], config.block
        if layer in config.look_backward:
            key, value = (self.with_previous(each, kind, layer) for kind, each in enumerate((key, value)))
            mask, start = self.masks[1], 0
        elif layer in config.look_ahead:
            key, value = self.with_next(key), self.with_next(value)
            mask = self.masks[2]
        query, key = self.rotate(query, config.block), self.rotate(key, start)
        heads: Attributes = {"num_heads": config.heads}
        x = self.op("MultiHeadAttention", [query, key, value, None, None, mask], heads, domain=CONTRIB)
        return self.linear(x, [f"{prefix}to_out.0.weight"], [f"{prefix}to_out.0.bias"])

    def rotate(self, x: ir.Value, start: int) -> ir.Value:
        """Rotary positions from `start` on; all heads are one to the operator, which turns only the first's width."""
        position = self.index(start)
        attributes: Attributes = {"interleaved": 1, "num_heads": 1, "rotary_embedding_dim": self.config.head_dim}
        return self.op("RotaryEmbedding", [x, position, *self.rotary], attributes, domain=CONTRIB)

    # Neighbouring blocks

    def with_previous(self, x: ir.Value, kind: int, layer: int) -> ir.Value:
        """Frames of the block before in front of each block's: [R·blocks, 2·block, width]. Notes what comes next."""
        place = self.constant(f"place_{layer}", np.array(self.config.look_backward.index(layer), np.int64))
        past = self.op("Unsqueeze", [self.op("Gather", [self.past[kind], place]), self.index(1)])
        own = self.op("Reshape", [x, self.by_condition(self.config.block, -1)])
        joined = self.op("Concat", [past, own], {"axis": 1})
        # The block numbered `kept` of these is the last one that is not computed again.
        self.presents[kind].append(self.op("Gather", [joined, self.kept], {"axis": 1}))
        return self.pair(self.cut(joined, 0, -1), own)

    def with_next(self, x: ir.Value) -> ir.Value:
        """Frames of the block after behind each block's; after the last one any, which the mask hides."""
        own = self.op("Reshape", [x, self.by_condition(self.config.block, -1)])
        return self.pair(own, self.op("Concat", [self.cut(own, 1, 1 << 40), self.cut(own, 0, 1)], {"axis": 1}))

    def pair(self, first: ir.Value, second: ir.Value) -> ir.Value:
        shape = np.array([-1, 2 * self.config.block, self.config.heads * self.config.head_dim], np.int64)
        joined = self.op("Concat", [first, second], {"axis": 2})
        return self.op("Reshape", [joined, self.constant("pairs", shape)])

    def cut(self, x: ir.Value, start: int, stop: int) -> ir.Value:
        """Blocks start..stop of [R, blocks, …]."""
        return self.op("Slice", [x, self.index(start), self.index(stop), self.index(1)])

    def present(self, shape: list[int | str]) -> list[ir.Value]:
        """What the chunk after this one needs of it."""
        outputs = []
        for kind, values in zip(("keys", "values"), self.presents, strict=True):
            rows = [self.op("Unsqueeze", [value, self.index(0)]) for value in values]
            outputs.append(self.op("Concat", rows, {"axis": 0}, output=f"present_{kind}"))
            self.declare(outputs[-1], ir.DataType.FLOAT, shape)
        return outputs

    def edges(self, noisy: ir.Value) -> list[ir.Value]:
        """What is added to scores, [R·blocks, 1, block, keys], of layers that look at their own block, back, ahead."""
        block = self.constant("block", np.array(self.config.block, np.int64))
        count = self.op("Squeeze", [self.op("Shape", [noisy], {"start": 0, "end": 1})])
        stop = self.op("Add", [count, block])
        place = self.op("Range", [self.op("Neg", [block]), stop, self.constant("one", np.array(1, np.int64))])
        early = self.op("Less", [place, self.op("Neg", [self.before])])
        late = self.op("GreaterOrEqual", [place, self.frames])
        values = [self.constant(name, np.array(value, np.float32)) for name, value in (("far", FAR), ("near", 0))]
        hidden = self.op("Where", [self.op("Or", [early, late]), *values])
        hidden = self.op("Reshape", [hidden, self.constant("rows", np.array([-1, self.config.block], np.int64))])
        back, own, ahead = (
            self.op("Slice", [hidden, self.index(start), self.index(stop), self.index(0)])
            for start, stop in ((0, -2), (1, -1), (2, 1 << 40))
        )
        masks = [own]
        masks += [self.op("Concat", list(pair), {"axis": 1}) for pair in ((back, own), (own, ahead))]
        return [self.spread(mask, width) for mask, width in zip(masks, (1, 2, 2), strict=True)]

    def spread(self, mask: ir.Value, width: int) -> ir.Value:
        """[blocks, keys] -> [R·blocks, 1, block, keys]."""
        mask = self.op("Unsqueeze", [mask, self.constant("queries", np.array([0, 2], np.int64))])
        ones = self.constant("block_ones", np.array([1, self.config.block, 1], np.int64))
        mask = self.op("Expand", [mask, self.op("Concat", [self.conditions, ones], {"axis": 0})])
        size = self.config.block
        return self.op("Reshape", [mask, self.constant(f"mask_{width}", np.array([-1, 1, size, width * size]))])

    # Small things

    def row(self, index: int) -> ir.Value:
        """A row of the modulation, [hidden]."""
        return self.op("Gather", [self.modulation, self.constant(f"row_{index}", np.array(index, np.int64))])

    def index(self, value: int) -> ir.Value:
        return self.constant(f"index_{value}", np.array([value], np.int64))

    def blocks(self, width: int) -> ir.Value:
        """The shape [R·blocks, block, width]."""
        return self.constant(f"blocks_{width}", np.array([-1, self.config.block, width], np.int64))

    def by_condition(self, *sizes: int) -> ir.Value:
        """The shape [R, -1, *sizes]; of two sizes -1 stands for the width of the heads."""
        given = [size if size > 0 else self.config.heads * self.config.head_dim for size in sizes]
        rest = self.constant(f"rest_{given}", np.array([-1, *given], np.int64))
        return self.op("Concat", [self.conditions, rest], {"axis": 0})

    def columns(self, x: ir.Value, name: str, start: int, stop: int) -> ir.Value:
        """x times some of the columns of a matrix [out, in] of the checkpoint."""
        outputs = self.checkpoint.shape(name)[0]
        label = f"{name}.{start}"
        read: Callable[[int, int], np.ndarray] = lambda low, high: self.checkpoint.rows(name, low, high)[:, start:stop]  # noqa: E731
        self.matrices[label] = Matrix(outputs, stop - start, read)
        weight = self.lazy([label], [outputs, stop - start], lambda: read(0, outputs))
        return self.op(OPERATOR, [x, weight], domain=DOMAIN)


def rotary_tables(config: FlowConfig) -> dict[str, np.ndarray]:
    """cos and sin [3·block, head/2] f32 of frames counted from the block before a query's.

    Scores hang on the difference of two positions only (FACTS §6.1), so each block counts its own: what a chunk gives
    does not hang on where in the utterance it lies, and angles stay small enough for a float.
    """
    exponents = np.arange(0, config.head_dim, 2) / config.head_dim
    angles = np.arange(3 * config.block)[:, None] * config.rope_theta**-exponents
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}
