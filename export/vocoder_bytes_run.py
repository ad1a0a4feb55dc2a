"""What a vocoder's graphs of bytes say, worked out plainly in numpy: an export is checked by it before it is used.

The runtime does the same compiled (runtime/snake.py); here each step is as it is written in FACTS §6.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..quant.products import MIDDLE, STEPS

F32 = NDArray[np.float32]


def run_byte_parts(sessions: Sequence[ort.InferenceSession], dilations: tuple[tuple[int, ...], ...], mel: F32) -> F32:
    """A mel [1, frames, bins] to samples [1, n, 1].

    Args:
        sessions: of the graphs of export/vocoder_bytes.py, in order.
        dilations: of the residual blocks.
        mel: natural logarithm.
    """
    rows = mel[0]
    for session in sessions:
        rows = PlainPart(session).run(rows, dilations)
    return rows[None]


class PlainPart:
    """One graph.

    Args:
        session: of it.
    """

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.idle = {each.name: np.empty((0, each.shape[1]), np.uint8) for each in session.get_inputs()}
        names = [each.name for each in session.get_outputs() if not each.name.endswith(".sums")]
        self.tables = dict(zip(names, map(np.asarray, session.run(names, self.idle)), strict=True))

    def run(self, x: F32, dilations: tuple[tuple[int, ...], ...]) -> F32:
        """Rows [n, C] to rows [n·rate, C']."""
        if "pre" in self.idle:
            x = self.convolved("pre", np.clip(x, *self.tables["mel.limits"]))
        x = self.convolved("up", x).reshape(-1, self.tables["0.0.0.given"].shape[1])
        blocks = []
        for block, steps in enumerate(dilations):
            y = x
            for step, dilation in enumerate(steps):
                between = self.activated(f"{block}.{step}.0", y, dilation)
                y = y + self.activated(f"{block}.{step}.1", between)
            blocks.append(y)
        x = np.asarray(np.mean(blocks, axis=0), np.float32)
        return np.clip(self.activated("post", x), -1, 1) if "post.weight" in self.tables else x

    def activated(self, name: str, x: F32, dilation: int = 1) -> F32:
        """A convolution after the activation before it; what it leaves undone is in the convolution's table."""
        scale, gain = self.tables[f"{name}.snake"]
        taps = self.tables["filter"]
        padded = np.pad(x, ((3, 3), (0, 0)), "edge")
        doubled = np.empty((2 * len(x), x.shape[1]), np.float32)
        doubled[::2] = sum(taps[11 - 2 * place] * padded[place : place + len(x)] for place in range(6))
        doubled[1::2] = sum(taps[10 - 2 * place] * padded[place + 1 : place + 1 + len(x)] for place in range(6))
        turns = doubled * scale
        bent = np.pad(turns + gain * np.cos(np.pi * turns) ** 2, ((5, 5), (0, 0)), "edge")
        halved = sum(taps[place] * bent[place : place + 2 * len(x) : 2] for place in range(12))
        return self.convolved(name, np.asarray(halved, np.float32), dilation)

    def convolved(self, name: str, x: F32, dilation: int = 1) -> F32:
        """A convolution of what needs no more than to be multiplied and shifted."""
        factor, shift, *edges = self.tables[f"{name}.given"]
        values = x * factor + shift
        if f"{name}.weight" in self.tables:
            weight = self.tables[f"{name}.weight"]
            padded = np.pad(values, ((len(weight) // 2, len(weight) // 2), (0, 0)))
            terms = [padded[tap:][: len(x)] @ weight[tap] for tap in range(len(weight))]
            return np.sum(terms, axis=0)[:, None]
        first = np.clip(np.rint(values), 0, 255)
        planes = [first, np.clip(np.rint((values - first) * STEPS) + MIDDLE, 0, 255)][: len(edges)]
        taps = self.idle[name].shape[1] // x.shape[1]
        around = (taps - 1) * dilation // 2
        rows = []
        for plane, edge in zip(planes, edges, strict=True):
            beyond = np.tile(edge, (around, 1))
            padded = np.concatenate([beyond, plane, beyond]).astype(np.uint8)
            rows += [np.concatenate([padded[tap * dilation :][: len(x)] for tap in range(taps)], axis=1)]
        (sums,) = self.session.run([f"{name}.sums"], {**self.idle, name: np.concatenate(rows)})
        coarse, *fine = np.split(np.asarray(sums), len(edges))
        return np.asarray(coarse + fine[0] / STEPS if fine else coarse, np.float32)
