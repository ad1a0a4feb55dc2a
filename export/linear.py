"""The layer that all of an encoder's or the flow's matrices are: its weight stays in the checkpoint until it is used.

A 3B's encoders hold five gigabytes of floats. Traced, a layer leaves one omni_edge::Linear node whose weight is a
stand-in; run, to validate a graph against, it reads its weight, multiplies and lets go of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..quant.matrices import DOMAIN, OPERATOR, Matrix
from .checkpoint import Checkpoint, load_weights


@dataclass(frozen=True)
class Source:
    """A tensor of the checkpoint, or one made of it, that is not read yet."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]
    """As float32."""


Sources = dict[str, Source]


class Linear(nn.Module):
    """x [..., inputs] -> [..., outputs], as torch's layer of this name."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        self.source: Source | None = None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if torch.compiler.is_exporting():
            inputs = [self.weight] if self.bias is None else [self.weight, self.bias]
            shape = [*x.shape[:-1], self.weight.shape[0]]
            name = f"{DOMAIN}::{OPERATOR}"
            return torch.onnx.ops.symbolic(name, [x, *inputs], dtype=x.dtype, shape=shape, version=1)
        assert self.source is not None
        return F.linear(x, self.source.read(), self.bias)


def sources(checkpoint: Checkpoint, prefix: str, *, without: tuple[str, ...] = ()) -> Sources:
    """All tensors whose names start with `prefix`, the prefix cut off.

    Args:
        checkpoint: to read from.
        prefix: of the wanted names.
        without: parts of names that are not wanted.

    Raises:
        BundleError: there is no such tensor.
    """
    names = checkpoint.names(prefix, without=without)
    return {name.removeprefix(prefix): stored(checkpoint, name) for name in names}


def stored(checkpoint: Checkpoint, name: str) -> Source:
    """One tensor as it is in the checkpoint."""
    return Source(checkpoint.shape(name), lambda: checkpoint.tensor(name))


def changed(source: Source, change: Callable[[Tensor], Tensor]) -> Source:
    """A source whose tensor is changed when it is read."""
    return Source(tuple(change(torch.empty(source.shape, device="meta")).shape), lambda: change(source.read()))


def attach(module: nn.Module, given: Sources, checkpoint: Checkpoint) -> None:
    """Give a module built on the meta device its weights: those of `Linear` layers when used, all others now.

    Raises:
        BundleError: a tensor is missing, unknown or of another shape than config.json implies.
    """
    layers = {f"{name}.weight": layer for name, layer in module.named_modules() if isinstance(layer, Linear)}
    # Each stand-in is another number: the tracer makes one initialiser of equal ones.
    state = {
        name: torch.tensor(float(index)).expand(source.shape) if name in layers else source.read()
        for index, (name, source) in enumerate(given.items())
    }
    load_weights(module, state, checkpoint)
    for name, layer in layers.items():
        layer.source = given[name]


def matrices(module: nn.Module) -> dict[str, Matrix]:
    """The matrices of a module's `Linear` layers by the names that their initialisers get."""
    found = {}
    for name, layer in module.named_modules():
        if isinstance(layer, Linear):
            source = layer.source
            assert source is not None
            found[f"{name}.weight"] = Matrix(source.shape[0], source.shape[1], _rows(source))
    return found


def _rows(source: Source) -> Callable[[int, int], NDArray[np.float32]]:
    return lambda start, stop: source.read()[start:stop].numpy()
