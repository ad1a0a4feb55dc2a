"""How fine the weights of each subnetwork are kept: the names that `--precision` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.errors import RequestError
from ..models.manifest import SUBNETWORKS, EngineName, SubnetworkName
from ..quant.blocks import Scheme
from .gguf import GGUF_KINDS


@dataclass(frozen=True)
class Precision:
    """One entry of the table."""

    name: str
    engine: EngineName
    scheme: Scheme | None = None
    """Of the matrices of an ONNX graph; None keeps floats. llama.cpp's own kinds go by their name alone."""


ONNX = (
    Precision("fp32", "onnx"),
    Precision("int8", "onnx", Scheme(8, 32)),
    Precision("int8-128", "onnx", Scheme(8, 128)),
    Precision("int4", "onnx", Scheme(4, 32)),
    Precision("int4-128", "onnx", Scheme(4, 128)),
    Precision("int4-asym", "onnx", Scheme(4, 32, symmetric=False)),
    Precision("int4-asym-128", "onnx", Scheme(4, 128, symmetric=False)),
)
DECODERS: tuple[SubnetworkName, ...] = ("thinker", "talker")
BY_NAME = {precision.name: precision for precision in (*ONNX, *(Precision(kind, "llama") for kind in GGUF_KINDS))}
Choice = dict[SubnetworkName, tuple[Precision, ...]]
"""For each subnetwork one precision an engine, the preferred one first."""


def choose(wishes: Sequence[str]) -> Choice:
    """Read `--precision` as often as it was given.

    Args:
        wishes: KIND for all subnetworks, or SUBNETWORK=KIND for one. A later one replaces an earlier one of the same
            engine; one of another engine is kept beside it, so that a bundle may hold both.

    Raises:
        RequestError: a name that is none, or a kind that the subnetwork cannot have.
    """
    chosen: Choice = dict.fromkeys(SUBNETWORKS, ())
    for wish in wishes:
        place, _, kind = wish.rpartition("=")
        precision = _precision(kind)
        for name in _subnetworks(place):
            if precision.engine == "llama" and name not in DECODERS:
                if place:
                    raise RequestError(
                        f"{name} has no graph of kind {kind}: llama.cpp runs the thinker and the talker only; "
                        f"use {name}=int8 or {name}=int4"
                    )
                chosen[name] = chosen[name] or (BY_NAME["int8"],)
                continue
            kept = [other for other in chosen[name] if other.engine != precision.engine]
            chosen[name] = (*kept, precision)
    return {name: graphs or (BY_NAME["fp32"],) for name, graphs in chosen.items()}


def _precision(kind: str) -> Precision:
    if kind.lower() not in BY_NAME:
        raise RequestError(f"{kind!r} is no precision; use one of {', '.join(BY_NAME)}")
    return BY_NAME[kind.lower()]


def _subnetworks(place: str) -> Sequence[SubnetworkName]:
    if not place:
        return SUBNETWORKS
    found = [name for name in SUBNETWORKS if name == place]
    if not found:
        raise RequestError(f"{place!r} is no subnetwork; use one of {', '.join(SUBNETWORKS)}")
    return found
