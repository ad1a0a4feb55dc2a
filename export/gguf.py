"""Thinker and talker of a checkpoint as GGUF for llama.cpp, in any type its quantiser offers.

f32, f16 and bf16 are written directly. The others are made from an f16 file in the same folder, which is removed
afterwards; so the disk has to hold both for a while. Memory holds a slab of one tensor, whatever the model's size;
llama.cpp's quantiser maps the f16 file, whose pages the system takes back when it needs them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..models.errors import BundleError
from ..models.llama import llama_library
from .checkpoint import Checkpoint
from .decoder import DecoderName, decoder_of
from .gguf_check import check_decoder_file
from .gguf_decoder import FILE_TYPES, check_decoder, projection, write_decoder
from .gguf_quantise import FTYPES, NEED_IMPORTANCE, Importance, quantise
from .graphs import Tick

GGUF_KINDS: tuple[str, ...] = (*FILE_TYPES, *FTYPES)
"""Precisions a GGUF can have, finest first."""
_WRITTEN = 0.6
"""Part of the work that writing the f16 file is, when it is then quantised."""


def write_gguf(
    checkpoint: Checkpoint,
    name: DecoderName,
    folder: Path,
    kind: str,
    tick: Tick,
    importance: Importance | None = None,
) -> tuple[str, ...]:
    """Write one decoder, and check it against the checkpoint.

    Args:
        checkpoint: weights.
        name: "thinker" or "talker".
        folder: gets NAME.gguf; for the talker also talker.projection.npz (see gguf_decoder): weight [hidden, rows],
            bias [hidden], f32.
        kind: one of GGUF_KINDS.
        tick: told how far the writing is.
        importance: an importance matrix for quantising (importance.py, `read_importance`).

    Returns:
        Names of the files written, the graph first.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        BundleError: no such kind, one that needs an importance matrix, a decoder that GGUF cannot carry, or a file
            that does not compute what the checkpoint does.
    """
    check_gguf(checkpoint, name, kind, has_importance=bool(importance))
    llama_library("make GGUF graphs")
    path = folder / f"{name}.gguf"
    if kind in FILE_TYPES:
        write_decoder(checkpoint, name, path, kind, tick)
    else:
        whole = folder / f"{name}.f16.gguf"
        try:
            write_decoder(checkpoint, name, whole, "f16", _scaled(tick, _WRITTEN))
            quantise(whole, path, kind, importance)
        finally:
            whole.unlink(missing_ok=True)
    files = (path.name, *_write_projection(checkpoint, name, folder))
    error = check_decoder_file(checkpoint, name, path, kind)
    logging.getLogger(__name__).info("%s in %s: differs from the checkpoint by %.2g", path.name, kind, error)
    tick(1.0)
    return files


def check_gguf(checkpoint: Checkpoint, name: DecoderName, kind: str, *, has_importance: bool = False) -> None:
    """Refuse, before anything is written, what `write_gguf` cannot do.

    Raises:
        BundleError: no such kind, one that needs an importance matrix, or a decoder that GGUF cannot carry.
    """
    if kind not in GGUF_KINDS:
        raise BundleError(f"there is no GGUF precision {kind}; take one of {', '.join(GGUF_KINDS)}")
    if kind in NEED_IMPORTANCE and not has_importance:
        raise BundleError(f"{kind} needs an importance matrix; add --calibration built-in, or take q2_k or larger")
    check_decoder(decoder_of(checkpoint, name)[0], name)


def _write_projection(checkpoint: Checkpoint, name: DecoderName, folder: Path) -> tuple[str, ...]:
    prefix = decoder_of(checkpoint, name)[1].projection
    if prefix is None:
        return ()
    weight, bias = projection(checkpoint, prefix)
    file = f"{name}.projection.npz"
    np.savez(folder / file, weight=weight, bias=bias)
    return (file,)


def _scaled(tick: Tick, part: float) -> Callable[[float], None]:
    return lambda done: tick(done * part)
