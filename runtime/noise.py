"""The noise that the flow starts from."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

PAGE = 256
"""Frames drawn at a time."""


class Noise:
    """Standard normal frames, addressed by absolute index: chunks that overlap see the same noise.

    Any frame can be had at any time, and no more than a few pages are kept.

    Args:
        seed: any integer of 0 or more.
        bins: of the mel.
    """

    def __init__(self, seed: int, bins: int) -> None:
        def page(index: int) -> NDArray[np.float32]:
            return np.random.default_rng([seed, 0x0E, index]).standard_normal((PAGE, bins), np.float32)

        self._page = lru_cache(maxsize=4)(page)

    def frames(self, start: int, stop: int) -> NDArray[np.float32]:
        """Frames start..stop, [stop - start, bins]."""
        first = start // PAGE
        pages = [self._page(index) for index in range(first, max(first + 1, -(-stop // PAGE)))]
        return np.concatenate(pages)[start - first * PAGE : stop - first * PAGE]
