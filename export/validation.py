"""An exported decoder against the checkpoint, one layer in memory at a time.

The written file is cut at the layers (decoder.py names where). Each stretch runs in ONNX Runtime on what the
checkpoint's own layers pass on, in steps with the cache fed back; so every byte that was written is looked at, each
layer's error is its own, and no more than a layer has to fit memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch

from .config import DecoderConfig
from .graphs import open_part, relative_error
from .reference import Reference

STEPS = (5, 1, 6)
"""Rows of each run."""
CAPACITY = 16
"""Of the caches."""
Feeds = dict[str, np.ndarray]


def validate_decoder(
    path: Path, reference: Reference, config: DecoderConfig, most: float, tick: Callable[[float], None]
) -> list[float]:
    """Compare all layers, and what comes after the last.

    Args:
        path: the graph.
        reference: the checkpoint's decoder.
        config: its shape.
        most: largest error (`relative_error`) of what a layer adds that is allowed.
        tick: told how much is done, 0 to 1.

    Returns:
        The error of each layer, then of the head if there is one.

    Raises:
        BundleError: one of them is too large.
    """
    model = ir.load(path)
    generator = torch.Generator().manual_seed(0)
    count = sum(STEPS)
    start = torch.arange(count)
    # Three different axes, as in pictures, so that a mistaken section shows.
    positions = torch.stack([start, start + 3, start * 2])
    rows = torch.randn(count, config.rows, generator=generator)
    x = reference.project(rows)
    stretches = _Stretches(path, model, config, positions.numpy())
    has_projection = "projected" in {output.name for node in model.graph for output in node.outputs}
    if has_projection:
        (projected,) = stretches.run(["rows"], [rows.numpy()], ["projected"])
        relative_error(projected, x.numpy(), f"{path.name}, projection", most)
    errors = []
    for layer in range(config.layers):
        before, x = x, reference.layer(layer, x, positions)
        if layer == 0:
            names, values = ["projected" if has_projection else "rows"], [before.numpy()]
        else:
            names, values = [f"stream.{layer - 1}", f"update.{layer - 1}"], [before.numpy() / 2] * 2
        stream, update = stretches.run(names, values, [f"stream.{layer}", f"update.{layer}"], layer)
        added = stream + update - before.numpy()
        errors.append(relative_error(added, (x - before).numpy(), f"{path.name}, layer {layer}", most))
        tick(layer / config.layers)
    last = config.layers - 1
    ends = [f"stream.{last}", f"update.{last}"], [x.numpy() / 2] * 2
    outputs = [output.name for output in model.graph.outputs if output.name in ("hidden", "logits")]
    hidden, *logits = stretches.run(*ends, outputs)
    wanted = reference.finish(x)
    relative_error(hidden, wanted.numpy(), f"{path.name}, final norm", 1e-4)
    if logits:
        scores = reference.logits(wanted[torch.cumsum(torch.tensor(STEPS), 0) - 1]).numpy()
        errors.append(relative_error(logits[0], scores, f"{path.name}, logits", most))
    return errors


class _Stretches:
    """Runs parts of a written graph."""

    def __init__(self, path: Path, model: ir.Model, config: DecoderConfig, positions: np.ndarray) -> None:
        self.path = path
        self.model = model
        self.config = config
        self.positions = positions

    def run(
        self, names: list[str], values: list[np.ndarray], outputs: list[str], layer: int | None = None
    ) -> list[np.ndarray]:
        """Feed values [S, width] in steps; outputs [S, width], or for logits [steps, vocab]."""
        config = self.config
        inputs, presents = list(names), []
        caches: Feeds = {}
        if layer is not None:
            kinds = [f"{kind}.{layer}" for kind in ("key", "value")]
            inputs += ["positions", "last_index", "total", *(f"past_{kind}" for kind in kinds)]
            presents = [f"present_{kind}" for kind in kinds]
            shape = (1, config.kv_heads, CAPACITY, config.head_dim)
            caches = {f"past_{kind}": np.zeros(shape, np.float32) for kind in kinds}
        session = open_part(self.model, self.path, inputs, [*outputs, *presents])
        parts: list[list[np.ndarray]] = []
        past = 0
        for count in STEPS:
            stop = past + count
            feeds = {name: value[None, past:stop] for name, value in zip(names, values, strict=True)}
            if layer is not None:
                feeds |= caches
                feeds["positions"] = self.positions[:, None, past:stop]
                feeds["last_index"], feeds["total"] = np.array([stop - 1], np.int32), np.array(stop, np.int32)
            results = [np.asarray(result) for result in session.run([*outputs, *presents], feeds)]
            caches = dict(zip(caches, results[len(outputs) :], strict=True))
            parts.append([value[0] if value.ndim == 3 else value for value in results[: len(outputs)]])
            past = stop
        return [np.concatenate(column) for column in zip(*parts, strict=True)]
