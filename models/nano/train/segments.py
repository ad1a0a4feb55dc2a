"""What the vocoder learns from: stretches of speech with their mels, true or as the flow makes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .codec import load_codec
from .flow import FlowShape, euler, new_flow
from .voices import HOP, Utterance, VoiceCache, cond_vector, reference_mel

BLOCK = 24
"""Frames of the flow's blocks; one evaluation looks two back and one ahead."""


class FlowedMels:
    """Mels of training sentences through codes and flow: what the vocoder will be given, beside the true wave."""

    def __init__(self, folder: Path, voices: tuple[VoiceCache, ...]) -> None:
        self._codec = load_codec(folder / "codec.safetensors")
        self._flow = new_flow(FlowShape(), 0).eval()
        self._flow.load_state_dict(torch.load(folder / "flow.pt", weights_only=True)["average"])
        self._mels = [voice.mel() for voice in voices]
        self._speakers = [
            (torch.from_numpy(cond_vector(index))[None], torch.from_numpy(reference_mel(voice))[None])
            for index, voice in enumerate(voices)
        ]

    def __call__(self, speaker: int, utterance: Utterance, offset: int, frames: int, seed: int) -> np.ndarray:
        """Some frames of a sentence, [frames, 80], by one Euler step from the noise of `seed`."""
        first = max(0, offset // BLOCK - 2) * BLOCK
        last = min(utterance.samples // HOP, (-(-(offset + frames) // BLOCK) + 1) * BLOCK)
        start = utterance.start // HOP
        true = np.asarray(self._mels[speaker][start + first : start + last], dtype=np.float32)
        codes = torch.from_numpy(self._codec.encode(true, speaker))[None]
        mel = euler(self._flow, codes, *self._speakers[speaker], steps=1, seed=seed)[0]
        return mel[offset - first : offset - first + frames].numpy()


class Segments:
    """Training segments of all voices, drawn by step number.

    Args:
        voices: of the caches.
        flowed: gives mels as the flow makes them; None: only true ones.
        share: of the segments whose mel is the flow's.
    """

    def __init__(self, voices: tuple[VoiceCache, ...], flowed: FlowedMels | None, share: float) -> None:
        self._flowed, self._share = flowed, share
        self._voices = [
            (voice.wave(), voice.mel(), [u for u in voice.utterances if not u.held_out]) for voice in voices
        ]

    def draw(self, count: int, frames: int, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Mels [count, frames, 80] and samples [count, frames * HOP]; the voices take turns."""
        rng = np.random.default_rng(key)
        mels, waves = [], []
        while len(mels) < count:
            index = len(mels) % len(self._voices)
            wave, mel, utterances = self._voices[index]
            utterance = utterances[rng.integers(len(utterances))]
            spare = utterance.samples // HOP - frames
            if spare < 0:
                continue
            offset = int(rng.integers(spare + 1))
            start = utterance.start // HOP + offset
            if self._flowed is not None and rng.random() < self._share:
                mels.append(self._flowed(index, utterance, offset, frames, int(rng.integers(1 << 31))))
            else:
                mels.append(np.asarray(mel[start : start + frames], dtype=np.float32))
            waves.append(np.asarray(wave[start * HOP : (start + frames) * HOP], dtype=np.float32) / 32768)
        return torch.from_numpy(np.stack(mels)), torch.from_numpy(np.stack(waves))
