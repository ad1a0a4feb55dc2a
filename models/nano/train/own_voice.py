"""What nano sounds like, for nano to hear: sentences through its own codes, flow and vocoder, back to log-mels.

Its ears learn on synthesisers; its own speech is a little unlike all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import numpy as np
import torch

from ..world.hearing import Rough, Sound, as_heard
from ..world.speakers import SPEAKERS
from ..world.spoken import Spoken
from .checkpoint import speech_part
from .codec import load_codec
from .flow import euler
from .marathon import StageOptions
from .sounds import collect, save
from .vocoder import synthesize
from .voices import HOP, RATE, Utterance, cond_vector, load_voices, reference_mel

COUNT = 1000
"""Sentences."""
SHARD = 250
COPIES = 2
"""Rooms and microphones that each sentence is heard through."""


def run(options: StageOptions) -> None:
    """Write shards "own-*.npz" beside the other sounds; those that are there stay."""
    folder = options.folder / "sounds"
    for index in range(COUNT // SHARD):
        path = folder / f"own-{index:04d}.npz"
        if not path.exists():
            save(collect(_said(options, index), SHARD * COPIES), path)


def _said(options: StageOptions, shard: int) -> Iterator[tuple[str, Sound]]:
    rng = Random(f"own/{options.seed}/{shard}")
    speak = OwnVoice(options)
    for place in range(shard * SHARD, (shard + 1) * SHARD):
        index = place % len(SPEAKERS)
        utterance = rng.choice(speak.known[index])
        spoken = Spoken(speak(index, utterance), RATE, tuple((name, start) for name, start, _ in utterance.phones))
        for _ in range(COPIES):
            yield utterance.text, as_heard(spoken, f"own-{SPEAKERS[index].name}", rng, Rough())


class OwnVoice:
    """The speech side behind the talker, on codes of the voice caches."""

    def __init__(self, options: StageOptions) -> None:
        self._flow, self._vocoder = (speech_part(options.folder, name).eval() for name in ("flow", "vocoder"))
        self._codec = load_codec(options.folder / "codec.safetensors")
        self._voices = load_voices(options.folder / "voices")
        self.known = [[one for one in voice.utterances if not one.held_out] for voice in self._voices]
        self._speakers = [
            (torch.from_numpy(cond_vector(index))[None], torch.from_numpy(reference_mel(voice))[None])
            for index, voice in enumerate(self._voices)
        ]

    @torch.no_grad()
    def __call__(self, speaker: int, utterance: Utterance) -> np.ndarray:
        """Samples at 24 kHz of a sentence of the cache."""
        frames = self._voices[speaker].mel()[utterance.start // HOP : (utterance.start + utterance.samples) // HOP]
        codes = torch.from_numpy(self._codec.encode(frames.astype(np.float32), speaker))[None]
        mel = euler(self._flow, codes, *self._speakers[speaker], steps=1)  # pyright: ignore
        return synthesize(self._vocoder, mel).clamp(-1, 1)[0].numpy()  # pyright: ignore
