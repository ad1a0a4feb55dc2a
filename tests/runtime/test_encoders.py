"""Sounds by chunks equal the whole sound; a clip is its frames."""

from __future__ import annotations

import numpy as np
import pytest

from omni_edge.runtime.encoders import AudioEncoder, VisionEncoder
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.mel import audio_tokens, log_mel
from omni_edge.runtime.pixels import Patches, clip_patches, picture_patches


@pytest.fixture(scope="module")
def hear(bundle) -> AudioEncoder:
    return AudioEncoder(open_session(bundle, "audio_encoder", 1), bundle.manifest.audio)


@pytest.fixture(scope="module")
def see(bundle) -> VisionEncoder:
    return VisionEncoder(open_session(bundle, "vision_encoder", 1), bundle.manifest.vision)


def sound(bundle, seconds: float) -> np.ndarray:
    samples = np.random.default_rng(2).standard_normal(int(16000 * seconds)).astype(np.float32) * 0.1
    return log_mel(samples, bundle.manifest.audio)


@pytest.mark.parametrize("seconds", [0.04, 0.5, 2.0, 2.03, 5.37, 8.0])
def test_chunk_by_chunk_equals_the_whole_sound(seconds, bundle, hear):
    mel = sound(bundle, seconds)
    step = bundle.manifest.audio.chunk_frames
    whole = hear.rows(mel)
    assert len(whole) == audio_tokens(mel.shape[1])
    # A rest of one or two frames makes no token of its own, as in the whole.
    cuts = [mel[:, start : start + step] for start in range(0, mel.shape[1], step)]
    parts = [hear.rows(cut) for cut in cuts if audio_tokens(cut.shape[1])]
    assert (np.concatenate(parts) == whole).all()


def test_a_clip_is_its_frames(bundle, see):
    front = bundle.manifest.vision
    frames = np.random.default_rng(4).integers(0, 256, (6, 200, 336, 3), np.uint8)
    clip = clip_patches(frames, 2.0, front)
    time, height, width = clip.grid
    assert time == 3
    whole = see.rows(clip)
    assert whole.shape == (time * height * width // front.merge**2, bundle.manifest.thinker.hidden)
    steps = clip.values.reshape(time, height * width, -1)
    alone = [see.rows(Patches(step, (1, height, width), 1.0)) for step in steps]
    assert (np.concatenate(alone) == whole).all()


def test_rows_come_in_raster_order(bundle, see):
    """What changes in the bottom right corner shows most in the last row, whatever windows do to the order."""
    front = bundle.manifest.vision
    side = front.patch * front.merge
    picture = np.full((5 * side, 7 * side, 3), 90, np.uint8)
    other = picture.copy()
    other[-side:, -side:] = np.random.default_rng(0).integers(0, 256, (side, side, 3))
    one, two = (see.rows(picture_patches(rgb, front)) for rgb in (picture, other))
    assert len(one) == 35
    assert int(np.abs(one - two).sum(axis=1).argmax()) == 34
