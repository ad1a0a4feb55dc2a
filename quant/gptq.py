"""Rounding that corrects itself: GPTQ (Frantar et al. 2023, https://arxiv.org/abs/2210.17323, algorithm 1).

Weights are rounded input by input; what rounding one of them changes of the outputs, over the inputs seen in
calibration, is made good by the weights not rounded yet. With X the inputs, H = X'X says how they go together; with U
the upper Cholesky factor of H's inverse, an error e at input j is spread over the later inputs as -e · U[j, later] /
U[j, j].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .blocks import Blocks, Scheme, assemble, grid, joined
from .matrices import Matrix

DAMPING = 0.01
"""Of the mean of H's diagonal, added to it."""
SMALLEST_HALF = 64
"""Inputs whose products are factored as they are."""
SHRINKS = (1.0, 0.95, 0.9, 0.85, 0.8)
"""Parts of a block's reach that are tried: a finer grid may be worth cutting its farthest weight."""
F32 = NDArray[np.float32]


def spreading(products: F32) -> F32:
    """U of the inputs' products H [K, K], damped so that it exists. It takes H's place in memory.

    Factored backwards, H = R R' with R upper; then the inverse of H is (R⁻¹)' R⁻¹, and R⁻¹ is U.
    """
    diagonal = np.diagonal(products).copy()
    # Inputs that were never anything but zero tell nothing; one of its own keeps H invertible.
    diagonal[diagonal == 0] = max(float(diagonal.mean()), 1e-6)
    np.fill_diagonal(products, diagonal + DAMPING * diagonal.mean())
    _spread(products)
    return products


def _spread(h: F32) -> None:
    """H to U in place, by halves: with R's corner R₁₂ = H₁₂ U₂₂', U₂₂ being what the last half of H comes to, the first
    half is left with H₁₁ - R₁₂ R₁₂', and U's own corner is -U₁₁ R₁₂ U₂₂.

    numpy's Cholesky factor would take five times H's size more, for it works in double precision on copies.
    """
    size = len(h)
    if size <= SMALLEST_HALF:
        h[:] = np.triu(np.linalg.inv(np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1]))
        return
    half = size // 2
    first, corner, last = h[:half, :half], h[:half, half:], h[half:, half:]
    _spread(last)
    corner[:] = corner @ last.T
    first -= corner @ corner.T
    _spread(first)
    corner[:] = first @ corner
    corner[:] = corner @ last
    np.negative(corner, out=corner)
    h[half:, :half] = 0


def round_columns(block: F32, spread: F32, scale: F32, limits: tuple[F32 | float, F32 | float]) -> tuple[F32, F32]:
    """Round input by input, what is left to the inputs after it.

    Args:
        block: weights [N, w]; the errors of earlier columns are in them already.
        spread: U of these inputs [w, w].
        scale: [N], of a step.
        limits: least and largest step, numbers or [N].

    Returns:
        Steps [N, w], whole numbers, and errors [N, w] to be spread over inputs beyond the block.
    """
    left = block.copy()
    steps, errors = np.empty_like(block), np.empty_like(block)
    for place in range(block.shape[1]):
        column = left[:, place]
        steps[:, place] = np.clip(np.rint(column / scale), *limits)
        errors[:, place] = (column - steps[:, place] * scale) / spread[place, place]
        left[:, place + 1 :] -= np.outer(errors[:, place], spread[place, place + 1 :])
    return steps, errors


class Corrector:
    """Rounds the matrices that are multiplied with the same inputs.

    Args:
        products: H [K, K], the sum of the inputs' outer products; changed in place.
        scheme: of the blocks.
    """

    def __init__(self, products: F32, scheme: Scheme) -> None:
        inputs = len(products)
        self._scheme = scheme
        self._importance = np.pad(np.diagonal(products), (0, -inputs % scheme.block)).astype(np.float32) + 1e-12
        self._spread = spreading(products)

    def pack(self, matrix: Matrix) -> Blocks:
        """Round a matrix [N, K], a slab of outputs at a time: outputs know nothing of each other."""
        return joined([self._slab(matrix.rows(start, stop)) for start, stop in matrix.slabs()])

    def _slab(self, rows: F32) -> Blocks:
        scheme, spread = self._scheme, self._spread
        outputs, inputs = rows.shape
        left = rows.copy()
        stored, scales, zeros = [], [], []
        for start in range(0, inputs, scheme.block):
            stop = min(start + scheme.block, inputs)
            width = stop - start
            block = np.pad(left[:, start:stop], ((0, 0), (0, scheme.block - width)))
            scale, zero = self._grid(block, self._importance[start : start + scheme.block])
            steps = np.full((outputs, scheme.block), zero[:, None], np.float32)
            steps[:, :width], errors = round_columns(
                block[:, :width], spread[start:stop, start:stop], scale, (-zero, scheme.top - zero)
            )
            steps[:, :width] += zero[:, None]
            left[:, stop:] -= errors @ spread[start:stop, stop:]
            stored.append(steps.astype(np.uint8))
            scales.append(scale)
            zeros.append(zero)
        return assemble(np.stack(stored, 1), np.stack(scales, 1), np.stack(zeros, 1), scheme, inputs)

    def _grid(self, block: F32, importance: F32) -> tuple[F32, F32]:
        """The best of the shrunken grids for weights [N, block], by the error weighted with the inputs' power."""
        widest, zero = grid(block, self._scheme)
        best, least = widest, np.full(len(block), np.inf, np.float32)
        for shrink in SHRINKS:
            scale = widest * np.float32(shrink)
            steps = np.clip(np.rint(block / scale[:, None]) + zero[:, None], 0, self._scheme.top)
            error = (np.square(block - (steps - zero[:, None]) * scale[:, None]) * importance).sum(1)
            best, least = np.where(error < least, scale, best), np.minimum(error, least)
        return best.astype(np.float32), zero
