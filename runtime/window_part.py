"""A part of the vocoder as one graph from rows to rows, run over windows.

Windows' values fit a core's cache: there an elementwise operator costs less than half of what it costs in memory. They
are independent of each other, so each core takes some, with one thread and without waiting for another at every
operator.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import ceil
from typing import Any

import numpy as np

from ..models.manifest import VocoderPart
from .vocoder_part import F32

FRAMES = 24
"""Mel frames' worth of a part's rows in a window, measured at the true shape; more where what is around a window, and
worked out twice, would be more than half of it."""


class WindowPart:
    """A part whose rows hang on `reach` rows on either side and on no more, so that windows which are run with so many
    around them give what one run over everything would.

    Args:
        session: of the graph, one thread.
        part: from the manifest.
        density: rows that go in for a mel frame.
        pool: runs windows side by side; None runs one after the other.
        threads: of the pool.
    """

    def __init__(
        self, session: Any, part: VocoderPart, density: int, pool: ThreadPoolExecutor | None, threads: int
    ) -> None:
        self._session = session
        self._rate, self.reach = part.rate, part.reach
        self.window = max(FRAMES * density, 4 * part.reach)
        self._pool, self._threads = pool, threads

    def begin(self) -> WindowStream:
        """See `Part`."""
        return WindowStream(self)

    def held(self, before: int) -> int:
        """See `Part`."""
        return (before + self.reach) * self._rate

    def run(self, rows: F32) -> F32:
        """[n, C] to [n·rate, C'] with nothing on either side, without windows."""
        return np.asarray(self._session.run(None, {"rows": rows[None]})[0])[0]

    def windows(self, rows: F32, first: int, stop: int) -> F32:
        """What becomes of rows first to stop, of which all are in `rows` that these hang on."""
        count = ceil((stop - first) / self.window)
        if self._pool is not None and (count > 1 or stop - first >= 2 * self.window // 3):
            count = ceil(count / self._threads) * self._threads
        size = ceil((stop - first) / count)
        bounds = [(start, min(start + size, stop)) for start in range(first, stop, size)]

        def made(bound: tuple[int, int]) -> F32:
            start, end = bound
            around = max(0, start - self.reach)
            out = self.run(rows[around : end + self.reach])
            return out[(start - around) * self._rate : (end - around) * self._rate]

        return np.concatenate([*(map(made, bounds) if self._pool is None else self._pool.map(made, bounds))])


class WindowStream:
    """One utterance.

    Args:
        part: to compute with.
    """

    def __init__(self, part: WindowPart) -> None:
        self._part = part
        self._kept: F32 | None = None
        self._done = 0  # of the rows that are kept

    def step(self, rows: F32, *, last: bool) -> F32:
        """See `PartStream`."""
        part = self._part
        kept = rows if self._kept is None else np.concatenate([self._kept, rows])
        first, stop = self._done, len(kept) - (0 if last else part.reach)
        if stop <= first:
            self._kept = kept
            return kept[:0]
        made = part.windows(kept, first, stop)
        forgotten = max(0, stop - part.reach)
        self._kept, self._done = kept[forgotten:], stop - forgotten
        return made
