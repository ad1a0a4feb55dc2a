"""Mel to samples (FACTS §6.3), a window at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.manifest import Vocoder as Settings

WINDOW = 200
"""Mel frames turned into sound at a time (2 s): bounds memory, and the first samples come early."""


class Vocoder:
    """Turns a mel into samples. A sample depends on `reach` frames on either side and on no more, so windows that
    overlap by that much give what one run over everything would.

    Args:
        session: of the bundle's vocoder.
        settings: from the manifest.
    """

    def __init__(self, session: ort.InferenceSession, settings: Settings) -> None:
        self._session = session
        self._settings = settings

    def samples(self, mel: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Sound of a whole mel [T, bins], natural logarithm, in pieces [n] f32 of at most WINDOW·hop samples."""
        hop, reach = self._settings.hop, self._settings.reach
        for start in range(0, len(mel), WINDOW):
            stop = min(start + WINDOW, len(mel))
            first, last = max(0, start - reach), min(len(mel), stop + reach)
            window = np.ascontiguousarray(mel[first:last].T[None])
            sound = np.asarray(self._session.run(None, {"mel": window})[0])
            yield sound[(start - first) * hop : (stop - first) * hop]
