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
from .marathon import StageOptions
from .segments import FlowedMels
from .sounds import collect, save
from .vocoder import synthesize
from .voices import HOP, RATE, Utterance, load_voices

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
        voices = load_voices(options.folder / "voices")
        self.known = [[one for one in voice.utterances if not one.held_out] for voice in voices]
        self._mels = FlowedMels(options.folder, voices)
        self._vocoder = speech_part(options.folder, "vocoder").eval()

    @torch.no_grad()
    def __call__(self, speaker: int, utterance: Utterance) -> np.ndarray:
        """Samples at 24 kHz of a sentence of the cache."""
        mel = self._mels(speaker, utterance, 0, utterance.samples // HOP, seed=0)
        return synthesize(self._vocoder, torch.from_numpy(mel)[None]).clamp(-1, 1)[0].numpy()  # pyright: ignore
