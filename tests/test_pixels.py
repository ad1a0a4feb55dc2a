"""Sizes and patches against plain restatements and, where installed, against transformers and torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from omni_edge.models.errors import MediaError
from omni_edge.models.manifest import VisionFrontEnd
from omni_edge.runtime.pixels import MAX_RATIO, clip_patches, clip_size, fit_frame, picture_patches, smart_resize

FRONT = VisionFrontEnd(
    patch=14,
    temporal_patch=2,
    merge=2,
    window=112,
    min_pixels=56 * 56,
    max_pixels=16384 * 28 * 28,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    video_fps=2.0,
    video_min_frames=4,
    video_max_frames=768,
    video_min_pixels=128 * 28 * 28,
    video_max_pixels=768 * 28 * 28,
    video_total_pixels=int(0.9 * 128000 * 28 * 28),
)
FACTOR = 28
ONE_LEVEL = 1 / (255 * min(FRONT.std))
Pixels = npt.NDArray[np.uint8]
sides = st.integers(1, 5000)


def noise(*shape: int) -> Pixels:
    return np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> Pixels:
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [np.sin(rows / 9 + shift) * np.cos(columns / 13 - shift) for shift in range(3)]
    return np.stack([127.5 + 127 * wave for wave in waves], axis=2).astype(np.uint8)


def thin(height: int, width: int) -> bool:
    return max(height, width) / min(height, width) > MAX_RATIO


# --- sizes


@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, low=st.integers(1, 200), more=st.floats(1, 50))
def test_sizes_are_whole_blocks_within_the_limits(height: int, width: int, low: int, more: float) -> None:
    assume(not thin(height, width))
    smallest, largest = low * FACTOR**2, int((low + 1) * more * FACTOR**2)
    rows, columns = smart_resize(height, width, FACTOR, smallest, largest)
    assert rows % FACTOR == columns % FACTOR == 0
    assert min(rows, columns) >= FACTOR
    if round(height / FACTOR) * round(width / FACTOR) * FACTOR**2 < smallest:
        assert rows * columns >= smallest
    else:
        assert rows * columns <= largest or min(rows, columns) == FACTOR
    if smallest <= height * width <= largest and height % FACTOR == width % FACTOR == 0:
        assert (rows, columns) == (height, width)


@pytest.mark.torch
@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, smallest=st.integers(1, 10**6), extra=st.integers(0, 10**7))
def test_sizes_equal_transformers(height: int, width: int, smallest: int, extra: int) -> None:
    theirs = hf_pictures().smart_resize
    if thin(height, width):
        with pytest.raises(ValueError, match="aspect ratio"):
            theirs(height, width, FACTOR, smallest, smallest + extra)
        with pytest.raises(MediaError, match="at most 200 times"):
            smart_resize(height, width, FACTOR, smallest, smallest + extra)
    else:
        expected = theirs(height, width, FACTOR, smallest, smallest + extra)
        assert smart_resize(height, width, FACTOR, smallest, smallest + extra) == expected


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (480, 640, (476, 644)),
        (1080, 1920, (1092, 1932)),
        (1, 1, (56, 56)),
        (14, 200, (28, 224)),
        (10000, 50, (9996, 56)),
    ],
)
def test_known_sizes(height: int, width: int, expected: tuple[int, int]) -> None:
    assert smart_resize(height, width, FACTOR, FRONT.min_pixels, FRONT.max_pixels) == expected


@pytest.mark.parametrize(("height", "width"), [(50, 20000), (20000, 50), (1, 201)])
def test_thin_pictures_are_refused(height: int, width: int) -> None:
    with pytest.raises(MediaError, match=f"measures {width}x{height} pixels"):
        picture_patches(np.zeros((height, width, 3), np.uint8), FRONT)


@settings(max_examples=300, deadline=None)
@given(height=sides, width=sides, pairs=st.integers(1, 384))
def test_measuring_a_clip_twice_changes_nothing(height: int, width: int, pairs: int) -> None:
    """The claim in clip_size: the loader's size is already the processor's, and a fitted clip stays as it is."""
    assume(not thin(height, width))
    frames = 2 * pairs
    limit = max(min(602112, FRONT.video_total_pixels / frames * 2), int(100352 * 1.05))
    loaded = smart_resize(height, width, FACTOR, 100352, limit)
    assume(not thin(*loaded))
    assert clip_size(frames, height, width, FRONT) == loaded
    assert clip_size(frames, *loaded, FRONT) == loaded


def test_a_tight_budget_ends_at_the_size_of_the_second_measure() -> None:
    tight = replace(FRONT, video_total_pixels=100352)
    assert smart_resize(900, 900, FACTOR, 100352, 105369) == (308, 308)
    assert clip_size(8, 900, 900, tight) == (336, 336) == clip_size(8, 336, 336, tight)


def test_a_strip_that_whole_blocks_make_too_long_is_refused() -> None:
    with pytest.raises(MediaError, match="the clip, brought to whole blocks, measures 6188x28 pixels"):
        clip_size(768, 32, 6190, FRONT)


def test_known_clip_sizes() -> None:
    assert clip_size(8, 480, 640, FRONT) == (476, 644)
    assert math.prod(clip_size(8, 1080, 1920, FRONT)) == 720 * 28 * 28
    assert math.prod(clip_size(768, 1080, 1920, FRONT)) <= 235200


# --- patches


def patch_by_patch(frames: Pixels, front: VisionFrontEnd) -> npt.NDArray[np.float64]:
    """The order in words: time, then merge blocks in reading order, then patches in reading order in the block."""
    time, patch, merge = front.temporal_patch, front.patch, front.merge
    scaled = (frames / 255 - np.array(front.mean)) / np.array(front.std)
    block = merge * patch
    rows = [
        scaled[step : step + time, y : y + patch, x : x + patch].transpose(3, 0, 1, 2).ravel()
        for step in range(0, len(frames), time)
        for top in range(0, frames.shape[1], block)
        for left in range(0, frames.shape[2], block)
        for y in range(top, top + block, patch)
        for x in range(left, left + block, patch)
    ]
    return np.stack(rows)


@settings(max_examples=40, deadline=None)
@given(
    patch=st.integers(1, 4),
    merge=st.integers(1, 3),
    time=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    count=st.integers(1, 5),
)
def test_patch_order(patch: int, merge: int, time: int, rows: int, columns: int, count: int) -> None:
    front = replace(FRONT, patch=patch, merge=merge, temporal_patch=time, min_pixels=1, video_min_pixels=1)
    picture = noise(rows * merge * patch, columns * merge * patch)
    ours = picture_patches(picture, front)
    assert ours.grid == (1, rows * merge, columns * merge)
    assert ours.values.shape == (rows * columns * merge**2, 3 * time * patch**2)
    np.testing.assert_allclose(ours.values, patch_by_patch(np.stack([picture] * time), front), atol=1e-6)

    clip = noise(count, rows * merge * patch, columns * merge * patch)
    ours = clip_patches(clip, fps=4.0, front=front)
    whole = np.concatenate([clip, *[clip[-1:]] * (-count % time)])
    assert ours.grid == (len(whole) // time, rows * merge, columns * merge)
    assert ours.step_seconds == time / 4.0
    np.testing.assert_allclose(ours.values, patch_by_patch(whole, front), atol=1e-6)


def hf_pictures() -> Any:
    pytest.importorskip("transformers")
    from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl

    return image_processing_pil_qwen2_vl


@pytest.mark.torch
@pytest.mark.parametrize("size", [(480, 640), (1, 1), (37, 900), (720, 1280), (15, 15), (56, 84), (10, 1000)])
@pytest.mark.parametrize("budget", [None, 200_000])
def test_pictures_equal_transformers(size: tuple[int, int], budget: int | None) -> None:
    processor = hf_pictures().Qwen2VLImageProcessorPil(
        min_pixels=FRONT.min_pixels, max_pixels=budget or FRONT.max_pixels, image_mean=FRONT.mean, image_std=FRONT.std
    )
    for picture in (noise(*size), smooth(*size)):
        theirs = processor(picture, return_tensors="np", input_data_format="channels_last")
        ours = picture_patches(picture, FRONT, max_pixels=budget)
        assert list(ours.grid) == theirs["image_grid_thw"][0].tolist()
        assert ours.values.dtype == np.float32
        assert ours.step_seconds == 0
        np.testing.assert_allclose(ours.values, theirs["pixel_values"], atol=1e-5)


def by_torch(frames: Pixels, *, double: bool) -> npt.NDArray[np.float32]:
    """torchvision's resize of bytes (bicubic on floats, then clamp and round), then the HF video processor's steps."""
    torch = pytest.importorskip("torch")
    size = clip_size(len(frames), *frames.shape[1:3], FRONT)
    video = torch.from_numpy(frames).permute(0, 3, 1, 2).to(torch.float64 if double else torch.float32)
    video = torch.nn.functional.interpolate(video, size=size, mode="bicubic", antialias=True).clamp(0, 255).round()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (FRONT.mean, FRONT.std))
    video = (video.float() - mean) / std
    if len(video) % 2:
        video = torch.cat((video, video[-1:]))
    patches = video.view(1, len(video) // 2, 2, 3, size[0] // 28, 2, 14, size[1] // 28, 2, 14)
    return patches.permute(0, 1, 4, 7, 5, 8, 3, 2, 6, 9).reshape(-1, 3 * 2 * 14 * 14).numpy()


@pytest.mark.torch
@pytest.mark.parametrize("shape", [(4, 120, 160), (3, 240, 426), (2, 720, 404), (2, 280, 364)])
def test_clips_equal_torch(shape: tuple[int, int, int]) -> None:
    """Equal to 1e-4, except that a value which lands on a half may round to the neighbouring byte.

    torch's own float32 weights move some 0.1% of the bytes by one; in double, only true halves differ.
    """
    for frames in (noise(*shape), np.stack([smooth(*shape[1:])] * shape[0])):
        ours = clip_patches(frames, 2.0, FRONT)
        assert ours.step_seconds == 1.0
        for double, part in ((True, 5e-4), (False, 3e-3)):
            apart = np.abs(ours.values - by_torch(frames, double=double))
            assert apart.max() < ONE_LEVEL + 1e-4
            assert (apart > 1e-4).mean() <= part


def test_fitting_is_bounded_and_leaves_fitted_frames_alone() -> None:
    edges = np.zeros((60, 60, 3), np.uint8)
    edges[:, 30:] = 255  # bicubic overshoots here
    fitted = fit_frame(edges, 84, 84)
    assert (fitted[:, :30] < 5).all()
    assert (fitted[:, -30:] > 250).all()
    assert fit_frame(fitted, 84, 84) is fitted


def test_wrong_arrays_are_refused() -> None:
    for wrong in (np.zeros((28, 28), np.uint8), np.zeros((28, 28, 4), np.uint8), np.zeros((28, 28, 3), np.float32)):
        with pytest.raises(MediaError, match=r"must be uint8 \[H, W, 3\]"):
            picture_patches(wrong, FRONT)
    with pytest.raises(MediaError, match=r"must be uint8 \[N, H, W, 3\]"):
        clip_patches(noise(28, 28), 2.0, FRONT)
    with pytest.raises(MediaError, match="no frames"):
        clip_patches(noise(0, 28, 28), 2.0, FRONT)
    with pytest.raises(MediaError, match="no pixels"):
        picture_patches(np.zeros((0, 5, 3), np.uint8), FRONT)
