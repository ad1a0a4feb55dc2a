"""A whole spoken reply, and whether a long one costs more: `python -m benchmarks.reply BUNDLE OUT`.

1. 60 tokens of text, spoken: real-time factor, and the wait for the first sound against the same program made to wait
   for 72 codes before its first sound, as MNN does.
2. A reply as long as the talker's context lets it be: resident memory and seconds of work by minute of speech.
3. Half an hour of speech by flow and vocoder alone, which have no context that ends.

Writes OUT/reply.json and OUT/reply.svg.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from omni_edge.apps.bench.reply import spoken
from omni_edge.apps.bench.workload import Workload, fitted
from omni_edge.apps.report.svg import course_plot
from omni_edge.apps.suite.table import machine
from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.runtime.events import AudioDelta, Done
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import decide
from omni_edge.runtime.session import Session
from omni_edge.runtime.speech import Spoken
from omni_edge.runtime.stages import Stages

from .page import panels

QUESTION = "Tell me a story about a ship and the sea."
WAIT = 72
"""Codes that MNN waits for before it makes the first of them sound (its omni.cpp, dit_chunk_size)."""
MINUTES = 30
SAMPLES = 60
"""Of memory and time, in the course of a long reply."""


@dataclass(frozen=True)
class Course:
    """A long reply. By sample: seconds of speech made, seconds of all cores together, resident bytes."""

    speech_s: list[float]
    cpu_s: list[float]
    resident: list[int]

    def costs(self) -> list[tuple[float, float]]:
        """(minutes of speech, seconds of all cores for a second there), in which other programs do not show."""
        spans = zip(self.speech_s, self.speech_s[1:], self.cpu_s, self.cpu_s[1:], strict=False)
        return [(two / 60, (end - begin) / (two - one)) for one, two, begin, end in spans]

    def memory(self) -> list[tuple[float, float]]:
        """(minutes of speech, MB)."""
        return [(speech / 60, size / 1e6) for speech, size in zip(self.speech_s, self.resident, strict=True)]

    def summary(self) -> dict[str, float]:
        """What it comes to; the first tenth is left out of memory, where buffers find their size."""
        costs = [cost for _, cost in self.costs()]
        tenth = max(1, len(costs) // 10)
        first, last = median(costs[:tenth]), median(costs[-tenth:])
        settled = self.resident[len(self.resident) // 10]
        return {
            "speech_min": round(self.speech_s[-1] / 60, 2),
            "cost_first_tenth": round(first, 4),
            "cost_last_tenth": round(last, 4),
            "last_over_first": round(last / first, 3),
            "resident_mb": round(settled / 1e6, 1),
            "growth_mb": round((self.resident[-1] - settled) / 1e6, 2),
        }


class Watch:
    """Fills a course, a sample each time so much more speech is there."""

    def __init__(self, every_s: float) -> None:
        self._every = every_s
        self._process = psutil.Process()
        self._start = time.process_time()
        self.course = Course([], [], [])

    def made(self, speech_s: float) -> None:
        """So much speech there is."""
        course = self.course
        if not course.speech_s or speech_s >= course.speech_s[-1] + self._every:
            course.speech_s.append(speech_s)
            course.cpu_s.append(time.process_time() - self._start)
            course.resident.append(self._process.memory_info().rss)


def first_sounds(session: Session, stages: Stages, rounds: int) -> dict[str, float]:
    """Of a reply of 60 tokens, in turns with one that waits for 72 codes."""
    work = fitted(stages.bundle, 60, None, seed=1)
    settings = stages.bundle.manifest.flow
    # Codes are waited for by a longer look-ahead; the first chunk's own come on top.
    patient = WAIT * settings.repeats // settings.block - stages.speech.sizes[0]
    found = []
    for number in range(rounds + 1):
        ours = spoken(session, work, QUESTION)
        theirs = _first_sound(session, work, patient)
        if number:
            code = ours.stats.first_code_s
            found.append((ours.seconds / ours.stats.audio_s, ours.arrivals[0][1], theirs, code, ours.stats.audio_s))
    rtf, first, waited, code, audio_s = (median(column) for column in zip(*found, strict=True))
    return {
        "speech_s": audio_s,
        "rtf": round(rtf, 3),
        "first_code_s": round(code, 4),
        "first_audio_s": round(first, 4),
        "first_audio_after_72_codes_s": round(waited, 4),
        "ratio": round(first / waited, 3),
        "ratio_from_the_first_code": round((first - code) / (waited - code), 3),
    }


def _first_sound(session: Session, work: Workload, lookahead: int) -> float:
    session.reset()
    options = replace(work.options(session.manifest), lookahead=lookahead)
    start = time.perf_counter()
    response = session.respond(QUESTION, options=options)
    for event in response:
        if isinstance(event, AudioDelta):
            break
    gone = time.perf_counter() - start
    response.close()
    return gone


def longest_reply(session: Session, bundle: Bundle) -> Course:
    """Of all stages, up to the end of the talker's context."""
    manifest = bundle.manifest
    work = Workload(60, manifest.talker.context, seed=1)
    session.reset()
    code_s = manifest.code_samples / manifest.vocoder.rate
    watch, samples = Watch(manifest.talker.context * code_s / SAMPLES), 0
    for event in session.respond(QUESTION, options=work.options(manifest)):
        if isinstance(event, AudioDelta):
            samples += event.samples.size
            watch.made(samples / event.rate)
        elif isinstance(event, Done):
            print(f"the talker's context of {manifest.talker.context} rows ends after {len(event.codes)} codes")
    return watch.course


