"""What the hand-built graphs share: nodes, constants, and weights that stay in the checkpoint until written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from ..quant.matrices import CONTRIB, DOMAIN, OPERATOR, Matrix
from .checkpoint import Checkpoint

OPSET = 21
Attributes = dict[str, int | float | str | list[int]]


class GraphBuilder:
    """Collects nodes and weights in order; a subclass spells the network."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.nodes: list[ir.Node] = []
        self.weights: list[ir.Value] = []
        self.inputs: list[ir.Value] = []
        self.constants: dict[str, ir.Value] = {}
        self.matrices: dict[str, Matrix] = {}

    def model(self, name: str, outputs: Sequence[ir.Value]) -> ir.Model:
        """The finished model."""
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports={"": OPSET, CONTRIB: 1, DOMAIN: 1},
            name=name,
        )
        return ir.Model(graph, ir_version=10, producer_name="omni-edge")

    def fresh(self, kind: str) -> str:
        """A name no other value has."""
        return f"{kind}_{len(self.nodes)}"

    def op(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        domain: str = "",
        output: str | None = None,
    ) -> ir.Value:
        """One node with one output."""
        node = ir.node(kind, inputs, attributes, domain=domain)
        self.nodes.append(node)
        node.outputs[0].name = output or self.fresh(kind)
        return node.outputs[0]

    def split(self, x: ir.Value, sizes: list[int]) -> Sequence[ir.Value]:
        """Cut the last axis into parts of the given sizes."""
        lengths = self.constant(self.fresh("sizes"), np.array(sizes, np.int64))
        node = ir.node("Split", [x, lengths], {"axis": -1}, num_outputs=len(sizes))
        self.nodes.append(node)
        for index, output in enumerate(node.outputs):
            output.name = f"{self.fresh('split')}.{index}"
        return node.outputs

    def input(self, name: str, dtype: ir.DataType, shape: list[int | str]) -> ir.Value:
        """An input of the graph."""
        value = ir.Value(name=name)
        self.declare(value, dtype, shape)
        self.inputs.append(value)
        return value

    def declare(self, value: ir.Value, dtype: ir.DataType, shape: list[int | str]) -> None:
        """Give a value its type and shape; strings are dynamic axes."""
        value.type = ir.TensorType(dtype)
        value.shape = ir.Shape(shape)

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        """A small array that is part of the graph; asked for again by name, it is the same value."""
        if name not in self.constants:
            value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
            self.declare(value, ir.DataType.from_numpy(array.dtype), list(array.shape))
            self.weights.append(value)
            self.constants[name] = value
        return self.constants[name]

    def stored(self, name: str) -> ir.Value:
        """A tensor of the checkpoint as it is."""
        return self.lazy([name], list(self.checkpoint.shape(name)), lambda: self.checkpoint.array(name))

    def linear(
        self, x: ir.Value, names: list[str], bias: list[str] | None = None, output: str | None = None
    ) -> ir.Value:
        """x times matrices [out, in] of the checkpoint, their outputs side by side, plus vectors end to end."""
        shapes = [self.checkpoint.shape(name) for name in names]
        outputs, inputs = sum(shape[0] for shape in shapes), shapes[0][1]
        weight = ir.Value(name=merged(names))
        self.declare(weight, ir.DataType.FLOAT, [outputs, inputs])
        # Only its name matters: the node is lowered before anything is written.
        weight.const_value = ir.LazyTensor(
            lambda: ir.tensor(self.matrices[merged(names)].rows(0, outputs)),
            dtype=ir.DataType.FLOAT, shape=ir.Shape([outputs, inputs]), name=weight.name,
        )  # fmt: skip
        self.weights.append(weight)
        self.matrices[merged(names)] = Matrix(outputs, inputs, self._rows(names, [shape[0] for shape in shapes]))
        feeds = [x, weight] if bias is None else [x, weight, self.vector(bias)]
        return self.op(OPERATOR, feeds, domain=DOMAIN, output=output)

    def _rows(self, names: list[str], counts: list[int]) -> Callable[[int, int], np.ndarray]:
        """Reads rows of several matrices as if they were one."""

        def read(start: int, stop: int) -> np.ndarray:
            parts, first = [], 0
            for name, count in zip(names, counts, strict=True):
                low, high = max(start - first, 0), min(stop - first, count)
                if low < high:
                    parts.append(self.checkpoint.rows(name, low, high))
                first += count
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return read

    def vector(self, names: list[str]) -> ir.Value:
        """Vectors of the checkpoint, end to end."""
        shape = [sum(self.checkpoint.shape(name)[0] for name in names)]
        return self.lazy(names, shape, lambda: np.concatenate([self.checkpoint.array(name) for name in names]))

    def lazy(self, names: list[str], shape: list[int], read: Callable[[], np.ndarray]) -> ir.Value:
        """A weight that is read when the file is written."""
        name = merged(names)
        tensor = ir.LazyTensor(
            lambda: ir.tensor(read(), name=name), dtype=ir.DataType.FLOAT, shape=ir.Shape(shape), name=name
        )
        value = ir.Value(name=name, const_value=tensor)
        self.declare(value, ir.DataType.FLOAT, list(shape))
        self.weights.append(value)
        return value


def merged(names: list[str]) -> str:
    """What tensors that became one are called: the first one's name, "+" and the others' last parts."""
    return "+".join([names[0], *(part.split(".")[-2] for part in names[1:])])
