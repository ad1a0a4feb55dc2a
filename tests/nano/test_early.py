"""The first block of speech heard before all it hangs on is there: near what it would have been, and no click after it.

With nano's own vocoder, and with the one in bytes, which holds back more than a block.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.precisions import BY_NAME
from omni_edge.export.subnetworks import export_vocoder
from omni_edge.models.bundle import open_bundle
from omni_edge.models.store import resolve
from omni_edge.quant.measures import signal_to_noise
from omni_edge.runtime.engine import open_session, open_vocoder, session_of
from omni_edge.runtime.events import Done
from omni_edge.runtime.flow import Flow
from omni_edge.runtime.loading import load
from omni_edge.runtime.noise import Noise
from omni_edge.runtime.options import Options, decide
from omni_edge.runtime.sounding import Mel, Sounding, early_frames
from omni_edge.runtime.vocoder_parts import vocoder_of

pytestmark = [pytest.mark.slow, pytest.mark.torch]
CHECKPOINT = Path(__file__).parents[2] / "models" / "nano" / "checkpoint"
QUESTIONS = ("What is two plus three?", "What colour is the sky?", "Tell me a story about a ship and the sea.")
BLOCK, AHEAD = 12, 4
"""Codes, of a block and of what is known behind the first one."""


@pytest.fixture(scope="module")
def bundle():
    return open_bundle(resolve("nano"))


@pytest.fixture(scope="module", params=["ships", "bytes"])
def vocoder(request, bundle, tmp_path_factory):
    if request.param == "ships":
        return open_vocoder(bundle, 1)
    folder = tmp_path_factory.mktemp("bytes")
    files = export_vocoder(Checkpoint(CHECKPOINT), folder, BY_NAME["int8-dynamic"].rounding, lambda _: None).files
    sessions = [session_of(folder / file, 1, any_length=True) for file in files if file.endswith(".onnx")]
    return vocoder_of(sessions, bundle.manifest.vocoder, 1)


@pytest.fixture(scope="module")
def beginnings(bundle):
    """Mels of the first 60 codes of speech that begins anywhere in a few answers, each in two chunks, and where."""
    settings, solver, found = bundle.manifest.flow, decide(Options(), bundle.manifest).solver, []
    flow = Flow(open_session(bundle, "flow", 1), settings, bundle.path(settings.tables))
    for question in QUESTIONS:
        *_, done = load("nano").respond(question, options=Options(greedy=True, seed=3))
        assert isinstance(done, Done)
        codes = np.array(done.codes)
        for start in range(0, len(codes) - 3 * BLOCK, 4):
            said = codes[start : start + 5 * BLOCK]
            stream, known = flow.begin(bundle.manifest.voices.default, Noise(start, 80), solver), BLOCK + AHEAD
            first = Mel(stream.step(said[:known], last=False), stream.ahead, False)
            assert len(first.rows) == settings.block
            found.append((start, [first, Mel(stream.step(said[known:], last=True), stream.ahead, True)]))
    return found


def test_the_first_block_is_near_what_it_would_have_been(bundle, vocoder, beginnings):
    hop = bundle.manifest.vocoder.hop
    ratios, steps = [], []
    for start, mels in beginnings:
        sounding = Sounding(vocoder, hop)
        pieces = [np.concatenate(list(sounding.step(mel))) for mel in mels]
        sound, whole = np.concatenate(pieces), vocoder.run(np.concatenate([mel.rows for mel in mels]))
        end = len(pieces[0])
        assert end == early_frames(24, 8) * hop == 16 * hop
        assert np.abs(sound[end + hop :] - whole[end + hop :]).max() < 1e-4
        ratio = signal_to_noise(whole[:end], sound[:end])
        assert ratio > (40 if start == 0 else 20)  # worst where a word's loudest sound comes just behind
        ratios.append(ratio)
        # From the last sample of the guess to the next one, against the largest step from sample to sample around.
        around = np.abs(np.diff(whole[end - hop : end + hop])).max()
        steps.append(abs(np.diff(sound - whole)[end - 1]) / around)
    assert len(ratios) > 10
    assert np.median(ratios) > 45
    assert max(steps) < 0.2
