"""Sound to another rate as it comes."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


class Resampler:
    """soxr at its high quality, piece by piece; what all pieces give together does not depend on where they are cut.

    Some milliseconds are held back until `finish`: the reach of the filter. Equal rates pass through untouched.

    Args:
        source: samples per second that come in.
        target: samples per second that come out.
    """

    def __init__(self, source: float, target: float) -> None:
        self._stream = None if source == target else soxr.ResampleStream(source, target, 1, quality="HQ")

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """A whole sound, mono [n] to [about n * target / source]."""
        self.reset()
        return np.concatenate([self.step(samples), self.finish()])

    def step(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The next piece, mono [n]; what comes out may be empty."""
        return samples if self._stream is None else self._stream.resample_chunk(samples)

    def finish(self) -> NDArray[np.float32]:
        """What was held back. `reset` before the next sound."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)

    def reset(self) -> None:
        """Forget what came before."""
        if self._stream is not None:
            self._stream.clear()
