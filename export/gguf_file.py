"""A GGUF file written tensor by tensor, a slab of rows at a time: no tensor is ever whole in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from gguf.quants import quant_shape_to_byte_shape

from ..models.errors import BundleError
from .checkpoint import Checkpoint
from .graphs import Tick

SLAB = 64 << 20
"""Bytes of f32 read at once."""
F32, F16, BF16 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.BF16


class Content(Protocol):
    """Where a tensor's values come from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in numpy's order; GGUF writes it reversed."""
        ...

    def slabs(self) -> Iterator[np.ndarray]:
        """Its values as f32, in stretches of the first axis."""
        ...


@dataclass(frozen=True)
class Stored:
    """A tensor of the checkpoint as it is."""

    checkpoint: Checkpoint
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """See Content."""
        return self.checkpoint.shape(self.name)

    def slabs(self) -> Iterator[np.ndarray]:
        """See Content."""
        step = max(1, SLAB // (4 * int(np.prod(self.shape[1:]))))
        for start in range(0, self.shape[0], step):
            yield self.checkpoint.rows(self.name, start, start + step)


@dataclass(frozen=True, eq=False)
class Made:
    """Values that fit memory easily."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """See Content."""
        return self.values.shape

    def slabs(self) -> Iterator[np.ndarray]:
        """See Content."""
        yield self.values


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the file."""

    name: str
    content: Content
    type: GGMLQuantizationType

    @property
    def nbytes(self) -> int:
        """In the file."""
        return int(np.prod(quant_shape_to_byte_shape(self.content.shape, self.type)))

    def tofile(self, file: IO[bytes]) -> None:
        """Write the values; with `nbytes` all that GGUFWriter asks of an array."""
        for slab in self.content.slabs():
            # What does not fit half precision would turn into infinities without a word.
            with np.errstate(over="ignore"):
                values = quantize(np.ascontiguousarray(slab, np.float32), self.type)
            if self.type != BF16 and not np.isfinite(values).all():
                raise BundleError(f"{self.name} has values that {self.type.name.lower()} cannot hold; export it as f32")
            file.write(values.tobytes())


def write_file(writer: GGUFWriter, path: Path, tensors: Sequence[Tensor], tick: Tick) -> None:
    """Write header and metadata of the writer, then the tensors in order."""
    for tensor in tensors:
        writer.add_tensor_info(tensor.name, tensor.content.shape, np.dtype(np.float32), tensor.nbytes, tensor.type)
    writer.write_header_to_file(path)
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total, done = sum(tensor.nbytes for tensor in tensors), 0
    try:
        for tensor in tensors:
            streamed: Any = tensor
            writer.write_tensor_data(streamed)
            done += tensor.nbytes
            tick(done / total)
    finally:
        writer.close()
