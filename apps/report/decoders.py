"""Next-token distributions of a bundle's decoders, beside those of the full precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...models.bundle import Bundle
from ...models.manifest import Graph
from ...runtime.decoder import Decoder
from ...runtime.engine import DecoderName, open_decoder
from ..progress import Tick
from .recording import DecoderInput

if TYPE_CHECKING:
    from ...export.full_precision import FullPrecision
    from ...quant.report import DecoderError

MISSING = "llama.cpp is not installed: pip install 'omni-edge[llama]'"
UNREADABLE = "its engine can read none of the conversations"


class DecoderComparison:
    """A decoder's graphs beside its checkpoint.

    Args:
        bundle: checked.
        full: its checkpoint.
        name: of the decoder.
        inputs: what both sides read, at least one.
        threads: for one operator; 0 is one a physical core.
        tick: told how far it is.
    """

    def __init__(
        self,
        bundle: Bundle,
        full: FullPrecision,
        name: DecoderName,
        inputs: Sequence[DecoderInput],
        threads: int,
        tick: Tick,
    ) -> None:
        self._bundle = bundle
        self._full = full
        self._name: DecoderName = name
        self._inputs = inputs
        self._threads = threads
        self._tick = tick

    def errors(self) -> Iterator[tuple[Graph, DecoderError | str]]:
        """Each graph with what it lost, or why that was not measured."""
        # On disk, because a large vocabulary makes the logits of a few hundred rows as large as a small model.
        with TemporaryDirectory(prefix="omni-edge-") as folder:
            kept = [Path(folder) / f"{index}.npy" for index in range(len(self._inputs))]
            given = [(each.rows, each.positions, each.wanted) for each in self._inputs]
            for path, logits in zip(kept, self._full.logits(self._name, given, self._layers), strict=True):
                np.save(path, logits)
            for graph in self._bundle.manifest.subnetworks[self._name].graphs:
                is_missing = graph.engine == "llama" and find_spec("llama_cpp") is None
                yield graph, MISSING if is_missing else self._error(graph, kept)

    def _layers(self, part: float) -> None:
        self._tick(f"{self._name}, full precision", round(100 * part), 100)

    def _error(self, graph: Graph, kept: Sequence[Path]) -> DecoderError | str:
        from ...quant.measures import kl_divergence, same_choice
        from ...quant.report import DecoderError

        decoder = open_decoder(self._bundle, self._name, graph.engine, self._threads)
        prompt, reply = _Distances(), _Distances()
        for index, (each, path) in enumerate(zip(self._inputs, kept, strict=True)):
            self._tick(f"{self._name}, {graph.engine}", index, len(kept))
            if not decoder.reads(each.positions):
                continue
            full, other = np.load(path), step_logits(decoder, each)
            divergence, same = kl_divergence(full, other), same_choice(full, other)
            prompt.add(divergence[: len(each.prompt)], same[: len(each.prompt)])
            reply.add(divergence[len(each.prompt) :], same[len(each.prompt) :])
        # Its weights are read from the file now, which needs the memory.
        del decoder
        if not reply.positions:
            return UNREADABLE
        self._tick(f"{self._name}, weights", 0, 1)
        return DecoderError(
            kl=reply.kl,
            top1=reply.top1,
            positions=reply.positions,
            prompt_kl=prompt.kl if prompt.positions else None,
            prompt_top1=prompt.top1 if prompt.positions else None,
            matrices=tuple(self._full.matrices(self._name, self._bundle.path(graph.graph))),
        )


class _Distances:
    """Means over positions, collected sequence by sequence."""

    def __init__(self) -> None:
        self._kl: list[NDArray[np.float64]] = []
        self._same: list[NDArray[np.bool_]] = []

    def add(self, divergence: NDArray[np.float64], same: NDArray[np.bool_]) -> None:
        self._kl.append(divergence)
        self._same.append(same)

    @property
    def positions(self) -> int:
        return sum(map(len, self._kl))

    @property
    def kl(self) -> float:
        return _mean(self._kl)

    @property
    def top1(self) -> float:
        return _mean(self._same)


def step_logits(decoder: Decoder, given: DecoderInput) -> NDArray[np.float32]:
    """Logits [n, vocab] after each wanted row; a decoder gives those of the last row it read."""
    decoder.truncate(0)
    results, start = [], 0
    for stop in (given.wanted + 1).tolist():
        results.append(decoder.extend(given.rows[start:stop], given.positions[:, start:stop])[1])
        start = stop
    return np.stack(results)


def _mean(parts: Sequence[NDArray[Any]]) -> float:
    return float(np.concatenate(parts).mean())
