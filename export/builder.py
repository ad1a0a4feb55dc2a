"""What the hand-built graphs share: nodes, constants, and weights that stay in the checkpoint until written."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from .checkpoint import Checkpoint

OPSET = 21
CONTRIB = "com.microsoft"
Attributes = dict[str, int | float | str | list[int]]


class GraphBuilder:
    """Collects nodes and weights in order; a subclass spells the network."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.nodes: list[ir.Node] = []
        self.weights: list[ir.Value] = []
        self.inputs: list[ir.Value] = []
        self.constants: dict[str, ir.Value] = {}

    def model(self, name: str, outputs: Sequence[ir.Value]) -> ir.Model:
        """The finished model."""
        graph = ir.Graph(
            self.inputs,
            outputs,
            nodes=self.nodes,
            initializers=self.weights,
            opset_imports={"": OPSET, CONTRIB: 1},
            name=name,
        )
        return ir.Model(graph, ir_version=10, producer_name="omni-edge")

    def fresh(self, kind: str) -> str:
        """A name no other value has."""
        return f"{kind}_{len(self.nodes)}"

    def op(
        self,
        kind: str,
        inputs: Sequence[ir.Value],
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

    def transposed(self, names: list[str]) -> ir.Value:
        """Matrices [out, in] of the checkpoint side by side as one [in, sum of outs]."""
        shapes = [self.checkpoint.shape(name) for name in names]
        shape = [shapes[0][1], sum(shape[0] for shape in shapes)]

        def read() -> np.ndarray:
            return np.ascontiguousarray(np.concatenate([self.checkpoint.array(name) for name in names]).T)

        return self.lazy(names, shape, read)

    def vector(self, names: list[str]) -> ir.Value:
        """Vectors of the checkpoint, end to end."""
        shape = [sum(self.checkpoint.shape(name)[0] for name in names)]
        return self.lazy(names, shape, lambda: np.concatenate([self.checkpoint.array(name) for name in names]))

    def lazy(self, names: list[str], shape: list[int], read: Callable[[], np.ndarray]) -> ir.Value:
        """A weight that is read when the file is written."""
        # The merged tensor goes by its first part's name, "+" and the others' last parts.
        name = "+".join([names[0], *(part.split(".")[-2] for part in names[1:])])
        tensor = ir.LazyTensor(
            lambda: ir.tensor(read(), name=name), dtype=ir.DataType.FLOAT, shape=ir.Shape(shape), name=name
        )
        value = ir.Value(name=name, const_value=tensor)
        self.declare(value, ir.DataType.FLOAT, list(shape))
        self.weights.append(value)
        return value
