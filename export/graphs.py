"""torch module -> .onnx file: tracing, clean-up, validation at other shapes (EXPORT §2)."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import torch
from torch import Tensor, nn

from ..models.errors import BundleError
from ..quant.channels import Rounded, by_channel
from ..quant.matrices import Matrix, Packer, Rounding, lower
from .inputs import GraphInputs, arrays, sample
from .linear import matrices

Sizes = dict[str, int]
Tick = Callable[[float], None]
"""Called with the part of a step that is done, 0 to 1."""


def tolerance(rounding: Rounding | None) -> float:
    """Largest error (`relative_error`) that a validated graph may show.

    Rounding stays below these, and most below a tenth of them: the vocoder, driven with noise, is what comes near. A
    weight in the wrong place is off by one or more.
    """
    return 1e-4 if rounding is None else {8: 0.3, 4: 0.7}[rounding.scheme.bits]


def export_graph(
    module: nn.Module, declaration: GraphInputs, sizes: Sizes, path: Path, rounding: Rounding | None, tick: Tick
) -> None:
    """Trace a module at one sample and save it beside its weights (path and path + ".data").

    Args:
        module: in eval mode, its forward taking the declared inputs in order.
        declaration: names and dynamic axes.
        sizes: of the traced sample; none of them 1, or the tracer takes the axis for a constant.
        path: the .onnx file.
        rounding: how its matrices are rounded; None keeps floats.
        tick: told how far the writing is.
    """
    inputs = sample(declaration, sizes)
    shapes = tuple(
        dict.fromkeys(declaration.inputs[name], torch.export.Dim.DYNAMIC) or None for name in declaration.inputs
    )
    with _quiet():
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(declaration.inputs),
            output_names=list(declaration.outputs),
            dynamic_shapes=shapes,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None
    strip(program.model)
    finish(program.model, matrices(module), rounding)
    save_graph(program.model, path, tick)


def finish(
    model: ir.Model,
    given: Mapping[str, Matrix],
    rounding: Rounding | None,
    packer: Packer | None = None,
    corrected: Mapping[str, Rounded] | None = None,
) -> None:
    """Turn the matrices into operators of ONNX Runtime and, unless floats are kept, round all other weights too."""
    lower(model, given, rounding, packer)
    if rounding is not None:
        by_channel(model, corrected)


def save_graph(model: ir.Model, path: Path, tick: Tick) -> None:
    """Write a model with its weights in one external file, tensor by tensor."""

    def advance(_: ir.TensorProtocol, info: ir.external_data.CallbackInfo) -> None:
        tick(info.index / info.total)

    data = path.with_name(f"{path.name}.data")
    ir.save(model, path, external_data=data.name, size_threshold_bytes=1024, callback=advance)
    if data.exists() and not data.stat().st_size:
        data.unlink()


def strip(model: ir.Model) -> None:
    """Remove what the tracer notes about the machine: file paths, stack traces, module names."""
    model.metadata_props.clear()
    model.doc_string = None
    model.producer_name = "omni-edge"
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    for graph in graphs:
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in [*graph.inputs, *graph.initializers.values()]:
            _strip_value(value)
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                _strip_value(value)


def _strip_value(value: ir.Value) -> None:
    value.metadata_props.clear()
    value.doc_string = None
    if value.const_value is not None:
        value.const_value.metadata_props.clear()


def validate_graph(
    path: Path, module: nn.Module, declaration: GraphInputs, shapes: Sequence[Sizes], rounding: Rounding | None
) -> float:
    """Compare ONNX Runtime with the torch module at shapes other than the traced one.

    Returns:
        The largest relative difference.

    Raises:
        BundleError: it exceeds the tolerance, or an output has another shape.
    """
    session = open_graph(path)
    worst = 0.0
    for sizes in shapes:
        inputs = sample(declaration, sizes)
        with torch.no_grad():
            expected = outputs_of(module, inputs.values())
        for actual, wanted in zip(session.run(None, arrays(inputs)), expected, strict=True):
            what = f"{path.name} at {sizes}"
            worst = max(worst, relative_error(np.asarray(actual), wanted, what, tolerance(rounding)))
    return worst


def outputs_of(module: nn.Module, inputs: Iterable[Tensor]) -> list[np.ndarray]:
    """What a module with one output or several gives."""
    result = module(*inputs)
    return [each.numpy() for each in (result if isinstance(result, tuple) else (result,))]


def relative_error(actual: np.ndarray, expected: np.ndarray, what: str, most: float) -> float:
    """Root mean square of the difference, relative to that of what is expected.

    Raises:
        BundleError: shapes differ, or the error exceeds `most`.
    """
    if actual.shape != expected.shape:
        raise BundleError(f"{what}: shape {actual.shape}, expected {expected.shape}; the export is wrong")
    error = float(np.sqrt(np.mean((actual - expected) ** 2)) / max(float(np.sqrt(np.mean(expected**2))), 1e-6))
    if not error <= most:
        raise BundleError(f"{what}: differs from the checkpoint by {error:.2g} (allowed {most:g})")
    return error


def open_graph(path: Path) -> ort.InferenceSession:
    """An ONNX Runtime session on the CPU, for validation."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def open_part(model: ir.Model, path: Path, inputs: list[str], outputs: list[str]) -> ort.InferenceSession:
    """A session of the stretch of a written graph between named values; weights stay in the graph's own file."""
    part = path.with_name(f"{path.stem}.part.onnx")
    try:
        graph = ir.convenience.extract(model.graph, inputs, outputs)
        ir.save(ir.Model(graph, ir_version=model.ir_version), part)
        return open_graph(part)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The tracer prints its progress and warns about its own internals; a user can act on neither."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
