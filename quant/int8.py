"""A graph's weights in eight bits, in place.

Decoders read one row at a time, so what a step costs is reading weights: their matrices become MatMulNBits, whose
kernels multiply the bytes themselves. All other weights are stored as bytes with one scale a channel and made floats
again by DequantizeLinear: a quarter of the size, and the arithmetic stays float.

Both are symmetric round-to-nearest; activations and biases keep their floats.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .blocks import Scheme, pack

SCHEME = Scheme(bits=8, block=32)
"""Of the decoders' matrices."""
SMALLEST = 1024
"""Weights below which a tensor stays as it is: it would save less than its scales cost."""
ATTENTION = "GroupQueryAttention"
"""The operator by which a decoder is known."""
_CONTRIB = "com.microsoft"


def to_int8(path: Path) -> int:
    """Quantise a graph file and its external data; returns how many weights became eight bits.

    Raises:
        ValueError: a matrix that should have been quantised was not.
    """
    model = onnx.load(path)
    is_decoder = any(node.op_type == ATTENTION for node in model.graph.node)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    done: dict[str, str] = {}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        place = _weight_of(node, weights)
        if place is None:
            nodes.append(node)
        elif is_decoder and node.op_type == "MatMul":
            nodes.append(_block_matmul(model, node, weights))
        else:
            name = node.input[place]
            if name not in done:
                done[name] = _by_channel(model, nodes, weights[name], _channel_axis(node))
            node.input[place] = done[name]
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model)
    floats = _floats(model)
    left = [node.op_type for node in model.graph.node if _weight_of(node, floats) is not None]
    if left:
        raise ValueError(f"{path.name}: {len(left)} weights stayed floats ({', '.join(sorted(set(left)))})")
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=1024)
    if data.exists():
        data.chmod(path.stat().st_mode)  # onnx writes it for its owner alone
    return sum(node.op_type in ("DequantizeLinear", "MatMulNBits") for node in nodes)


def _floats(model: onnx.ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _weight_of(node: NodeProto, weights: dict[str, TensorProto]) -> int | None:
    """Which input of a node is a weight worth quantising."""
    place = {"MatMul": 1, "Gemm": 1, "Conv": 1, "ConvTranspose": 1, "Gather": 0}.get(node.op_type)
    if place is None or node.input[place] not in weights:
        return None
    tensor = weights[node.input[place]]
    is_large = tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1 and np.prod(tensor.dims) >= SMALLEST
    return place if is_large else None


def _channel_axis(node: NodeProto) -> int:
    """The axis of a node's weight along which each output has its own scale."""
    if node.op_type == "Gemm":
        transposed = next((attribute.i for attribute in node.attribute if attribute.name == "transB"), 0)
        return 0 if transposed else 1
    return {"MatMul": 1, "Conv": 0, "ConvTranspose": 1, "Gather": 0}[node.op_type]


def _by_channel(model: onnx.ModelProto, nodes: list[NodeProto], tensor: TensorProto, axis: int) -> str:
    """Store a weight as int8 with a scale a channel; returns the name of its floats."""
    values = numpy_helper.to_array(tensor)
    others = tuple(index for index in range(values.ndim) if index != axis)
    scales = np.maximum(np.abs(values).max(axis=others), 1e-12) / 127
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    rounded = np.clip(np.rint(values / scales.reshape(shape)), -127, 127).astype(np.int8)
    stored, scale, floats = (f"{tensor.name}.{part}" for part in ("int8", "scale", "float"))
    model.graph.initializer.append(numpy_helper.from_array(rounded, stored))
    model.graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), scale))
    nodes.append(helper.make_node("DequantizeLinear", [stored, scale], [floats], axis=axis))
    return floats


def _block_matmul(model: onnx.ModelProto, node: NodeProto, weights: dict[str, TensorProto]) -> NodeProto:
    """MatMul with a matrix [K, N] as MatMulNBits."""
    name = node.input[1]
    blocks = pack(numpy_helper.to_array(weights[name]), SCHEME)
    stored, scale = f"{name}.uint8", f"{name}.scale"
    model.graph.initializer.append(numpy_helper.from_array(blocks.values, stored))
    model.graph.initializer.append(numpy_helper.from_array(blocks.scales, scale))
    # Level 4: the kernel rounds activations to eight bits block by block, so that bytes meet bytes.
    return helper.make_node(
        "MatMulNBits", [node.input[0], stored, scale], list(node.output), name=node.name, domain=_CONTRIB,
        K=blocks.inputs, N=blocks.outputs, bits=SCHEME.bits, block_size=SCHEME.block, accuracy_level=4,
    )  # fmt: skip


def _drop_unused(model: onnx.ModelProto) -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    if not any(opset.domain == _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
