"""A reply's rows to sound: talker, flow and vocoder joined."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Manifest, Sampling
from .flow import Flow, Noise, Solver
from .sampling import Sampler
from .talker import Talker
from .vocoder import Vocoder


@dataclass(frozen=True, eq=False)
class Reply:
    """What is to be spoken.

    Args:
        prompt: f32 [P, hidden], the thinker's rows of the whole prompt.
        positions: int64 [3, P + 2], of the prompt, the voice and the reply's first token.
        rows: f32 [hidden] each, one for every token of the reply that the thinker read.
    """

    prompt: NDArray[np.float32]
    positions: NDArray[np.int64]
    rows: Sequence[NDArray[np.float32]]


@dataclass
class Spoken:
    """What speaking has come to so far; filled in while it goes on. Times in seconds."""

    codes: list[int] = field(default_factory=list)
    samples: int = 0
    talker_s: float = 0.0
    flow_s: float = 0.0
    vocoder_s: float = 0.0


class Speech:
    """Speaks replies.

    Args:
        talker, flow, vocoder: of one bundle.
        manifest: of that bundle.
        voices: speaker -> bos id in the thinker's vocabulary.
    """

    def __init__(
        self, talker: Talker, flow: Flow, vocoder: Vocoder, manifest: Manifest, voices: dict[str, int]
    ) -> None:
        self._talker = talker
        self._flow = flow
        self._vocoder = vocoder
        self._manifest = manifest
        self._voices = voices

    def check(self, solver: Solver) -> None:
        """Refuse a solver this bundle has no tables for, with a RequestError."""
        self._flow.check(solver)

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`, of the talker."""
        return self._talker.reads(positions)

    def keep(self, rows: int) -> None:
        """Only the first `rows` rows of the last prompt are part of the next one."""
        self._talker.keep(rows)

    def codes(self, reply: Reply, voice: str, sampler: Sampler) -> Iterator[int]:
        """Speech codes up to the stop id, which is not one of them."""
        talker, sampling = self._talker, sampler.sampling
        talker.begin(reply.prompt, reply.positions, self._voices[voice], reply.rows[0])
        for count, row in enumerate(talker.reply_rows(reply.rows[1:]), start=1):
            code = talker.step(sampler)
            if code in sampling.stop:
                return
            yield code
            if count >= sampling.max_tokens:
                return
            talker.advance(code, row)

    def sampler(self, reply: Reply, rng: np.random.Generator, sampling: Sampling) -> Sampler:
        """A sampler that has seen what the reference counts as seen."""
        return Sampler(sampling, self._manifest.talker.vocab, rng, self._talker.seen(len(reply.prompt)))

    def sound(
        self, codes: Sequence[int], voice: str, noise: Noise, solver: Solver, spoken: Spoken
    ) -> Iterator[NDArray[np.float32]]:
        """Codes to samples [n] f32, in pieces."""
        if not codes:
            return
        start = time.perf_counter()
        frames = len(codes) * self._manifest.flow.repeats
        mel = self._flow.mel(np.array(codes, np.int64), voice, noise.frames(0, frames), solver)
        spoken.flow_s += time.perf_counter() - start
        start = time.perf_counter()
        for samples in self._vocoder.samples(mel):
            spoken.vocoder_s += time.perf_counter() - start
            spoken.samples += samples.size
            yield samples
            start = time.perf_counter()
