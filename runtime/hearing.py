"""Samples of a sound to thinker rows while they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import AudioFrontEnd
from .encoders import Encoder
from .mel import StreamingMel, audio_tokens


@dataclass(frozen=True, eq=False)
class _Encoded:
    """A chunk's rows, the floor of its features, and the mark of its rows."""

    rows: NDArray[np.float32]
    floor: float
    mark: int


class Hearing:
    """A sound that is still going on.

    Each chunk of the audio encoder is encoded when it is finished, and again if a later, louder one changes its
    features (`StreamingMel`); its rows then get another mark. So rows and marks are always those of the sound so far.

    Args:
        encoder: of sounds.
        front: from the manifest.
        mark: gives a number that marks no row yet.
    """

    def __init__(self, encoder: Encoder[NDArray[np.float32]], front: AudioFrontEnd, mark: Callable[[], int]) -> None:
        self._encoder = encoder
        self._mel = StreamingMel(front)
        self._mark = mark
        self.reset()

    def reset(self) -> None:
        """Forget the sound."""
        self._mel.reset()
        self._pieces: list[NDArray[np.float32]] = []
        self._encoded: list[_Encoded] = []

    @property
    def samples(self) -> NDArray[np.float32]:
        """All that was heard, [n]."""
        return np.concatenate([np.zeros(0, np.float32), *self._pieces])

    @property
    def chunks(self) -> int:
        """Finished chunks, encoded or not."""
        return self._mel.chunks

    @property
    def ready(self) -> int:
        """Leading chunks whose rows are right as things stand."""
        return next((n for n in range(self.chunks) if not self._is_right(n)), self.chunks)

    @property
    def tokens(self) -> int:
        """Rows of the chunks that are encoded."""
        return sum(len(chunk.rows) for chunk in self._encoded)

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Further samples, [n]; see `StreamingMel.step`."""
        self._mel.step(samples)
        self._pieces.append(samples)

    def step(self) -> bool:
        """Encode the first chunk that needs it. Returns whether there was one."""
        index = self.ready
        if index == self.chunks:
            return False
        features = self._mel.features(index)
        silent = audio_tokens(features.shape[1]) < 1
        rows = np.zeros((0, 0), np.float32) if silent else self._encoder.rows(features)
        self._encoded[index : index + 1] = [_Encoded(rows, self._mel.floor, self._mark())]
        return True

    def finish(self) -> None:
        """The sound is over; `step` until nothing is left."""
        self._mel.finish()

    def rows(self, chunks: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Rows [tokens, hidden] of the first so many chunks, and their marks [tokens]."""
        parts = [chunk for chunk in self._encoded[:chunks] if len(chunk.rows)]
        marks = [np.full(len(chunk.rows), chunk.mark, np.int64) for chunk in parts]
        return np.concatenate([chunk.rows for chunk in parts]), np.concatenate(marks)

    def _is_right(self, index: int) -> bool:
        if index >= len(self._encoded):
            return False
        floor = self._mel.floor
        return self._encoded[index].floor == floor or self._mel.lowest[index] >= floor
