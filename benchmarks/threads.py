"""What threads a stage should have: `python -m benchmarks.threads BUNDLE`.

Opens each stage of a spoken reply with one thread and with one a core, joins them in several ways, lets each answer in
turns and prints medians: seconds of a whole reply, of all cores together for it, and of its first sound.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from omni_edge.apps.bench.reply import spoken
from omni_edge.apps.bench.workload import Workload
from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.models.llama import core_count
from omni_edge.runtime.engine import choose_engines, open_decoder, open_session, open_vocoder
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.session import Session
from omni_edge.runtime.speech import Speech
from omni_edge.runtime.stages import Stages
from omni_edge.runtime.talker import Talker
from omni_edge.runtime.thinker import Embeddings, Thinker

STAGES = ("thinker", "talker", "flow", "vocoder")
QUESTION = "Tell me a story about a ship and the sea."


class Parts:
    """Every stage with either number of threads."""

    def __init__(self, bundle: Bundle) -> None:
        manifest = self.manifest = bundle.manifest
        self._base = load_stages(bundle, threads=core_count())
        words = Embeddings(bundle.path(manifest.embeddings))
        codes = Embeddings(bundle.path(manifest.codec_embeddings))
        engines = choose_engines(bundle, "auto").of
        self._made = {}
        for threads in (1, core_count()):
            thinker, talker = (open_decoder(bundle, name, engines[name], threads) for name in ("thinker", "talker"))
            flow = open_session(bundle, "flow", threads)
            self._made |= {
                ("thinker", threads): Thinker(thinker, words),
                ("talker", threads): Talker(talker, codes, words, manifest.tokens),
                ("flow", threads): Flow(flow, manifest.flow, bundle.path(manifest.flow.tables)),
                ("vocoder", threads): open_vocoder(bundle, threads),
            }
        with np.load(bundle.path(manifest.voices.file)) as arrays:
            self._voices = {name: int(arrays[f"{name}.bos_token"]) for name in manifest.voices.names}

    def joined(self, way: tuple[int, ...]) -> Stages:
        """Stages with so many threads each."""
        thinker, *rest = (self._made[name, threads] for name, threads in zip(STAGES, way, strict=True))
        return replace(self._base, thinker=thinker, speech=Speech(*rest, self.manifest, self._voices))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--codes", type=int, default=900)
    given = parser.parse_args()
    most, work = core_count(), Workload(given.tokens, given.codes, seed=1)
    parts = Parts(open_bundle(given.bundle))
    same = [(count,) * len(STAGES) for count in (most, 1)]
    one_less = [tuple(1 if other == name else most for other in STAGES) for name in STAGES]
    ways = dict.fromkeys([*same, *one_less])
    sessions = {way: Session(parts.joined(way)) for way in ways}
    found = {way: [] for way in ways}
    for number in range(given.rounds + 1):
        for way, session in sessions.items():
            reply = spoken(session, work, QUESTION)
            print(f"{way}  {reply.seconds:.2f} s, cores {reply.cpu_s:.2f} s", file=sys.stderr, flush=True)
            if number:
                found[way].append((reply.seconds, reply.cpu_s, reply.arrivals[0][1]))
    audio_s = given.codes * parts.manifest.code_samples / parts.manifest.vocoder.rate
    print("threads of", ", ".join(STAGES))
    for way, times in found.items():
        whole, cpu, first = (median(column) for column in zip(*times, strict=True))
        print(f"{way}  whole {whole:.2f} s, RTF {whole / audio_s:.2f}, cores {cpu:.2f} s, first sound {first:.2f} s")


if __name__ == "__main__":
    main()
