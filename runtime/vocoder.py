"""Mel to samples (FACTS §6.3), a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..models.manifest import Vocoder as Settings

WINDOW = 96
"""Most mel frames turned into sound at a time. More make less of what is computed around them, but their signals no
longer fit a processor's caches: measured at the true shape, a second of sound then takes a quarter longer."""


class Vocoder:
    """Turns mels into samples.

    Args:
        session: of the bundle's vocoder.
        settings: from the manifest.
    """

    def __init__(self, session: ort.InferenceSession, settings: Settings) -> None:
        self._session = session
        self.settings = settings

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
        """Samples [n·hop] of a mel [n, bins] with nothing on either side."""
        return np.asarray(self._session.run(None, {"mel": np.ascontiguousarray(mel.T[None])})[0])


class VocoderStream:
    """One utterance. A sample hangs on `reach` frames on either side and on no more, so chunks that are run with so
    many around them give what one run over everything would.

    Args:
        vocoder: to compute with.
    """

    def __init__(self, vocoder: Vocoder) -> None:
        self._vocoder = vocoder
        self.reset()

    def reset(self) -> None:
        """Begin the utterance anew."""
        self._mel: NDArray[np.float32] | None = None
        self._spoken = 0  # of the frames that are kept

    def step(self, mel: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Take more mel, and speak what can be.

        Args:
            mel: [n, bins], natural logarithm, any number.
            last: the utterance ends with them.

        Returns:
            [m·hop] f32 in [-1, 1]: all frames that have their reach behind them; at the end, all there are.
        """
        hop, reach = self._vocoder.settings.hop, self._vocoder.settings.reach
        kept = mel if self._mel is None else np.concatenate([self._mel, mel])
        first, stop = self._spoken, len(kept) - (0 if last else reach)
        if stop <= first:
            self._mel = kept
            return np.empty(0, np.float32)
        pieces = []
        for start in range(first, stop, WINDOW):
            end, around = min(start + WINDOW, stop), max(0, start - reach)
            sound = self._vocoder.run(kept[around : end + reach])
            pieces.append(sound[(start - around) * hop : (end - around) * hop])
        forgotten = max(0, stop - reach)
        self._mel, self._spoken = kept[forgotten:], stop - forgotten
        return np.concatenate(pieces)
