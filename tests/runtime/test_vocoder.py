"""Windows of the vocoder join without a seam."""

import numpy as np
import pytest

from omni_edge.runtime import vocoder as module
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.vocoder import Vocoder


@pytest.fixture(scope="module")
def vocoder(bundle) -> Vocoder:
    return Vocoder(open_session(bundle, "vocoder", 1), bundle.manifest.vocoder)


@pytest.mark.parametrize(("frames", "window"), [(1, 1), (13, 5), (50, 7), (50, 50), (50, 49)])
def test_windows_equal_one_run(frames, window, vocoder, bundle, monkeypatch):
    mel = (np.random.default_rng(frames).standard_normal((frames, 80)) * 2.5 - 5.5).astype(np.float32)
    (whole,) = vocoder.samples(mel)
    monkeypatch.setattr(module, "WINDOW", window)
    pieces = list(vocoder.samples(mel))
    hop = bundle.manifest.vocoder.hop
    assert [piece.size for piece in pieces] == [min(window, frames - at) * hop for at in range(0, frames, window)]
    assert whole.size == frames * hop
    assert np.abs(np.concatenate(pieces) - whole).max() < 1e-5
    assert np.abs(whole).max() <= 1


def test_a_sample_depends_on_its_reach_and_no_more(vocoder, bundle):
    reach, hop = bundle.manifest.vocoder.reach, bundle.manifest.vocoder.hop
    mel = np.full((2 * reach + 20, 80), -4.0, np.float32)
    other = mel.copy()
    other[-1] = 0.0
    (one,), (two,) = vocoder.samples(mel), vocoder.samples(other)
    changed = np.flatnonzero(np.abs(one - two) > 1e-6)
    assert changed.size
    assert changed[0] >= (len(mel) - 1 - reach) * hop


def test_no_mel_is_no_sound(vocoder):
    assert list(vocoder.samples(np.empty((0, 80), np.float32))) == []
