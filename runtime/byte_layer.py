"""One convolution of the vocoder in bytes, and the activation before it, of rows as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .snake import AROUND, MIDDLE, REACH, STEPS, activate, activate_floats, convolve, join, unfold
from .vocoder_part import F32

U8 = NDArray[np.uint8]
TILE = 2048
"""Values for which an activation's constants are laid out: enough that loops are long, few enough for the cache."""


class Products:
    """A graph of export/vocoder_bytes.py, which multiplies bytes with the weights of one convolution at a time.

    Args:
        session: of the graph.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.widths: dict[str, int] = {each.name: each.shape[1] for each in session.get_inputs()}
        # All convolutions but one are given no rows.
        self._idle = {name: np.empty((0, width), np.uint8) for name, width in self.widths.items()}
        names = [each.name for each in session.get_outputs() if not each.name.endswith(".sums")]
        self.tables: dict[str, F32] = dict(zip(names, session.run(names, self._idle), strict=True))

    def sums(self, name: str, rows: U8) -> F32:
        """Bytes [n, taps·C] times a convolution's weights: [n, outputs]."""
        return self._session.run([f"{name}.sums"], {**self._idle, name: rows})[0]


class Layer:
    """A convolution, after an activation if the graph has one for it.

    Args:
        products: of its part.
        name: in the graph.
        dilation: samples between taps.
    """

    def __init__(self, products: Products, name: str, dilation: int = 1) -> None:
        self._products, self._name, self._dilation = products, name, dilation
        given, snake = products.tables[f"{name}.given"], products.tables.get(f"{name}.snake")
        self._per, self._zero = given[:2]
        self.edges: U8 = given[2:, None].astype(np.uint8)
        """Bytes of what is beyond the ends, [1 or 2, 1, C]: one for each byte of a value."""
        self._table = None if snake is None else _repeated(np.concatenate([snake, given[:2]]))
        self.around = REACH if self._table is not None else 0
        """Rows on either side of one that its bytes hang on."""
        self.width = products.widths[name]
        self.edge = (self.width // given.shape[1] - 1) * dilation // 2
        """Bytes on either side of one that its taps reach."""

    @property
    def reach(self) -> int:
        """Rows on either side of one that what comes out hangs on."""
        return self.around + self.edge

    @property
    def channels(self) -> int:
        """Of what it takes."""
        return self.edges.shape[2]

    def begin(self) -> LayerStream:
        """Start an utterance."""
        return LayerStream(self, self.edges)

    def fill(self, signal: F32, first: int, stop: int, out: U8, place: int) -> None:
        """Make bytes of rows first to stop of a signal, [AROUND + n + AROUND, C], in `out` [1 or 2, any, C] from row
        `place` on."""
        if self._table is not None:
            taps, cosine = self._products.tables["filter"], self._products.tables["cosine"]
            even, odd = np.empty_like(signal), np.empty_like(signal)
            activate(signal, taps, cosine, self._table, even, odd, out, first, stop, place)
            return
        values = signal[AROUND + first : AROUND + stop] * self._per + self._zero
        there = out[:, place : place + len(values)]
        there[0] = np.clip(np.rint(values), 0, 255)
        if len(there) == 2:
            there[1] = np.clip(np.rint((values - there[0]) * STEPS + MIDDLE), 0, 255)

    def multiplied(self, given: U8) -> F32:
        """The convolution of bytes [1 or 2, n + 2·edge, C], [n, outputs]."""
        count = max(0, given.shape[1] - 2 * self.edge)
        rows = np.empty((len(given) * count, self.width), np.uint8)
        if count:
            unfold(given, self._dilation, rows)
        sums = self._products.sums(self._name, rows)
        if len(given) == 1:
            return sums
        out = np.empty((count, sums.shape[1]), np.float32)
        join(sums, out)
        return out


class LastLayer:
    """The one that makes samples, in floats: what rounding would add to silence is heard.

    Args:
        products: of its part.
        name: in the graph.
    """

    def __init__(self, products: Products, name: str) -> None:
        tables = products.tables
        self._taps, self._cosine = tables["filter"], tables["cosine"]
        self._table = _repeated(np.concatenate([tables[f"{name}.snake"], tables[f"{name}.given"]]))
        self._weight = tables[f"{name}.weight"]
        self.around, self.edge, self.channels = REACH, len(self._weight) // 2, self._weight.shape[1]

    @property
    def reach(self) -> int:
        """See `Layer`."""
        return self.around + self.edge

    def begin(self) -> LayerStream:
        """See `Layer`."""
        return LayerStream(self, np.zeros((1, 1, self.channels), np.float32))

    def fill(self, signal: F32, first: int, stop: int, out: F32, place: int) -> None:
        """See `Layer`; floats instead of bytes, [1, any, C]."""
        even, odd = np.empty_like(signal), np.empty_like(signal)
        activate_floats(signal, self._taps, self._cosine, self._table, even, odd, out[0], first, stop, place)

    def multiplied(self, given: F32) -> F32:
        """See `Layer`: [n, 1]."""
        out = np.empty(max(0, given.shape[1] - 2 * self.edge), np.float32)
        convolve(given[0], self._weight, out)
        return out[:, None]


class LayerStream:
    """One utterance in one layer. It keeps what the rows to come hang on of those that were.

    Args:
        layer: to compute with.
        edges: what is beyond the ends of what it convolves, [planes, 1, C].
    """

    def __init__(self, layer: Layer | LastLayer, edges: NDArray[Any]) -> None:
        self._layer, self._edges = layer, edges
        self._bytes = np.repeat(edges, layer.edge, axis=1)
        self._rows = np.empty((0, layer.channels), np.float32)
        self._done = 0
        """Of `_rows`, that are bytes already."""

    def step(self, rows: F32, *, last: bool) -> F32:
        """See `PartStream`."""
        layer, kept = self._layer, self._bytes.shape[1]
        count = len(self._rows) + len(rows)
        signal = np.empty((AROUND + count + AROUND, layer.channels), np.float32)
        signal[AROUND : AROUND + len(self._rows)] = self._rows
        signal[AROUND + len(self._rows) : AROUND + count] = rows
        first, stop = self._done, count if last else max(self._done, count - layer.around)
        made = kept + stop - first
        shape = len(self._edges), made + (layer.edge if last else 0), layer.channels
        out = np.empty(shape, self._edges.dtype)
        out[:, :kept], out[:, made:] = self._bytes, self._edges
        if stop > first:
            layer.fill(signal, first, stop, out, kept)
        forgotten = max(0, stop - layer.around)
        self._rows, self._done = signal[AROUND + forgotten : AROUND + count].copy(), stop - forgotten
        self._bytes = out[:, max(0, out.shape[1] - 2 * layer.edge) :].copy()
        return layer.multiplied(out)


def _repeated(table: F32) -> F32:
    """Channels' values again and again, [k, C] -> [k, n·C] with n·C near TILE."""
    return np.ascontiguousarray(np.tile(table, (1, max(1, TILE // table.shape[1]))))
