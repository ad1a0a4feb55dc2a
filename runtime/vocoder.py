"""Mel to samples (FACTS §6.3), a chunk at a time.

The network is cut into parts, one an upsampling, and each part's signal into windows whose values fit a core's cache:
there an elementwise operator costs less than half of what it costs in memory. Windows are independent of each other,
so each core takes some, with one thread and without waiting for another at every operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import VocoderPart

WINDOW = 96
"""Most mel frames that a step is given at a time: what it makes is heard before the rest is."""
FRAMES = 24
"""Mel frames' worth of a part's rows in a window, measured at the true shape; more where what is around a window, and
worked out twice, would be more than half of it."""


class Vocoder:
    """Turns mels into samples.

    Args:
        sessions: of the parts in order, one thread each.
        parts: from the manifest, one a session.
        threads: that windows are spread over.
    """

    def __init__(self, sessions: Sequence[Any], parts: Sequence[VocoderPart], threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, "vocoder") if threads > 1 else None
        self._threads = threads
        density, self.parts = 1, []
        for session, part in zip(sessions, parts, strict=True):
            self.parts.append(_Part(session, part.rate, part.reach, max(FRAMES * density, 4 * part.reach)))
            density *= part.rate

    def begin(self) -> VocoderStream:
        """Start an utterance."""
        return VocoderStream(self)

    def samples(self, mel: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Sound of a whole mel [T, bins], natural logarithm, in pieces [n] f32 that are T·hop together."""
        stream = self.begin()
        for start in range(0, len(mel), WINDOW):
            sound = stream.step(mel[start : start + WINDOW], last=start + WINDOW >= len(mel))
            if sound.size:
                yield sound

    def run(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [n·hop] of a mel [n, bins] with nothing on either side, without windows."""
        rows = mel
        for part in self.parts:
            rows = part.run(rows)
        return rows.reshape(-1)

    def windows(self, part: _Part, rows: NDArray[np.float32], first: int, stop: int) -> NDArray[np.float32]:
        """What a part makes of rows first to stop, of which all are in `rows` that these hang on."""
        count = ceil((stop - first) / part.window)
        if self._pool is not None and (count > 1 or stop - first >= 2 * part.window // 3):
            count = ceil(count / self._threads) * self._threads
        size = ceil((stop - first) / count)
        bounds = [(start, min(start + size, stop)) for start in range(first, stop, size)]

        def made(bound: tuple[int, int]) -> NDArray[np.float32]:
            start, end = bound
            around = max(0, start - part.reach)
            out = part.run(rows[around : end + part.reach])
            return out[(start - around) * part.rate : (end - around) * part.rate]

        return np.concatenate([*(map(made, bounds) if self._pool is None else self._pool.map(made, bounds))])


@dataclass(frozen=True)
class _Part:
    """`rate` rows come out for one that goes in, and hang on `reach` rows on either side of it."""

    session: Any
    rate: int
    reach: int
    window: int
    """Rows that go in at a time, besides those around them."""

    def run(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """[n, C] to [n·rate, C']."""
        return np.asarray(self.session.run(None, {"rows": rows[None]})[0])[0]


class VocoderStream:
    """One utterance. What a part makes hangs on `reach` rows on either side and on no more, so windows that are run
    with so many around them give what one run over everything would.

    Args:
        vocoder: to compute with.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._kept: list[NDArray[np.float32] | None] = [None] * len(self._vocoder.parts)
        self._done = [0] * len(self._vocoder.parts)  # of the rows that are kept

    def step(self, mel: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Take more mel, and speak what can be.

        Args:
            mel: [n, bins], natural logarithm, any number.
            last: the utterance ends with them.

        Returns:
            [m·hop] f32 in [-1, 1]: of all frames that have what they hang on behind them; at the end, all there are.
        """
        rows = mel
        for index in range(len(self._kept)):
            made = self._advance(index, rows, last)
            if made is None:
                return np.empty(0, np.float32)
            rows = made
        return rows.reshape(-1)

    def _advance(self, index: int, rows: NDArray[np.float32], last: bool) -> NDArray[np.float32] | None:
        part, kept = self._vocoder.parts[index], self._kept[index]
        kept = rows if kept is None else np.concatenate([kept, rows])
        first, stop = self._done[index], len(kept) - (0 if last else part.reach)
        if stop <= first:
            self._kept[index] = kept
            return None
        made = self._vocoder.windows(part, kept, first, stop)
        forgotten = max(0, stop - part.reach)
        self._kept[index], self._done[index] = kept[forgotten:], stop - forgotten
        return made
