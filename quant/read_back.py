"""The matrices of a written graph as the engine multiplies with them, whatever they are stored as."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper
from onnx.external_data_helper import load_external_data_for_tensor

from .blocks import Blocks, Scheme
from .matrices import Matrix

_CHECKPOINT_NAME = re.compile(r".*?\.weight(?:\+[A-Za-z0-9_]+)*")
_LAYER = re.compile(r"\blayers\.([0-9]+)\.")


def graph_matrices(path: Path) -> Iterator[tuple[str, Matrix]]:
    """Matrices that rows are multiplied with, one in memory at a time, as it is stored.

    Args:
        path: a decoder's .onnx file; its external data lies beside it.

    Yields:
        The checkpoint's name (merged ones joined with +) and the matrix, in the graph's order.
    """
    model = onnx.load(path, load_external_data=False)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}

    def read(name: str) -> NDArray[Any]:
        # A copy: reading the external data fills the tensor it is given, and all of them would stay in memory.
        tensor = TensorProto()
        tensor.CopyFrom(weights[name])
        if tensor.data_location == TensorProto.EXTERNAL:
            load_external_data_for_tensor(tensor, str(path.parent))
            tensor.data_location = TensorProto.DEFAULT
        return numpy_helper.to_array(tensor)

    for node in model.graph.node:
        if node.op_type not in ("MatMul", "MatMulNBits") or node.input[1] not in weights:
            continue
        name = _CHECKPOINT_NAME.match(node.input[1])
        if name is None:
            continue
        if node.op_type == "MatMul":
            yield name[0], _floats(read(node.input[1]))
        else:
            yield name[0], _matrix(node, read)


def parts_of(name: str) -> list[str]:
    """Tensors of the checkpoint that a matrix is made of: "a.q.weight+k" is a.q.weight, a.k.weight."""
    first, *others = name.split("+")
    head, _, tail = first.rsplit(".", 2)
    return [first, *(f"{head}.{other}.{tail}" for other in others)]


def layer_of(name: str) -> int | None:
    """The layer a matrix belongs to."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def part_of(name: str) -> str:
    """What a matrix is in its layer: "x.layers.0.mlp.gate_proj.weight+up_proj" is "gate up"."""
    return " ".join(part.split(".")[-2].removesuffix("_proj") for part in parts_of(name))


def _floats(stored: NDArray[Any]) -> Matrix:
    """Of [inputs, outputs]."""
    inputs, outputs = stored.shape
    return Matrix(outputs, inputs, lambda start, stop: stored[:, start:stop].T.astype(np.float32))


def _matrix(node: NodeProto, read: Any) -> Matrix:
    """Inputs of the node: rows, values, scales and, when asymmetric, zero points."""
    given = {attribute.name: attribute.i for attribute in node.attribute}
    outputs, inputs = given["N"], given["K"]
    zeros = read(node.input[3]).reshape(outputs, -1) if len(node.input) > 3 and node.input[3] else None
    scheme = Scheme(bits=given["bits"], block=given["block_size"], symmetric=zeros is None)
    scales = read(node.input[2]).reshape(outputs, -1).astype(np.float32, copy=False)
    values = read(node.input[1])

    def rows(start: int, stop: int) -> NDArray[np.float32]:
        # In floats a large vocabulary's head, and what is on the way to it, would be several times its stored size.
        some = slice(start, stop)
        return Blocks(scheme, inputs, values[some], scales[some], None if zeros is None else zeros[some]).matrix()

    return Matrix(outputs, inputs, rows)
