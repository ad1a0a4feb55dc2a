"""Embedding tables in eight bits, as .npy files whose rows can be read one at a time from the mapped file.

A row is a record of signed steps and of the scales of their blocks; value = step · scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Values that share a scale, or the largest divisor of the width below it."""
SLAB_BYTES = 64 << 20


def row_type(width: int) -> np.dtype[np.void]:
    """The record of a row of `width` values."""
    return np.dtype([("scales", "<f2", (width // math.gcd(width, BLOCK),)), ("steps", "i1", (width,))])


def round_rows(rows: NDArray[np.float32]) -> NDArray[np.void]:
    """[n, width] -> n records, each value rounded to the nearest step."""
    width = rows.shape[1]
    block = math.gcd(width, BLOCK)
    blocks = rows.reshape(len(rows), -1, block)
    # The stored scale is what steps are counted in: rounding it first costs nothing.
    scales = (np.maximum(np.abs(blocks).max(2), 1e-4) / 127).astype(np.float16)
    steps = np.clip(np.rint(blocks / scales[:, :, None].astype(np.float32)), -127, 127)
    records = np.empty(len(rows), row_type(width))
    records["scales"], records["steps"] = scales, steps.reshape(len(rows), width)
    return records


def write_table(
    path: Path, shape: tuple[int, int], rows: Callable[[int, int], NDArray[np.float32]], *, rounded: bool
) -> None:
    """Write a table [count, width], a slab of rows at a time.

    Not through a memory map: a disk that fills up under one ends the process instead of raising an error.

    Args:
        path: the .npy file.
        shape: count and width.
        rows: reads rows start..stop.
        rounded: eight bits with scales, or float32.
    """
    count, width = shape
    dtype = row_type(width) if rounded else np.dtype("<f4")
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": (count,) if rounded else shape,
    }
    step = max(1, SLAB_BYTES // (4 * width))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, step):
            slab = rows(start, min(start + step, count))
            file.write((round_rows(slab) if rounded else slab.astype("<f4", copy=False)).tobytes())
