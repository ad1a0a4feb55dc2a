"""How fast graphs are: all of a subnetwork's in turn, round after round, so that a busy moment hits them alike."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
from msgspec.structs import replace

from omni_edge.models.bundle import Bundle
from omni_edge.models.manifest import SUBNETWORKS, SubnetworkName
from omni_edge.runtime.encoders import AudioEncoder, VisionEncoder
from omni_edge.runtime.engine import open_decoder, open_session, open_vocoder
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.pixels import picture_patches
from omni_edge.runtime.solver import own_solver

from .bundles import ROUNDS, Bundles
from .page import Row, Speed

PREFILL, STEPS = 128, 64
SIDE = 224
"""Of the picture, in pixels."""
SECONDS = 2.0
"""Of speech that the flow and the vocoder make."""
Measure = Callable[[], dict[str, float]]
"""One timing: by what is timed, seconds for one of it."""
UNITS = {
    "step": "steps/s",
    "row": "rows/s of a prompt",
    "chunk": "ms a 2-second chunk",
    "picture": "ms a picture",
    "second": "s a second of sound",
}
PER_SECOND = frozenset({"step", "row"})
"""Shown as how many a second; the others as how long one takes."""


class Speeds:
    """Times the graphs of all rounds.

    Args:
        bundles: they are there already.
        threads: of one operator; 0 is one a core.
    """

    def __init__(self, bundles: Bundles, threads: int) -> None:
        self._bundles = bundles
        self._threads = threads

    def timed(self, rows: list[Row], rounds: int) -> list[Row]:
        """Rows with their times; the ratio is to the subnetwork's ONNX graph in fp32."""
        return [row for name in SUBNETWORKS for row in self._subnetwork(name, rows, rounds)]

    def _subnetwork(self, name: SubnetworkName, rows: list[Row], rounds: int) -> list[Row]:
        mine = [row for row in rows if row.subnetwork == name]
        measures = [self._opened(row) for row in mine]
        found: list[dict[str, list[float]]] = [defaultdict(list) for _ in mine]
        for number in range(rounds + 1):
            for measure, times in zip(measures, found, strict=True):
                for what, seconds in measure().items():
                    if number:  # the first one warms up
                        times[what].append(seconds)
        medians = [{what: median(seconds) for what, seconds in times.items()} for times in found]
        full = next(each for row, each in zip(mine, medians, strict=True) if row.precision == "fp32")
        return [replace(row, speeds=_speeds(each, full)) for row, each in zip(mine, medians, strict=True)]

    def _opened(self, row: Row) -> Measure:
        each = next(each for each in ROUNDS if (each.kind, each.calibrated) == (row.precision, row.calibrated))
        bundle = self._bundles.made(each, None)
        if row.subnetwork in ("thinker", "talker"):
            return _decoder(bundle, row, self._threads)
        if row.subnetwork == "vocoder":
            return _vocoder(bundle, self._threads)
        session = open_session(bundle, row.subnetwork, self._threads)
        return {"audio_encoder": _audio, "vision_encoder": _vision, "flow": _flow}[row.subnetwork](bundle, session)


def _speeds(each: Mapping[str, float], full: Mapping[str, float]) -> tuple[Speed, ...]:
    return tuple(
        Speed(
            unit=UNITS[what],
            value=1 / seconds if what in PER_SECOND else seconds * (1000 if UNITS[what].startswith("ms") else 1),
            faster=full[what] / seconds,
        )
        for what, seconds in each.items()
    )


def _clock(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _decoder(bundle: Bundle, row: Row, threads: int) -> Measure:
    """A prompt of PREFILL rows, then STEPS single ones."""
    name = "thinker" if row.subnetwork == "thinker" else "talker"
    decoder = open_decoder(bundle, name, row.engine, threads)
    shape = bundle.manifest.thinker if name == "thinker" else bundle.manifest.talker
    count = PREFILL + STEPS
    rows = np.random.default_rng(0).standard_normal((count, shape.rows)).astype(np.float32)
    places = np.broadcast_to(np.arange(count), (3, count)).copy()

    def steps() -> None:
        for index in range(PREFILL, count):
            decoder.extend(rows[index : index + 1], places[:, index : index + 1])

    def measure() -> dict[str, float]:
        decoder.truncate(0)
        prefill = _clock(lambda: decoder.extend(rows[:PREFILL], places[:, :PREFILL]))
        return {"step": _clock(steps) / STEPS, "row": prefill / PREFILL}

    return measure


def _audio(bundle: Bundle, session) -> Measure:  # noqa: ANN001
    front = bundle.manifest.audio
    mel = np.random.default_rng(0).standard_normal((front.mels, front.chunk_frames)).astype(np.float32)
    encoder = AudioEncoder(session, front)
    return lambda: {"chunk": _clock(lambda: encoder.rows(mel))}


def _vision(bundle: Bundle, session) -> Measure:  # noqa: ANN001
    front = bundle.manifest.vision
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    patches, encoder = picture_patches(pixels, front), VisionEncoder(session, front)
    return lambda: {"picture": _clock(lambda: encoder.rows(patches))}


def _flow(bundle: Bundle, session) -> Measure:  # noqa: ANN001
    settings, voice = bundle.manifest.flow, bundle.manifest.voices.default
    flow = Flow(session, settings, bundle.path(settings.tables))
    solver = own_solver(settings)
    # A mel has 100 frames a second.
    codes = np.random.default_rng(0).integers(0, settings.codes, round(100 * SECONDS / settings.repeats))
    noise = Noise(0, settings.mel_bins)
    return lambda: {"second": _clock(lambda: flow.mel(codes, voice, noise, solver)) / SECONDS}


def _vocoder(bundle: Bundle, threads: int) -> Measure:
    vocoder = open_vocoder(bundle, threads)
    frames = round(SECONDS * bundle.manifest.vocoder.rate / bundle.manifest.vocoder.hop)
    mel = np.random.default_rng(0).normal(-4, 2, (frames, bundle.manifest.flow.mel_bins)).astype(np.float32)
    return lambda: {"second": _clock(lambda: list(vocoder.samples(mel))) / SECONDS}
