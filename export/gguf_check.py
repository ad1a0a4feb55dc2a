"""A written GGUF against the checkpoint: llama.cpp and plain torch read the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..models.errors import BundleError
from ..models.llama import LlamaContext, LlamaGraph
from .checkpoint import Checkpoint
from .decoder import DecoderName, decoder_of
from .gguf_decoder import projection
from .reference import decoder_reference

TOLERANCES = {"f32": 1e-4, "f16": 1e-2}
"""Largest difference relative to the largest output. llama.cpp multiplies f16 matrices with rows cut to f16."""
LEAST_LIKENESS = 0.3
"""Cosine between the hidden rows of a coarser kind and the checkpoint's; unrelated rows are near 0."""
ROWS = 12


def check_decoder_file(checkpoint: Checkpoint, name: DecoderName, path: Path, kind: str) -> float:
    """Read rows of noise at positions that differ on the three axes.

    Returns:
        max |llama.cpp - torch| / max |torch|, the larger one of hidden rows and last logits.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        BundleError: llama.cpp does not load the file, or what it computes is not what the checkpoint computes.
    """
    config, names = decoder_of(checkpoint, name)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((ROWS, config.rows), np.float32)
    # Rising on all axes, or llama.cpp's mask would not be the causal one (FACTS §8).
    positions = np.cumsum(rng.integers(1, 4, (3, ROWS)), axis=1)
    hidden, logits = decoder_reference(checkpoint, config, names, torch.from_numpy(rows), torch.from_numpy(positions))
    if names.projection:
        weight, bias = projection(checkpoint, names.projection)
        rows = rows @ weight.T + bias
    found, last = _read(path, rows, positions)
    return _compare(path, kind, [(found, hidden.numpy()), (last, logits[-1].numpy())])


def _read(path: Path, rows: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    graph = LlamaGraph(path, repack=False)
    try:
        context = LlamaContext(graph, ROWS, ROWS, threads=0, exact=True)
        try:
            return context.read(rows, positions)
        finally:
            context.close()
    finally:
        graph.close()


def _compare(path: Path, kind: str, pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    worst = 0.0
    for actual, expected in pairs:
        if actual.shape != expected.shape or not np.isfinite(actual).all():
            raise BundleError(f"{path}: llama.cpp computes no sound values; update llama-cpp-python and export again")
        likeness = float((actual * expected).sum() / (np.linalg.norm(actual) * np.linalg.norm(expected)))
        if likeness < LEAST_LIKENESS:
            raise BundleError(
                f"{path}: {kind} leaves too little of the checkpoint ({likeness:.2f} alike); take a larger kind"
            )
        worst = max(worst, float(np.abs(actual - expected).max() / np.abs(expected).max()))
    if worst > TOLERANCES.get(kind, np.inf):
        raise BundleError(f"{path}: differs from the checkpoint by {worst:.2g} (allowed {TOLERANCES[kind]:g})")
    return worst