def half_an_hour(stages: Stages, minutes: float) -> Course:
    """Of flow and vocoder alone, on random codes."""
    manifest = stages.bundle.manifest
    plan = decide(Workload(60, 60, seed=1).options(manifest), manifest)
    rate = manifest.vocoder.rate
    count = round(minutes * 60 * rate / manifest.code_samples)
    rng = np.random.default_rng(1)

    def codes() -> Iterator[int]:
        for _ in range(count):
            yield int(rng.integers(manifest.flow.codes))

    noise, counts = Noise(plan.seed, manifest.flow.mel_bins), Spoken()
    mels = stages.speech.mels(codes(), plan.voice, noise, plan.solver, counts)
    watch, samples = Watch(minutes * 60 / SAMPLES), 0
    for sound in stages.speech.sound(mels, counts):
        samples += sound.size
        watch.made(samples / rate)
    return watch.course


def picture(courses: dict[str, Course]) -> str:
    """Memory and cost in the course of the speech."""
    memory = {name: course.memory() for name, course in courses.items()}
    costs = {name: course.costs() for name, course in courses.items()}
    drawings = [
        ("resident memory, MB", course_plot(memory, "minutes of speech", "MB", "memory stays where it is")),
        (
            "seconds of all cores together for a second of speech",
            course_plot(costs, "minutes of speech", "s", "a second of speech costs the same late as early"),
        ),
    ]
    return panels(drawings, "Memory and cost of long replies", 270)


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bundle", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    stages = load_stages(bundle)
    session = Session(stages)
    result: dict[str, object] = {"model": bundle.manifest.name, "machine": machine()}
    result["reply"] = first_sounds(session, stages, given.rounds)
    courses = {"whole reply": longest_reply(session, bundle), "flow and vocoder": half_an_hour(stages, given.minutes)}
    result |= {name.replace(" ", "_"): {**course.summary(), **asdict(course)} for name, course in courses.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "reply.json").write_text(json.dumps(result) + "\n", encoding="utf-8")
    (given.out / "reply.svg").write_text(picture(courses), encoding="utf-8")
    print(
        json.dumps(
            {**result, **{name.replace(" ", "_"): course.summary() for name, course in courses.items()}}, indent=2
        )
    )


if __name__ == "__main__":
    main()
