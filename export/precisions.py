"""How fine the weights of each subnetwork are kept: the names that `--precision` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.errors import RequestError
from ..models.manifest import SUBNETWORKS, EngineName, SubnetworkName
from ..quant.blocks import Scheme
from ..quant.matrices import Rounding
from .decoder import DecoderName
from .gguf import GGUF_KINDS


@dataclass(frozen=True)
class Precision:
    """One entry of the table."""

    name: str
    engine: EngineName
    rounding: Rounding | None = None
    """Of the matrices of an ONNX graph; None keeps floats. llama.cpp's own kinds go by their name alone."""
    prompt: Rounding | None = None
    """Of a decoder's second graph, which reads prompts; None leaves prompts to the first."""


MIXED = ("q_proj", "o_proj", "down_proj", "head")
"""Matrices of a decoder that its next token depends on most."""


def _onnx(name: str, bits: int, block: int, *, symmetric: bool = True) -> Precision:
    return Precision(name, "onnx", Rounding(Scheme(bits, block, symmetric)))


ONNX = (
    Precision("fp32", "onnx"),
    _onnx("int8", 8, 32),
    _onnx("int8-128", 8, 128),
    # What goes in is rounded too, and bytes are multiplied. For the flow and the vocoder, which take many rows at a
    # time where the decoders take one; the flow's narrow projections in and out are half of its error and none of the
    # time. The vocoder takes two bytes (vocoder_rounding.py).
    Precision("int8-dynamic", "onnx", Rounding(Scheme(8), finer=("input_embed", "proj_out"), dynamic=True)),
    _onnx("int4", 4, 32),
    _onnx("int4-128", 4, 128),
    _onnx("int4-asym", 4, 32, symmetric=False),
    _onnx("int4-asym-128", 4, 128, symmetric=False),
    # What a decoder's next token depends on most, in eight bits (see the README's table). Next to four bits, scales of
    # blocks of 32 are a quarter of what a step reads; of 64, and 128 where steps are fine, it takes three quarters of
    # the time at the talker's true shape.
    Precision("int4-mixed", "onnx", Rounding(Scheme(4, 64), MIXED, Scheme(8, 128))),
    # One row wants few bytes of weights, many rows want products of bytes: a graph for each. The second stays in its
    # file, of which the system keeps in memory what it has room for.
    Precision("int4-128+int8", "onnx", Rounding(Scheme(4, 128)), Rounding(Scheme(8), dynamic=True, by_row=True)),
)
DECODERS: tuple[DecoderName, ...] = ("thinker", "talker")
BY_NAME = {precision.name: precision for precision in (*ONNX, *(Precision(kind, "llama") for kind in GGUF_KINDS))}
RECIPES: dict[str, dict[SubnetworkName, str]] = {
    "int8": {**dict.fromkeys(SUBNETWORKS, "int8"), "flow": "int8-dynamic", "vocoder": "int8-dynamic"},
    # The thinker is most of the size; the talker draws from thousands of codes that lie close together; the flow and
    # the vocoder are small, and what rounding does to them is heard.
    "int4": {
        "audio_encoder": "int4",
        "vision_encoder": "int4",
        "thinker": "int4-128",
        "talker": "int4-mixed",
        "flow": "int8-dynamic",
        "vocoder": "int8-dynamic",
    },
}
"""What a kind means when it is asked for all subnetworks; others mean themselves."""
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
        _precision(kind)
        for name in _subnetworks(place):
            precision = _precision(kind if place else RECIPES.get(kind.lower(), {}).get(name, kind))
            if precision.engine == "llama" and name not in DECODERS:
                if place:
                    raise RequestError(
                        f"{name} has no graph of kind {kind}: llama.cpp runs the thinker and the talker only; "
                        f"use {name}=int8 or {name}=int4"
                    )
                chosen[name] = chosen[name] or (_precision(RECIPES["int8"].get(name, "int8")),)
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
    if place not in SUBNETWORKS:
        raise RequestError(f"{place!r} is no subnetwork; use one of {', '.join(SUBNETWORKS)}")
    return (place,)
