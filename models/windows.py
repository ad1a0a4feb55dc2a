"""Which patches see each other in the vision encoder: shared by the runtime and the exporter's validation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WindowLayout:
    """Index tables for one picture or clip of N patches; all i64 (FACTS §4.4).

    A unit is a merge × merge square of patches, contiguous in the patch list; units become rows of the thinker.
    """

    order: np.ndarray
    """[N] patch list position of each patch in window order."""
    places: np.ndarray
    """[N, 2] row and column, in patches, of each patch of the window order."""
    windows: np.ndarray
    """[w, W] window-order positions of the patches of each window; short windows repeat their first."""
    window_sizes: np.ndarray
    """[w] patches in each window."""
    window_slots: np.ndarray
    """[N] place of each patch in the flattened `windows`."""
    frames: np.ndarray
    """[t, P] window-order positions of the patches of each frame."""
    units: np.ndarray
    """[N / merge²] window-order position of each unit, to bring output rows back to raster order."""


def window_layout(grid: tuple[int, int, int], merge: int, window: int) -> WindowLayout:
    """Lay the patches of a grid out in attention windows.

    Args:
        grid: frames, rows, columns, in patches; rows and columns are multiples of `merge`.
        merge: side of a unit in patches.
        window: side of a window in units; windows at the right and bottom edges are smaller.
    """
    frames, rows, columns = grid[0], grid[1] // merge, grid[2] // merge
    index = np.arange(frames * rows * columns).reshape(frames, rows, columns)
    index = np.pad(index, ((0, 0), (0, -rows % window), (0, -columns % window)), constant_values=-1)
    tiles = index.reshape(frames, index.shape[1] // window, window, index.shape[2] // window, window)
    tiles = tiles.transpose(0, 1, 3, 2, 4).reshape(-1, window * window)
    units = tiles[tiles >= 0]
    square = merge * merge
    sizes = (tiles >= 0).sum(axis=1) * square
    starts = np.cumsum(sizes) - sizes
    inside = np.arange(sizes.max())
    taken = inside < sizes[:, None]
    windows = np.where(taken, starts[:, None] + inside, starts[:, None])
    within = np.arange(square)
    corner = np.stack([units // columns % rows, units % columns], axis=1) * merge
    places = corner[:, None, :] + np.stack([within // merge, within % merge], axis=1)
    count = units.size * square
    return WindowLayout(
        order=(units[:, None] * square + within).reshape(-1),
        places=places.reshape(-1, 2),
        windows=windows,
        window_sizes=sizes,
        window_slots=np.flatnonzero(taken),
        frames=np.arange(count).reshape(frames, -1),
        units=np.argsort(units),
    )
