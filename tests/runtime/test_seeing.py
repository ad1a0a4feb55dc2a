"""Frames one by one: the clip they make, its size, its rate, and what is left out."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import open_bundle
from omni_edge.models.manifest import VisionFrontEnd
from omni_edge.models.store import NANO
from omni_edge.runtime.encoders import VisionEncoder
from omni_edge.runtime.engine import open_session
from omni_edge.runtime.pixels import clip_patches, clip_size
from omni_edge.runtime.seeing import Seeing

BUNDLE = open_bundle(NANO)
CLOCK = BUNDLE.manifest.clock
PUBLISHED = msgspec.structs.replace(
    BUNDLE.manifest.vision,
    video_max_frames=768,
    video_min_pixels=128 * 28 * 28,
    video_max_pixels=768 * 28 * 28,
    video_total_pixels=int(0.9 * 128000 * 28 * 28),
)
"""FACTS §4.3."""


@pytest.fixture(scope="module")
def encoder() -> VisionEncoder:
    return VisionEncoder(open_session(BUNDLE, "vision_encoder", 1), BUNDLE.manifest.vision)


def frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


class Blind:
    """An encoder that looks at nothing."""

    def rows(self, patches) -> np.ndarray:
        return np.zeros((len(patches.values) // 4, 1), np.float32)


def seeing(front: VisionFrontEnd, budget: float | None = None) -> Seeing:
    return Seeing(Blind(), front, CLOCK, budget)  # pyright: ignore


@pytest.mark.parametrize("count", [1, 2, 3, 8, 11])
def test_step_by_step_is_the_whole_clip(count, encoder):
    front = BUNDLE.manifest.vision
    eyes = Seeing(encoder, front, CLOCK, None)
    frames = [frame(100, 130, seed) for seed in range(count)]
    for each in frames:
        eyes.see(each)
        while eyes.step():
            pass
    assert eyes.steps == count // 2  # an odd last frame waits for its pair
    eyes.stop()
    while eyes.step():
        pass
    patches = clip_patches(np.stack(frames), front.video_fps, front)
    assert eyes.grid(eyes.steps) == patches.grid
    assert eyes.step_seconds == patches.step_seconds
    assert (eyes.rows(eyes.steps) == encoder.rows(patches)).all()
    assert (clip_patches(eyes.frames, eyes.fps, front).values == patches.values).all()


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(20, 2200),
    width=st.integers(20, 2200),
    budget=st.none() | st.floats(0.5, 1000),
    published=st.booleans(),
)
def test_what_is_kept_is_what_the_model_is_given(height, width, budget, published):
    """Frames keep their size when they are given again as a clip, and the budget is met where the model can."""
    front = PUBLISHED if published else BUNDLE.manifest.vision
    eyes = seeing(front, budget)
    for number in range(5):
        eyes.see(np.zeros((height, width, 3), np.uint8) if number == 0 else np.zeros((30, 40, 3), np.uint8))
    size = eyes.frames.shape[1:3]
    assert eyes.kept == (5 if eyes.fps == front.video_fps else 3)
    assert all(clip_size(count, *size, front) == size for count in (1, 2, 4, 6))
    tokens = size[0] * size[1] / 28**2 / eyes.step_seconds
    if budget is not None and tokens > budget:
        assert eyes.fps * CLOCK.seconds_per_chunk == front.temporal_patch  # a step a chunk
        # What is left over the limit is a strip that makes blocks whole, at most.
        assert size[0] * size[1] <= front.video_min_pixels + 28 * max(size) * 2 or not published


def test_pictures_end_when_the_model_takes_no_more():
    eyes = seeing(BUNDLE.manifest.vision)
    for _ in range(40):
        eyes.see(frame(112, 112))
    assert (eyes.kept, eyes.seen, eyes.is_over) == (16, 40, True)


def test_pictures_end_before_they_would_have_to_shrink():
    front = msgspec.structs.replace(PUBLISHED, video_total_pixels=20 * PUBLISHED.video_max_pixels)
    eyes = seeing(front)
    for _ in range(60):
        eyes.see(np.zeros((720, 1280, 3), np.uint8))
    size = eyes.frames.shape[1:3]
    assert eyes.is_over
    assert clip_size(eyes.kept, *size, front) == size != clip_size(eyes.kept + 1, *size, front)


def test_a_thin_frame_is_refused_and_another_may_follow():
    eyes = seeing(PUBLISHED)
    with pytest.raises(Exception, match="200 times"):
        eyes.see(frame(2, 900))
    eyes.see(frame(60, 80))
    assert eyes.kept == 1
