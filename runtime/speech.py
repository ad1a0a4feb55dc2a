"""A reply's rows to sound: talker, flow and vocoder joined."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, repeat

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Manifest, Sampling
from .flow import Flow
from .noise import Noise
from .sampling import Sampler
from .solver import Solver
from .sounding import Mel, Sounding, early_frames
from .talker import Talker
from .vocoder import Vocoder

CHUNKS = (1, 1, 2, 4, 8)
"""Blocks of codes made sound at a time: small at first, so that it begins early, then the last of these, because what
is computed around a chunk weighs less the longer it is."""


@dataclass(frozen=True, eq=False)
class Reply:
    """What is to be spoken.

    Args:
        prompt: f32 [P, hidden], the thinker's rows of the whole prompt.
        positions: int64 [3, P + 2], of the prompt, the voice and the reply's first token.
        stops: where runs of the prompt end, see `Reading`.
        rows: f32 [hidden] each, one for every token of the reply that the thinker reads; they may still be coming.
    """

    prompt: NDArray[np.float32]
    positions: NDArray[np.int64]
    stops: Sequence[int]
    rows: Iterable[NDArray[np.float32]]


@dataclass
class Spoken:
    """What speaking has come to so far; filled in while it goes on. Times in seconds."""

    codes: list[int] = field(default_factory=list)
    ended: bool = False
    """Whether the talker said that these are all."""
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
        self._block = manifest.vocoder.hop * manifest.flow.block
        """Samples of a block of codes."""
        # The vocoder may hold back more than a block: of the second chunk there shall be something to hear as well.
        heard = 1 + vocoder.held // self._block
        self.sizes = (CHUNKS[0], *(max(heard, size) for size in CHUNKS[1:]))
        """Blocks of codes that are made sound at a time; the last of these goes on."""

    def check(self, solver: Solver) -> None:
        """Refuse a solver this bundle has no tables for, with a RequestError."""
        self._flow.check(solver)

    def reads(self, positions: NDArray[np.int64]) -> bool:
        """See `Decoder.reads`, of the talker."""
        return self._talker.reads(positions)

    def first_codes(self, solver: Solver) -> int:
        """Codes that the first sound waits for."""
        settings = self._manifest.flow
        size = settings.block // settings.repeats
        return self.sizes[0] * size + (solver.first_lookahead or solver.lookahead * size)

    def pieces(self, solver: Solver) -> tuple[int, ...]:
        """Samples of the first pieces of sound; the last of these stands for all that follow (see `Playout`)."""
        samples, early = [self._block * size for size in self.sizes], self.early(solver)
        # What of the first is not heard early comes with the second, less what the vocoder holds back from then on.
        second = samples[0] - early + samples[1] - self._vocoder.held
        return tuple(size for size in (early, second, *samples[2:]) if size)

    def early(self, solver: Solver) -> int:
        """Samples that are heard once `first_codes` are there."""
        settings = self._manifest.flow
        rows, known = self.sizes[0] * settings.block, self.first_codes(solver) * settings.repeats
        return early_frames(rows, known - rows) * self._manifest.vocoder.hop

    def keep(self, rows: int) -> None:
        """Only the first `rows` rows of the last prompt are part of the next one."""
        self._talker.keep(rows)

    def read(self, prompt: NDArray[np.float32], positions: NDArray[np.int64], stops: Sequence[int]) -> None:
        """See `Talker.read`."""
        self._talker.read(prompt, positions, stops)

    def codes(self, reply: Reply, voice: str, sampler: Sampler, spoken: Spoken) -> Iterator[int]:
        """Speech codes up to the stop id, which is not one of them; none for a reply without rows."""
        talker, sampling = self._talker, sampler.sampling
        rest = iter(reply.rows)
        first = next(rest, None)
        if first is None:
            return
        start = time.perf_counter()
        talker.begin(reply.prompt, reply.positions, reply.stops, self._voices[voice], first)
        spoken.talker_s += time.perf_counter() - start
        rows = talker.reply_rows(rest)
        while True:
            start = time.perf_counter()
            code = talker.step(sampler)
            spoken.talker_s += time.perf_counter() - start
            if code in sampling.stop:
                spoken.ended = True
                return
            spoken.codes.append(code)
            yield code
            if len(spoken.codes) >= sampling.max_tokens:
                return
            row = next(rows)
            start = time.perf_counter()
            talker.advance(code, row)
            spoken.talker_s += time.perf_counter() - start

    def sampler(self, reply: Reply, rng: np.random.Generator, sampling: Sampling) -> Sampler:
        """A sampler that has seen what the reference counts as seen."""
        return Sampler(sampling, self._manifest.talker.vocab, rng, self._talker.seen(len(reply.prompt)))

    def mels(self, codes: Iterable[int], voice: str, noise: Noise, solver: Solver, spoken: Spoken) -> Iterator[Mel]:
        """Codes to mel, in pieces that come early and grow on."""
        flow, settings = self._flow.begin(voice, noise, solver), self._manifest.flow
        size, first = settings.block // settings.repeats, self.first_codes(solver)
        for chunk, last in chunks(codes, self.sizes, size, solver.lookahead, first):
            start = time.perf_counter()
            mel = flow.step(chunk, last=last)
            spoken.flow_s += time.perf_counter() - start
            yield Mel(mel, flow.ahead, last)

    def sound(self, mels: Iterable[Mel], spoken: Spoken) -> Iterator[NDArray[np.float32]]:
        """What `mels` yields to samples [n] f32."""
        sounding = Sounding(self._vocoder, self._manifest.vocoder.hop)
        for mel in mels:
            pieces = sounding.step(mel)
            while True:
                start = time.perf_counter()
                samples = next(pieces, None)
                spoken.vocoder_s += time.perf_counter() - start
                if samples is None:
                    break
                spoken.samples += samples.size
                yield samples


def chunks(
    codes: Iterable[int], sizes: Sequence[int], block: int, lookahead: int, first: int
) -> Iterator[tuple[NDArray[np.int64], bool]]:
    """Codes in the portions in which they are made sound, and whether a portion is the last one.

    Args:
        codes: of an utterance.
        sizes: of the portions, blocks; the last of them goes on.
        block: codes of a block.
        lookahead: blocks, see `Solver`.
        first: codes that the first one waits for, its look-ahead included.
    """
    waiting: list[int] = []
    ends = accumulate(chain(sizes, repeat(sizes[-1])))
    next(ends)
    given, wanted = 0, first
    for code in codes:
        waiting.append(code)
        if len(waiting) == wanted:
            yield np.array(waiting, np.int64), False
            waiting.clear()
            given += wanted
            wanted = (next(ends) + lookahead) * block - given
    # What was held back for its look-ahead still waits, even when no code came after it.
    yield np.array(waiting, np.int64), True
