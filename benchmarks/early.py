"""What hearing the first block of speech early costs: `python -m benchmarks.early [BUNDLE]`.

1. Look-ahead: the first block's sound when it is solved with so many codes behind it, against that of the whole
   utterance solved at once, and against what another seed of the noise makes of that.
2. Guard: the early sound with so many known mel frames behind it, against what the same mel becomes when all that
   follows is there. FIRST_SHARE in runtime/solver.py and GUARD in runtime/sounding.py are chosen from these.

Utterances begin anywhere in what the voices say, not only where speech begins: words come as close as they can.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from omni_edge.models.bundle import open_bundle
from omni_edge.models.store import resolve
from omni_edge.quant.measures import signal_to_noise
from omni_edge.runtime.engine import open_session, open_vocoder
from omni_edge.runtime.events import Done
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options
from omni_edge.runtime.solver import Solver

QUESTIONS = ("Tell me a story about a ship and the sea.", "What is your name?", "Count from one to ten.")
CODES, EVERY = 60, 6
"""Codes of an utterance, and from one's beginning to the next one's."""
GUARDS = (8, 12, 16, 20, 24)
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Utterance:
    """Codes [n], who says them, and the noise that they are solved from."""

    codes: NDArray[np.int64]
    voice: str
    seed: int


class Early:
    """First blocks of a bundle's speech.

    Args:
        model: name or folder.
        steps: time points of Euler's method; 0 takes the bundle's own.
    """

    def __init__(self, model: str, steps: int) -> None:
        bundle = open_bundle(resolve(model))
        self.settings, self.hop = bundle.manifest.flow, bundle.manifest.vocoder.hop
        self.vocoder = open_vocoder(bundle, 0)
        self._flow = Flow(open_session(bundle, "flow", 0), self.settings, bundle.path(self.settings.tables))
        self._steps = steps or self.settings.steps
        self.block = self.settings.block // self.settings.repeats
        self.utterances = list(self._said(model, bundle.manifest.voices.names))

    def _said(self, model: str, voices: tuple[str, ...]) -> Iterator[Utterance]:
        for voice, question in product(voices, QUESTIONS):
            *_, done = load(model).respond(question, options=Options(voice=voice, greedy=True, seed=1))
            assert isinstance(done, Done)
            for start in range(0, len(done.codes) - 3 * self.block, EVERY):
                yield Utterance(np.array(done.codes[start : start + CODES]), voice, start)

    def whole(self, one: Utterance, seed: int) -> F32:
        """The first block's sound when all is solved at once."""
        noise = Noise(one.seed + seed, self.settings.mel_bins)
        return self._first(self._flow.mel(one.codes, one.voice, noise, Solver("euler", self._steps, 0.0)))

    def chunks(self, one: Utterance, ahead: int) -> tuple[F32, F32, F32]:
        """Mels of the first block, of what is known behind it, and of all that follows as it comes to be."""
        solver, noise = (
            Solver("euler", self._steps, 0.0, first_lookahead=ahead),
            Noise(one.seed, self.settings.mel_bins),
        )
        stream, known = self._flow.begin(one.voice, noise, solver), self.block + ahead
        first = stream.step(one.codes[:known], last=False)
        return first, stream.ahead, stream.step(one.codes[known:], last=True)

    def solved(self, ahead: int) -> Callable[[Utterance], F32]:
        """The first block's sound when it is solved with so many codes behind it, and all is known that follows."""
        return lambda one: self._first(np.concatenate(self.chunks(one, ahead)[::2]))

    def guarded(self, one: Utterance, ahead: int, guard: int) -> tuple[F32, F32]:
        """What is heard early, and what it becomes."""
        first, behind, rest = self.chunks(one, ahead)
        size = max(0, min(len(first), len(first) + len(behind) - guard)) * self.hop
        early, late = np.concatenate([first, behind]), np.concatenate([first, rest])
        return self.vocoder.run(early)[:size], self.vocoder.run(late)[:size]

    def _first(self, mel: F32) -> F32:
        return self.vocoder.run(mel)[: self.settings.block * self.hop]


def in_decibels(ratios: list[float]) -> str:
    """Median and tenth percentile."""
    return f"{np.median(ratios):.1f} dB | {np.percentile(ratios, 10):.1f} dB"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", default="nano")
    parser.add_argument("--steps", type=int, default=0, help="time points of Euler's method; 0: the bundle's own")
    given = parser.parse_args()
    early = Early(given.bundle, given.steps)
    wholes = [early.whole(one, 0) for one in early.utterances]
    print(f"{len(wholes)} beginnings\n\n| codes behind the first block | signal to noise, median | tenth percentile |")
    print("|---|--:|--:|")
    for ahead in (early.block // 6, early.block // 3, early.block // 2, early.block):
        ratios = [
            signal_to_noise(*pair) for pair in zip(wholes, map(early.solved(ahead), early.utterances), strict=True)
        ]
        print(f"| {ahead} | {in_decibels(ratios)} |", flush=True)
    others = [signal_to_noise(one, early.whole(each, 999)) for one, each in zip(wholes, early.utterances, strict=True)]
    print(f"| all, another seed | {in_decibels(others)} |\n")
    print("| codes behind | mel frames behind | heard, frames | signal to noise, median | tenth percentile |")
    print("|---|--:|--:|--:|--:|")
    for ahead, guard in (*((early.block // 3, guard) for guard in GUARDS), (early.block, GUARDS[-1])):
        pairs = [early.guarded(one, ahead, guard) for one in early.utterances]
        if pairs[0][0].size:
            ratios = [signal_to_noise(late, soon) for soon, late in pairs]
            print(f"| {ahead} | {guard} | {pairs[0][0].size // early.hop} | {in_decibels(ratios)} |", flush=True)


if __name__ == "__main__":
    main()
