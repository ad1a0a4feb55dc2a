"""From the end of speech to the first sound: `python -m benchmarks.listening [BUNDLE]`.

Questions of several lengths are given whole, and again as they come: 100 ms at a time, with the steps of
`Session.listen` in between. Half a second of quiet ends each, as a detector of turns needs it. Two kinds of quiet: the
noise of a room, and digital silence. After it a louder moment changes what is heard of it (`StreamingMel`), and earlier
chunks are read again. Prints a table of medians in Markdown.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from omni_edge.models.bundle import open_bundle
from omni_edge.models.manifest import AudioFrontEnd
from omni_edge.models.store import NANO
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.events import AudioDelta, Done, Event
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session

QUESTION = NANO.parent / "question.flac"
SECONDS = (3.0, 10.0, 25.0)
PIECE = 0.1
"""Seconds of sound that come at a time."""
PAUSE = 0.5
"""Seconds between questions and after the last."""
ROOM = 1e-3
"""Root mean square of a room's noise, -60 dB of full scale."""


@dataclass(frozen=True)
class Answered:
    """What one question took."""

    first_sound_s: float
    prefilled: int
    again: int
    busy: float
    """Seconds of work in the busiest piece that came, over its length; 0 if it was given whole."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, nargs="?", default=NANO)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    session = Session(load_stages(open_bundle(given.bundle), threads=given.threads))
    print("| question | over | given | first sound after its end | rows read then | rows read again | busiest 100 ms |")
    print("|---|---|---|---|---|---|---|")
    for over, noise in (("a room's noise", ROOM), ("digital silence", 0.0)):
        for seconds in SECONDS:
            samples = question(session.manifest.audio, seconds, noise)
            for line in _measured(session, samples, given.rounds):
                print(f"| {seconds:g} s | {over} | {line} |", flush=True)


def question(front: AudioFrontEnd, seconds: float, noise: float) -> NDArray[np.float32]:
    """The shipped question again and again, louder and softer, with pauses."""
    spoken = read_audio(QUESTION, front.rate, front.max_seconds).samples
    rng = np.random.default_rng(0)
    samples = np.zeros(round(seconds * front.rate), np.float32)
    gap = round(PAUSE * front.rate)
    stop = samples.size - gap
    while stop > 0:
        start = max(0, stop - spoken.size)
        samples[start:stop] = spoken[start - stop :] * rng.uniform(0.3, 1.0)
        stop -= spoken.size + gap
    return samples + (rng.standard_normal(samples.size) * noise).astype(np.float32)


def _measured(session: Session, samples: NDArray[np.float32], rounds: int) -> Iterator[str]:
    """A line of the table for each way of asking; both by turns."""
    ways = {"whole": _whole, "as it comes": _as_it_comes}
    found: dict[str, list[Answered]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            session.reset()
            answered = way(session, samples)
            if number:  # the first round warms up
                found[name].append(answered)
    for name, runs in found.items():
        times = [run.first_sound_s for run in runs]
        busy = f"{100 * median(run.busy for run in runs):.0f} %" if name == "as it comes" else ""
        yield f"{name} | {1000 * median(times):.0f} ms | {runs[0].prefilled} | {runs[0].again} | {busy}"


def _whole(session: Session, samples: NDArray[np.float32]) -> Answered:
    return _first_sound(time.perf_counter(), session.respond(Audio(samples), options=_options()), 0.0)


def _as_it_comes(session: Session, samples: NDArray[np.float32]) -> Answered:
    turn, busiest = session.listen(_options()), 0.0
    size = round(PIECE * session.manifest.audio.rate)
    for start in range(0, samples.size, size):
        turn.hear(samples[start : start + size])
        begin = time.perf_counter()
        while turn.step():
            pass
        busiest = max(busiest, time.perf_counter() - begin)
    return _first_sound(time.perf_counter(), turn.answer(), busiest / PIECE)


def _options() -> Options:
    return Options(greedy=True, seed=1)


def _first_sound(start: float, events: Iterator[Event], busy: float) -> Answered:
    first = 0.0
    for event in events:
        if isinstance(event, AudioDelta) and not first:
            first = time.perf_counter() - start
        if isinstance(event, Done):
            return Answered(first, event.stats.prefilled_rows, event.stats.reread_rows, busy)
    raise AssertionError("a response ends with Done")


if __name__ == "__main__":
    main()
