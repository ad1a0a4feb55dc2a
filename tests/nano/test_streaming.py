"""The shipped model's speech, streamed: near the whole, and without a click where chunks join."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from omni_edge.models.bundle import open_bundle
from omni_edge.models.store import resolve
from omni_edge.runtime.engine import open_session, open_vocoder
from omni_edge.runtime.events import Done
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options
from omni_edge.runtime.solver import Solver, own_solver

pytestmark = pytest.mark.slow

HOP, WIDTH = 60, 240
"""Samples: 2.5 and 10 ms."""
CHECKPOINT = Path(__file__).parents[2] / "models" / "nano" / "checkpoint"
QUESTIONS = ("What is two plus three?", "What colour is the sky?", "Count to five.")


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(resolve("nano"))


@pytest.fixture(scope="module")
def flow(bundle):
    settings = bundle.manifest.flow
    return Flow(open_session(bundle, "flow", 1), settings, bundle.path(settings.tables))


@pytest.fixture(scope="module")
def codes():
    """Of a few answers, one behind the other."""
    found = []
    for question in QUESTIONS:
        *_, done = load("nano").respond(question, options=Options(greedy=True, seed=3))
        assert isinstance(done, Done)
        found += done.codes
    return np.array(found)


def streamed(flow, codes, voice, solver):
    """Mels, a block at a time."""
    stream = flow.begin(voice, Noise(0, 80), solver)
    parts = [stream.step(codes[at : at + 12], last=False) for at in range(0, len(codes), 12)]
    return [mel for mel in [*parts, stream.step(codes[:0], last=True)] if len(mel)]


def jumps(sound: np.ndarray) -> np.ndarray:
    """How much the spectrum changes from each 10 ms to the next ones: [n], for samples HOP·n."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WIDTH)[::HOP]
    logs = np.log(np.abs(np.fft.rfft(frames * np.hanning(WIDTH))) + 1e-3)
    return np.abs(logs[WIDTH // HOP :] - logs[: -WIDTH // HOP]).mean(1)


def test_no_click_where_chunks_join(bundle, flow, codes):
    """A spectrum may jump there, for speech does; it must not jump more than in sound made all at once."""
    voice, solver = bundle.manifest.voices.default, own_solver(bundle.manifest.flow)
    vocoder = open_vocoder(bundle, 1)
    stream, mels = vocoder.begin(), streamed(flow, codes, voice, solver)
    pieces = [stream.step(mel, last=index == len(mels) - 1) for index, mel in enumerate(mels)]
    whole = vocoder.run(flow.mel(codes, voice, Noise(0, 80), solver))
    more = jumps(np.concatenate(pieces)) - jumps(whole)
    borders = np.cumsum([piece.size for piece in pieces])[:-1]
    mel_borders = np.cumsum([len(mel) for mel in mels])[:-1] * bundle.manifest.vocoder.hop
    near = np.zeros(len(more), np.bool_)
    for place in np.round((np.concatenate([borders, mel_borders]) - WIDTH) / HOP).astype(int):
        near[max(0, place - 1) : place + 2] = True
    assert 30 < near.sum() < len(near) / 2
    assert more[near].mean() < 0.02
    assert more[near].max() <= more[~near].max()
    assert jumps(whole).mean() > 0.2  # which is what 0.02 is small against


@pytest.mark.parametrize("steps", [2, 5])
def test_a_streamed_mel_is_near_the_whole(bundle, flow, codes, steps):
    voice, errors = bundle.manifest.voices.default, []
    for lookahead in (1, 2, 3):
        solver = Solver("euler", steps, 0.0, lookahead)
        whole = flow.mel(codes, voice, Noise(0, 80), solver)
        off = np.concatenate(streamed(flow, codes, voice, solver)) - whole
        errors.append(np.sqrt(np.mean(off**2)) / whole.std())
    # Rounded weights round rows by what else is in the chunk, so an INT8 flow is not exact even with one evaluation.
    assert errors[0] < 0.1
    assert errors[2] <= errors[0] * 1.1


@pytest.fixture(scope="module")
def exact(bundle, tmp_path_factory):
    """The flow in floats, which rounds no row by what else is in the chunk."""
    pytest.importorskip("torch")
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.subnetworks import export_flow

    folder = tmp_path_factory.mktemp("flow")
    written = export_flow(Checkpoint(CHECKPOINT), folder, None, lambda _: None)
    settings = bundle.manifest.flow
    return Flow(ort.InferenceSession(folder / written.graph), settings, bundle.path(settings.tables))


@pytest.mark.torch
def test_in_floats_a_stream_with_enough_look_ahead_is_the_whole(bundle, exact, codes):
    voice = bundle.manifest.voices.default

    def off(lookahead):
        solver = Solver("euler", 5, 0.5, lookahead)
        whole = exact.mel(codes, voice, Noise(0, 80), solver)
        return np.abs(np.concatenate(streamed(exact, codes, voice, solver)) - whole).max()

    assert off(4) < 1e-3
    assert off(1) > 1e-2
