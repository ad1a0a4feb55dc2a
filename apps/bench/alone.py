"""Each stage alone: nothing else runs while it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat

import numpy as np

from ...models.manifest import SubnetworkName
from ...runtime.mel import audio_tokens
from ...runtime.messages import Media
from ...runtime.noise import Noise
from ...runtime.options import decide, fit
from ...runtime.sampling import Sampler
from ...runtime.sounding import Mel
from ...runtime.speech import Reply, Spoken
from ...runtime.stages import Stages
from ...runtime.thinker import Reading
from .workload import SPOKEN_CODES, STEPS, Workload, prefill_rows

CONTEXT = 64
"""Rows that are there before single ones are read."""


@dataclass(frozen=True)
class Timed:
    """One timing of a stage."""

    rows: int
    seconds: float
    sound_s: float
    """Seconds of sound that the rows stand for."""


@dataclass(frozen=True)
class Timing:
    """How a stage is timed; the vocoder after the flow."""

    subnetwork: SubnetworkName
    unit: str
    measure: Callable[[], Timed]


class Alone:
    """Times the stages of a bundle.

    Args:
        stages: loaded; their caches are void afterwards.
        work: what a reply is.
    """

    def __init__(self, stages: Stages, work: Workload) -> None:
        manifest = stages.bundle.manifest
        self._stages = stages
        self._manifest = manifest
        self._work = work
        self._plan = fit(decide(work.options(manifest), manifest), manifest, CONTEXT)
        self._prefill = prefill_rows(manifest)
        self._mels: list[Mel] = []

    def timings(self) -> dict[str, Timing]:
        """By the name of the stage, in the order of the work."""
        return {
            "audio_encoder": Timing("audio_encoder", "rows", self._hear),
            "vision_encoder": Timing("vision_encoder", "rows", self._see),
            "thinker_prefill": Timing("thinker", "rows", self._read),
            "thinker_decode": Timing("thinker", "tokens", self._write),
            "talker": Timing("talker", "codes", self._speak),
            "flow": Timing("flow", "frames", self._flow),
            "vocoder": Timing("vocoder", "frames", self._vocoder),
        }

    @property
    def _code_s(self) -> float:
        """Seconds of speech of a code."""
        return self._manifest.code_samples / self._manifest.vocoder.rate

    def _hear(self) -> Timed:
        sound = self._work.question(self._manifest)
        assert isinstance(sound.source, np.ndarray)
        return self._encoded(sound, sound.source.size / self._manifest.audio.rate)

    def _see(self) -> Timed:
        # A picture costs what a step of a clip does: temporal_patch frames.
        vision = self._manifest.vision
        return self._encoded(self._work.picture(), vision.temporal_patch / vision.video_fps)

    def _encoded(self, part: Media, sound_s: float) -> Timed:
        perception = self._stages.perception
        perception.features(part)
        start = time.perf_counter()
        rows = perception.rows(part)
        seconds = time.perf_counter() - start
        perception.forget(set())
        found = rows.audio if rows.vision is None else rows.vision
        assert found is not None
        return Timed(len(found), seconds, sound_s)

    def _read(self) -> Timed:
        audio = self._manifest.audio
        rows_per_s = audio_tokens(audio.chunk_frames) / (audio.chunk_frames * audio.hop / audio.rate)
        start = time.perf_counter()
        self._stages.thinker.read(self._reading(self._prefill), self._prefill)
        return Timed(self._prefill, time.perf_counter() - start, self._prefill / rows_per_s)

    def _reading(self, rows: int) -> Reading:
        """Random words, of which nothing is in the cache."""
        thinker = self._stages.thinker
        thinker.context.truncate(0)
        ids = self._work.rng().integers(0, self._manifest.thinker.vocab, rows)
        positions, values = np.broadcast_to(np.arange(rows), (3, rows)).copy(), thinker.embed(ids)
        return Reading(
            ids=ids,
            positions=positions,
            marks=np.zeros(rows, np.int64),
            rows=lambda start, stop: values[start:stop],
            stops=(rows,),
        )

    def _write(self) -> Timed:
        thinker = self._stages.thinker
        thinker.read(self._reading(CONTEXT), CONTEXT)
        sampler = Sampler(self._plan.text, self._manifest.thinker.vocab, self._work.rng())
        start = time.perf_counter()
        for _ in range(STEPS):
            thinker.advance(thinker.pick(sampler))
        seconds = time.perf_counter() - start
        return Timed(STEPS, seconds, STEPS * self._work.codes * self._code_s / self._work.tokens)

    def _speak(self) -> Timed:
        speech, rng = self._stages.speech, self._work.rng()
        speech.keep(0)
        width = self._manifest.talker.rows
        positions = np.broadcast_to(np.arange(CONTEXT + 2), (3, CONTEXT + 2)).copy()
        prompt = rng.standard_normal((CONTEXT, width)).astype(np.float32)
        row = rng.standard_normal(width).astype(np.float32)
        reply = Reply(prompt=prompt, positions=positions, stops=(CONTEXT,), rows=repeat(row))
        sampler = speech.sampler(reply, rng, self._plan.codes)
        codes = speech.codes(reply, self._plan.voice, sampler, Spoken())
        next(codes)  # reads the prompt
        count = min(STEPS, self._plan.codes.max_tokens - 1)
        start = time.perf_counter()
        for _ in range(count):
            next(codes)
        seconds = time.perf_counter() - start
        speech.keep(0)
        return Timed(count, seconds, count * self._code_s)

    def _flow(self) -> Timed:
        spoken, plan = Spoken(), self._plan
        codes = self._work.rng().integers(0, self._manifest.flow.codes, SPOKEN_CODES).tolist()
        noise = Noise(plan.seed, self._manifest.flow.mel_bins)
        self._mels = list(self._stages.speech.mels(codes, plan.voice, noise, plan.solver, spoken))
        return self._sounding(spoken.flow_s)

    def _vocoder(self) -> Timed:
        """Of the mel that the flow has just made."""
        spoken = Spoken()
        for _ in self._stages.speech.sound(self._mels, spoken):
            pass
        return self._sounding(spoken.vocoder_s)

    def _sounding(self, seconds: float) -> Timed:
        return Timed(SPOKEN_CODES * self._manifest.flow.repeats, seconds, SPOKEN_CODES * self._code_s)
