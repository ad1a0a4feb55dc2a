"""A checkpoint in full precision behind the interfaces of the runtime: what a bundle is measured against.

The encoders, the flow and the vocoder stand in for ONNX Runtime sessions, so that the very code that runs a bundle's
graph runs these. The decoders are read layer by layer. No more than one subnetwork is in memory at a time, as long as
no more than one session is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..models.errors import BundleError, MissingExtra
from ..models.manifest import Decoder, Manifest
from ..quant.matrices import Matrix
from ..quant.measures import relative_rms
from ..quant.read_back import graph_matrices, layer_of, part_of, parts_of
from ..quant.report import MatrixError
from .audio_encoder import audio_encoder
from .checkpoint import Checkpoint
from .config import DecoderConfig
from .decoder import DecoderName, decoder_of
from .flow import flow
from .graphs import Tick, outputs_of
from .inputs import AudioInputs, FlowInputs, GraphInputs, VisionInputs, VocoderInputs
from .reference import Reference
from .vision_encoder import vision_encoder
from .vocoder import reference_vocoder

Floats: TypeAlias = NDArray[np.float32]
SessionName = Literal["audio_encoder", "vision_encoder", "flow", "vocoder"]
Given: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]
"""A sequence: rows [S, width], positions [3, S], and the indices [n] of rows whose next token is wanted."""
_DECLARATIONS: dict[SessionName, type[GraphInputs]] = {
    "audio_encoder": AudioInputs,
    "vision_encoder": VisionInputs,
    "flow": FlowInputs,
    "vocoder": VocoderInputs,
}


class TorchSession:
    """A module where the runtime expects an ONNX Runtime session of its graph.

    Args:
        module: in eval mode.
        inputs: the graph's names of what its forward takes, in that order.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[str]) -> None:
        self._module = module
        self._inputs = tuple(inputs)

    @torch.no_grad()
    def run(self, names: None, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """All outputs (`names` is None) for feeds by name."""
        values = [torch.tensor(feeds[name]) for name in self._inputs]
        return outputs_of(self._module, values)


class FullPrecision:
    """A checkpoint to compare with.

    Args:
        folder: of the checkpoint.

    Raises:
        BundleError: it is not one.
    """

    def __init__(self, folder: Path) -> None:
        self._checkpoint = Checkpoint(folder)

    def check(self, manifest: Manifest, bundle: Path) -> None:
        """Refuse a bundle of another model.

        Raises:
            BundleError: and says which size differs.
        """
        config = self._checkpoint.config
        theirs: dict[str, dict[str, Any]] = {
            "thinker": _shape(config.thinker),
            "talker": _shape(config.talker),
            "audio encoder": {"mels": config.audio.mels, "chunk_frames": 2 * config.audio.window},
            "vision encoder": {"patch": config.vision.patch, "merge": config.vision.merge},
            "flow": {"mel_bins": config.flow.mel_bins, "codes": config.flow.num_embeds + 1, "block": config.flow.block},
            "vocoder": {"hop": int(np.prod(config.vocoder.upsample_rates))},
        }
        sections = (manifest.thinker, manifest.talker, manifest.audio, manifest.vision, manifest.flow, manifest.vocoder)
        for (name, sizes), section in zip(theirs.items(), sections, strict=True):
            for key, value in sizes.items():
                own = getattr(section, key)
                if own != value:
                    raise BundleError(
                        f"{bundle} was not exported from {self._checkpoint.folder}: {key} of its {name} is {own}, not "
                        f"{value}. Name the checkpoint it was exported from"
                    )

    def session(self, name: SessionName) -> TorchSession:
        """Load a subnetwork that has no cache."""
        checkpoint = self._checkpoint
        match name:
            case "audio_encoder":
                module = audio_encoder(checkpoint)
            case "vision_encoder":
                module = vision_encoder(checkpoint)
            case "flow":
                module = flow(checkpoint)
            case "vocoder":
                module = reference_vocoder(checkpoint)
        return TorchSession(module, list(_DECLARATIONS[name](checkpoint.config).inputs))

    def logits(self, name: DecoderName, given: Sequence[Given], tick: Tick) -> Iterator[NDArray[np.float32]]:
        """Run whole sequences, all of them through one layer before the next one is read.

        Args:
            name: of the decoder.
            given: what it reads.
            tick: told which part of the layers is done, 0 to 1.

        Yields:
            For each sequence, what follows each of its wanted rows, [n, vocab].
        """
        config, names = decoder_of(self._checkpoint, name)
        kept: dict[str, Tensor] = {}

        def read(weight: str) -> Tensor:
            if weight not in kept:
                kept[weight] = self._checkpoint.tensor(weight)
            return kept[weight]

        reference = Reference(self._checkpoint, config, names, read)
        streams = [reference.project(torch.tensor(rows, dtype=torch.float32)) for rows, _, _ in given]
        places = [torch.tensor(positions) for _, positions, _ in given]
        for layer in range(config.layers):
            tick(layer / config.layers)
            kept.clear()
            streams = [reference.layer(layer, *each) for each in zip(streams, places, strict=True)]
        kept.clear()
        for stream, (_, _, wanted) in zip(streams, given, strict=True):
            yield reference.logits(reference.finish(stream[torch.tensor(wanted)])).numpy()

    def matrices(self, name: DecoderName, graph: Path) -> Iterator[MatrixError]:
        """What is left of each matrix of a decoder's graph, .onnx or .gguf (of which see `gguf_matrices`).

        Raises:
            MissingExtra: gguf is not installed, for a .gguf.
        """
        stored = graph_matrices(graph) if graph.suffix == ".onnx" else self._gguf_matrices(name, graph)
        for label, matrix in stored:
            error = relative_rms(self._beside(matrix, parts_of(label)))
            yield MatrixError(name=label, layer=layer_of(label), part=part_of(label), error=error)

    def _beside(
        self, matrix: Matrix, parts: Sequence[str]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Slabs of the checkpoint's tensors, one below the other, and of the matrix that was made of them."""
        above = 0
        for part in parts:
            count, inputs = self._checkpoint.shape(part)
            full = Matrix(count, inputs, partial(self._checkpoint.rows, part))
            for start, stop in full.slabs():
                yield full.rows(start, stop), matrix.rows(above + start, above + stop)
            above += count

    def _gguf_matrices(self, name: DecoderName, graph: Path) -> Iterator[tuple[str, Matrix]]:
        try:
            from .gguf_read_back import gguf_matrices
        except ModuleNotFoundError as error:
            raise MissingExtra("gguf", "llama", "compare GGUF graphs") from error
        return gguf_matrices(graph, *decoder_of(self._checkpoint, name))


def _shape(config: DecoderConfig) -> dict[str, Any]:
    """What of a decoder's config is in the manifest too."""
    return {key: value for key, value in asdict(config).items() if key in Decoder.__struct_fields__}
