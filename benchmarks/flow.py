"""The flow against the reference traced: `python -m benchmarks.flow CHECKPOINT BUNDLE WORK`.

Prints the time of one evaluation of either, with guidance and without, that of a streamed second of speech against
the reference's windows (48 frames back, 72 kept, 24 ahead), and how far streamed mels are from whole ones at 1, 2 and
3 blocks of look-ahead. Traces lie in WORK and are made once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime as ort

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.solver import Solver, own_solver

from .interleaved import medians, table
from .lookahead import off
from .traced import trace_flow

FRAMES, KEPT = 144, 72
EVALUATIONS = 4
CHUNKS = (1, 2, 4, 8, 16)
"""Blocks."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("checkpoint", "bundle", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    bundle = open_bundle(given.bundle)
    settings = bundle.manifest.flow
    flow = Flow(open_session(bundle, "flow", given.threads), settings, bundle.path(settings.tables))
    windows = {}
    for guided in (True, False):
        reference = _traced(Checkpoint(given.checkpoint), given.work, guided, given.threads)
        solver = Solver("euler", 2, 0.5 if guided else 0.0)
        own = _codes(bundle, FRAMES // settings.repeats)
        runs = {
            "traced, floats": reference,
            "bundle": lambda own=own, solver=solver: _mel(flow, bundle, own, solver),
        }
        windows = medians(runs, given.rounds)
        print(f"One evaluation of {FRAMES} frames, {'with' if guided else 'without'} guidance:")
        print(table(windows, "traced, floats"))
    times = {"traced, windows": windows["traced, floats"] * EVALUATIONS * 100 / KEPT}
    for blocks in CHUNKS:
        times[f"streamed, {blocks} blocks"] = _stream(flow, bundle, blocks, given.rounds)
    print(f"A second of speech under way, {EVALUATIONS} evaluations without guidance:")
    print(table(times, "traced, windows"))
    _lookahead(flow, bundle)


def _codes(bundle: Bundle, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, bundle.manifest.flow.codes, count)


def _mel(flow: Flow, bundle: Bundle, codes: np.ndarray, solver: Solver) -> np.ndarray:
    return flow.mel(codes, bundle.manifest.voices.default, Noise(0, bundle.manifest.flow.mel_bins), solver)


def _traced(checkpoint: Checkpoint, work: Path, guided: bool, threads: int):  # noqa: ANN202
    path = work / f"flow-{FRAMES}-{'guided' if guided else 'alone'}" / "flow.onnx"
    feeds = path.with_name("feeds.npz")
    if not feeds.exists():
        inputs = trace_flow(checkpoint, path, FRAMES, guided=guided)
        np.savez(feeds, **{name: value.numpy() for name, value in inputs.items()})
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(path, options)
    wanted = {each.name for each in session.get_inputs()}
    given = {name: value for name, value in np.load(feeds).items() if name in wanted}
    return lambda: session.run(None, given)


def _stream(flow: Flow, bundle: Bundle, blocks: int, rounds: int) -> float:
    """Seconds for a second of speech."""
    settings = bundle.manifest.flow
    size = settings.block // settings.repeats
    stream = flow.begin(
        bundle.manifest.voices.default, Noise(0, settings.mel_bins), Solver("euler", EVALUATIONS + 1, 0)
    )
    codes = _codes(bundle, blocks * size)
    stream.step(_codes(bundle, 2 * size), last=False)
    step = medians({"step": lambda: stream.step(codes, last=False)}, rounds)["step"]
    return step * 100 / (blocks * settings.block)


def _lookahead(flow: Flow, bundle: Bundle) -> None:
    settings = bundle.manifest.flow
    said = [(_codes(bundle, 12 * settings.block // settings.repeats), bundle.manifest.voices.default)]
    for blocks in (1, 2, 3):
        found = off(flow, said, own_solver(settings), blocks)
        print(
            f"{blocks} blocks of look-ahead, the bundle's own schedule: mels off by {found.mean:.2g} on the average, "
            f"{found.largest:.2g} at most, {found.relative:.2g} of their deviation"
        )


if __name__ == "__main__":
    main()
