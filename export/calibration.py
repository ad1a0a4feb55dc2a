"""A decoder's matrices rounded with error correction, layer after layer, on rows that it read in conversations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..quant.blocks import Blocks
from ..quant.gptq import Corrector
from ..quant.matrices import Matrix, Packer, Rounding
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .decoder import DecoderNames
from .graphs import Tick
from .reference import Reference

MOST_ROWS = 8192
"""Rows of all sequences together; more teach little and cost time."""


@dataclass(frozen=True, eq=False)
class Passage:
    """What a decoder read in one conversation: rows f32 [S, width] and positions int64 [3, S]."""

    rows: np.ndarray
    positions: np.ndarray


class Calibration:
    """Walks through a decoder with rounded weights, rounding each layer on what reaches it.

    Args:
        checkpoint: weights.
        config: shape.
        names: where the weights lie.
        matrices: of the graph, merged ones by their merged names.
        rounding: of the matrices.
        folder: where rounded matrices wait for the graph to be written; those of an interrupted walk are used again.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: DecoderConfig,
        names: DecoderNames,
        matrices: dict[str, Matrix],
        rounding: Rounding,
        folder: Path,
    ) -> None:
        self._config = config
        self._rounding = rounding
        self._folder = folder
        self._checkpoint = checkpoint
        self._names = names
        self._matrices = matrices
        self._order = list(matrices)
        # The parts of a merged matrix are multiplied with the same inputs; the first one's are looked at.
        self._firsts = {name.partition("+")[0]: name for name in matrices}
        self._products: dict[str, Tensor] = {}
        self._rounded: dict[str, Tensor] = {}

    def run(self, sequences: Sequence[Passage], tick: Tick) -> Packer:
        """Round everything.

        Returns:
            Gives the graph's writer the rounded matrices.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        watching = Reference(self._checkpoint, self._config, self._names, tap=self._watch)
        rounded = Reference(self._checkpoint, self._config, self._names, read=self._read)
        kept = at_most(sequences, MOST_ROWS)
        places = [torch.from_numpy(each.positions) for each in kept]
        inputs = [torch.from_numpy(each.rows) for each in kept]

        def through(step: Callable[[Reference, Tensor, Tensor], Tensor], streams: list[Tensor]) -> list[Tensor]:
            for x, positions in zip(streams, places, strict=True):
                step(watching, x, positions)
            self._round()
            return [step(rounded, x, positions) for x, positions in zip(streams, places, strict=True)]

        streams = through(lambda reference, x, _: reference.project(x), inputs)
        for layer in range(self._config.layers):
            streams = through(lambda reference, x, positions: reference.layer(layer, x, positions), streams)  # noqa: B023
            tick((layer + 1) / (self._config.layers + 1))
        for x in streams:
            self._watch(self._names.head, watching.finish(x))
        self._round()
        return lambda name, _: self._load(name)

    def clear(self) -> None:
        """The graph is written; remove what was kept for it."""
        shutil.rmtree(self._folder)

    def _watch(self, name: str, x: Tensor) -> None:
        if name in self._firsts:
            if name in self._products:
                self._products[name].addmm_(x.T, x)
            else:
                self._products[name] = x.T @ x

    def _round(self) -> None:
        """Round the matrices whose inputs have been watched, and keep them for the walk through this layer."""
        self._rounded.clear()
        names = [self._firsts[first] for first in self._products]
        # All are rounded before the first one's floats are held: the sums of a wide layer leave no room for both.
        for first, name in zip(list(self._products), names, strict=True):
            if not self._path(name).exists():
                self._save(name, self._packed(name, self._products.pop(first)))
        self._products.clear()
        for name in names:
            if name == self._names.head:
                continue  # nothing comes after it, and its floats may not fit memory
            whole = torch.from_numpy(self._load(name).matrix())
            parts = _part_names(name)
            counts = [self._checkpoint.shape(part)[0] for part in parts]
            self._rounded |= dict(zip(parts, whole.split(counts), strict=True))

    def _packed(self, name: str, products: Tensor) -> Blocks:
        return Corrector(products.numpy(), self._rounding.of(name)).pack(self._matrices[name])

    def _read(self, name: str) -> Tensor:
        return self._rounded[name] if name in self._rounded else self._checkpoint.tensor(name)

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._order.index(name)}.npz"

    def _save(self, name: str, blocks: Blocks) -> None:
        arrays = {"values": blocks.values, "scales": blocks.scales}
        if blocks.zeros is not None:
            arrays["zeros"] = blocks.zeros
        beside = self._path(name).with_suffix(".tmp.npz")
        np.savez(beside, **arrays)  # pyright: ignore
        beside.rename(self._path(name))

    def _load(self, name: str) -> Blocks:
        with np.load(self._path(name)) as arrays:
            zeros = arrays["zeros"] if "zeros" in arrays.files else None
            return Blocks(
                self._rounding.of(name), self._matrices[name].inputs, arrays["values"], arrays["scales"], zeros
            )


def _part_names(merged: str) -> list[str]:
    """The names of the tensors that became one (`builder.merged`)."""
    first, *others = merged.split("+")
    stem, _, kind = first.rpartition(".")
    parent = stem.rpartition(".")[0]
    return [first, *(f"{parent}.{other}.{kind}" for other in others)]


def at_most(sequences: Sequence[Passage], rows: int) -> list[Passage]:
    """The first passages, as many as have no more rows than that, and at least one."""
    kept, count = [], 0
    for each in sequences:
        if count + len(each.rows) > rows and kept:
            break
        kept.append(each)
        count += len(each.rows)
    return kept
