"""A part of the vocoder as products of bytes and compiled activations, of rows as they come.

Each layer keeps what it needs of the rows that were, so nothing is worked out twice, and speech in pieces is to the
last bit what it is in one. The residual blocks of a part lie side by side: each has a thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .byte_layer import LastLayer, Layer, Products
from .vocoder_part import F32

PIECE = 1 << 18
"""Values of a signal that go through the layers at a time: what they are on the way fits a core's cache."""


class BytePart:
    """A part.

    Args:
        session: of its graph, one thread.
        rate: rows that come out for one that goes in.
        dilations: of the residual blocks, from the manifest.
        pool: for the blocks; None runs one after the other.
    """

    def __init__(
        self, session: Any, rate: int, dilations: tuple[tuple[int, ...], ...], pool: ThreadPoolExecutor | None
    ) -> None:
        products = Products(session)
        self.limits = products.tables.get("mel.limits")
        self.pre = [Layer(products, "pre")] if "pre" in products.widths else []
        self.up = Layer(products, "up")
        self.post = [LastLayer(products, "post")] if "post.weight" in products.tables else []
        blocks = [
            [
                (Layer(products, f"{block}.{step}.0", dilation), Layer(products, f"{block}.{step}.1"))
                for step, dilation in enumerate(steps)
            ]
            for block, steps in enumerate(dilations)
        ]
        # The longest first: what is shorter fills up the others' threads.
        self.blocks = sorted(blocks, key=lambda block: -block[0][0].width)
        self.rate, self.pool = rate, pool

    def begin(self) -> BytePartStream:
        """See `Part`."""
        return BytePartStream(self)

    def held(self, before: int) -> int:
        """See `Part`."""
        inside = max(sum(first.reach + second.reach for first, second in block) for block in self.blocks)
        before += sum(layer.reach for layer in (*self.pre, self.up))
        return before * self.rate + inside + sum(layer.reach for layer in self.post)


class BytePartStream:
    """One utterance.

    Args:
        part: to compute with.
    """

    def __init__(self, part: BytePart) -> None:
        self._part = part
        self._before = [layer.begin() for layer in (*part.pre, part.up)]
        self._blocks = [_BlockStream(block) for block in part.blocks]
        self._channels = part.blocks[0][0][0].channels
        self._made = [np.empty((0, self._channels), np.float32) for _ in part.blocks]
        """What the blocks gave and is not in their mean yet: one that reaches farther is behind."""
        self._after = [layer.begin() for layer in part.post]

    def step(self, rows: F32, *, last: bool) -> F32:
        """See `PartStream`."""
        part = self._part
        if part.limits is not None:
            rows = np.clip(rows, *part.limits)
        for layer in self._before:
            rows = layer.step(rows, last=last)
        rows = self._mean(rows.reshape(-1, self._channels), last)
        for layer in self._after:
            rows = np.clip(layer.step(rows, last=last), -1, 1)
        return rows

    def _mean(self, rows: F32, last: bool) -> F32:
        """Of the residual blocks."""
        run = map if self._part.pool is None else self._part.pool.map
        new = run(lambda block: block.step(rows, last=last), self._blocks)
        made = [np.concatenate(pair) for pair in zip(self._made, new, strict=True)]
        count = min(len(each) for each in made)
        self._made = [each[count:].copy() for each in made]
        total = made[0][:count]
        for each in made[1:]:
            total += each[:count]
        total /= np.float32(len(made))
        return total


class _BlockStream:
    """One utterance in one residual block, whose steps add to what goes into them."""

    def __init__(self, block: list[tuple[Layer, Layer]]) -> None:
        self._steps = [(first.begin(), second.begin()) for first, second in block]
        self._channels = block[0][0].channels
        self._waiting = [np.empty((0, self._channels), np.float32) for _ in block]
        """Rows to which a step has not added yet."""

    def step(self, rows: F32, *, last: bool) -> F32:
        """See `PartStream`."""
        size = max(1, PIECE // self._channels)
        starts = range(0, max(1, len(rows)), size)
        made = [self._piece(rows[start : start + size], last and start + size >= len(rows)) for start in starts]
        return made[0] if len(made) == 1 else np.concatenate(made)

    def _piece(self, rows: F32, last: bool) -> F32:
        for index, (first, second) in enumerate(self._steps):
            made, waiting = second.step(first.step(rows, last=last), last=last), self._waiting[index]
            count = min(len(made), len(waiting))
            made[:count] += waiting[:count]
            made[count:] += rows[: len(made) - count]
            self._waiting[index] = np.concatenate([waiting[count:], rows[len(made) - count :]])
            rows = made
        return rows
