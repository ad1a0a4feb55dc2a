"""A half-precision GGUF to a smaller one, by llama.cpp's own quantiser.

Each kind is a recipe of llama.cpp's: it decides tensor by tensor, keeps more bits where its authors found that to
matter, and where a row is not a multiple of a type's block (256 values for K-quants; 896, the 3B talker's width, is
none) it falls back to a type of blocks of 32 by itself.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader

from ..models.errors import BundleError
from ..models.llama import complaint, core_count, llama_library

BUFFER = 256 << 20
"""Bytes of rows the quantiser holds at once."""
FTYPES: dict[str, int] = {
    "q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q5_k_s": 16, "q5_1": 9, "q5_0": 8, "q4_k_m": 15, "q4_k_s": 14, "q4_1": 3,
    "q4_0": 2, "iq4_nl": 25, "iq4_xs": 30, "q3_k_l": 13, "q3_k_m": 12, "q3_k_s": 11, "iq3_m": 27, "iq3_s": 26,
    "iq3_xs": 22, "iq3_xxs": 23, "q2_k": 10, "q2_k_s": 21, "iq2_m": 29, "iq2_s": 28, "iq2_xs": 20, "iq2_xxs": 19,
    "iq1_m": 31, "iq1_s": 24, "tq2_0": 37, "tq1_0": 36, "q2_0": 41, "q1_0": 40,
}  # fmt: skip
"""Kind -> llama_ftype, as llama.cpp's header numbers them; its kind for mixtures of experts (mxfp4_moe) is left out."""
NEED_IMPORTANCE = frozenset({"iq3_xs", "iq3_xxs", "q2_k_s", "iq2_m", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"})
"""Kinds that llama.cpp makes with an importance matrix only."""
TAKE_IMPORTANCE = frozenset(FTYPES) - {"q8_0"}
"""Kinds that come out differently with an importance matrix."""

Importance = Mapping[str, np.ndarray]
"""llama.cpp's name of a matrix -> f32 [columns], the mean square of each of its inputs."""


def quantise(source: Path, target: Path, kind: str, importance: Importance | None = None) -> None:
    """Write `target` from `source`.

    Args:
        source: a GGUF in f16 or f32.
        target: the new file.
        kind: one of FTYPES.
        importance: weighs errors by what a column is multiplied with; None weighs all columns alike.

    Raises:
        MissingExtra: llama-cpp-python is not installed.
        BundleError: llama.cpp fails.
    """
    library = llama_library("quantise GGUF graphs")
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = FTYPES[kind]
    parameters.nthread = core_count()
    parameters.max_buf_size = BUFFER
    if importance:
        parameters.imatrix = _as_array(library, importance)
    if library.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(parameters)):
        raise BundleError(f"llama.cpp cannot quantise {source.name} to {kind}: {complaint()}")


def read_importance(path: Path) -> dict[str, np.ndarray]:
    """An importance matrix in GGUF, as llama-imatrix writes it.

    Raises:
        BundleError: another file.
    """
    try:
        reader = GGUFReader(path)
    except (OSError, ValueError, IndexError) as error:
        raise BundleError(f"{path} cannot be read as GGUF: {error}; give the file that llama-imatrix wrote") from error
    values = {tensor.name: np.array(tensor.data, np.float32) for tensor in reader.tensors}
    sums = {name.removesuffix(".in_sum2"): data for name, data in values.items() if name.endswith(".in_sum2")}
    if not sums or any(f"{name}.counts" not in values for name in sums):
        raise BundleError(f"{path} is not an importance matrix; give the file that llama-imatrix wrote")
    return {
        name: data.reshape(-1) / np.maximum(values[f"{name}.counts"].reshape(-1)[0], 1) for name, data in sums.items()
    }


def _as_array(library: Any, importance: Importance) -> Any:
    """llama.cpp's array of (name, data, size); an entry without a name ends it."""
    entries = (library.llama_model_imatrix_data * (len(importance) + 1))()
    for entry, (name, values) in zip(entries, importance.items(), strict=False):
        data = (ctypes.c_float * values.size)(*values.tolist())
        entry.name, entry.data, entry.size = name.encode(), ctypes.cast(data, ctypes.POINTER(ctypes.c_float)), len(data)
    return entries
