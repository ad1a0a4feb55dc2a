"""Pictures and clips to the flat patches the vision encoder takes (FACTS §4.3).

Both are brought to sides that are whole merge blocks, scaled to 0..1, normalised, and cut so that the
patches of one merge block are neighbours. A picture is resized in bytes as Pillow does it, a clip in
floating point as torchvision does it, because the reference processes them so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..models.errors import MediaError
from ..models.manifest import VisionFrontEnd

# Fixed in the reference's code and therefore not in any checkpoint's preprocessor settings.
MAX_RATIO = 200
"""Longest side over shortest side."""
MIN_PIXELS_SLACK = 1.05
"""A long clip's pixel budget never falls below this many times the smallest frame."""


@dataclass(frozen=True)
class Patches:
    """Input of the vision encoder for one picture or clip."""

    values: npt.NDArray[np.float32]
    """[t·h·w, 3·temporal_patch·patch·patch]; each row ordered colour, time, row, column."""
    grid: tuple[int, int, int]
    """(t, h, w): temporal steps, and patches down and across."""
    step_seconds: float
    """Seconds from one temporal step to the next; 0 for a picture, which has a single step."""


def check_ratio(height: int, width: int, name: str) -> None:
    """Refuse a picture or frame so thin that the model has no size for it.

    Raises:
        MediaError: one side is over 200 times the other, or there are no pixels; `name` opens the message.
    """
    if min(height, width) < 1:
        raise MediaError(f"{name} has no pixels ({width}x{height})")
    if max(height, width) / min(height, width) > MAX_RATIO:
        raise MediaError(
            f"{name} measures {width}x{height} pixels, but one side may be at most {MAX_RATIO} times the other. Crop it"
        )


def smart_resize(height: int, width: int, factor: int, min_pixels: int, max_pixels: float) -> tuple[int, int]:
    """The size nearest to this one, in about this shape, that has whole blocks and fits the limits.

    Args:
        height: pixels.
        width: pixels.
        factor: both sides become multiples of this.
        min_pixels: smallest area.
        max_pixels: largest area; it goes before `min_pixels`, and is exceeded only by a strip one block high.

    Returns:
        (height, width) in pixels.

    Raises:
        MediaError: one side is over 200 times the other.
    """
    check_ratio(height, width, "the picture")
    # Python's round() sends halves to the even neighbour. The reference does too.
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows = max(1, math.floor(height / shrink / factor))
        columns = max(1, math.floor(width / shrink / factor))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * grow / factor)
        columns = math.ceil(width * grow / factor)
    return rows * factor, columns * factor


def clip_size(frames: int, height: int, width: int, front: VisionFrontEnd, name: str = "the clip") -> tuple[int, int]:
    """Size that every frame of a clip gets, (height, width): the more frames, the fewer pixels for each.

    Raises:
        MediaError: one side is over 200 times the other, before or after; `name` opens the message.
    """
    check_ratio(height, width, name)
    factor = front.patch * front.merge
    share = front.video_total_pixels / frames * front.temporal_patch
    limit = max(min(front.video_max_pixels, share), int(front.video_min_pixels * MIN_PIXELS_SLACK))
    size = smart_resize(height, width, factor, front.video_min_pixels, limit)
    # The reference measures twice, in its loader and again, without the share, in its processor. With
    # the true settings the second changes nothing: 768 frames still leave 235,200 pixels for each, and
    # rounding such an area down never takes it below the minimum of 100,352. With a tighter budget it
    # can, and then the processor's size is the one that the model sees. Whole blocks can also make a
    # long strip longer than the second measure takes.
    check_ratio(*size, f"{name}, brought to whole blocks,")
    return smart_resize(*size, factor, front.video_min_pixels, front.video_max_pixels)


def fit_frame(rgb: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize one frame, uint8 [H, W, 3] to uint8 [height, width, 3]: bicubic, antialiased, rounded once at the end.

    Pillow rounds to bytes between its two passes when it is given bytes, so it is given floats.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    fitted = np.empty((height, width, 3), np.uint8)
    for colour in range(3):
        plane = Image.fromarray(rgb[:, :, colour].astype(np.float32))
        resized = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        fitted[:, :, colour] = np.rint(np.clip(resized, 0, 255))
    return fitted


def picture_patches(rgb: npt.NDArray[np.uint8], front: VisionFrontEnd, max_pixels: int | None = None) -> Patches:
    """Patches of one picture.

    Args:
        rgb: uint8 [H, W, 3].
        front: patch sizes, pixel limits and normalisation.
        max_pixels: largest area in place of the record's, to spend fewer tokens.

    Raises:
        MediaError: not a colour picture in bytes, or one side is over 200 times the other.
    """
    _check_rgb(rgb, dimensions=3)
    largest = front.max_pixels if max_pixels is None else max_pixels
    height, width = smart_resize(rgb.shape[0], rgb.shape[1], front.patch * front.merge, front.min_pixels, largest)
    if rgb.shape[:2] != (height, width):
        rgb = np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))
    return _cut(np.broadcast_to(rgb, (front.temporal_patch, *rgb.shape)), front, step_seconds=0.0)


def clip_patches(frames: npt.NDArray[np.uint8], fps: float, front: VisionFrontEnd) -> Patches:
    """Patches of one clip.

    Args:
        frames: uint8 [N, H, W, 3] of any size; frames that already have their `clip_size` are not touched.
            When N does not fill the last temporal step, the last frame is repeated.
        fps: frames per second of `frames`.
        front: patch sizes, pixel limits and normalisation.

    Raises:
        MediaError: not colour frames in bytes, no frames, or one side is over 200 times the other.
    """
    _check_rgb(frames, dimensions=4)
    count = len(frames)
    if count == 0:
        raise MediaError("the clip has no frames")
    height, width = clip_size(count, frames.shape[1], frames.shape[2], front)
    if frames.shape[1:3] != (height, width):
        frames = np.stack([fit_frame(frame, height, width) for frame in frames])
    missing = -count % front.temporal_patch
    if missing:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return _cut(frames, front, step_seconds=front.temporal_patch / fps)


def _check_rgb(pixels: npt.NDArray[np.uint8], dimensions: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != dimensions or pixels.shape[-1] != 3:
        wanted = "[H, W, 3]" if dimensions == 3 else "[N, H, W, 3]"
        raise MediaError(f"pixels must be uint8 {wanted} in RGB, not {pixels.dtype} {list(pixels.shape)}")


def _cut(frames: npt.NDArray[np.uint8], front: VisionFrontEnd, step_seconds: float) -> Patches:
    """Order frames, uint8 [N, H, W, 3], as patches, then normalise: moving bytes takes a quarter of the memory."""
    time, patch, merge = front.temporal_patch, front.patch, front.merge
    steps, rows, columns = len(frames) // time, frames.shape[1] // patch, frames.shape[2] // patch
    split = frames.reshape(steps, time, rows // merge, merge, patch, columns // merge, merge, patch, 3)
    # -> step, block row, block column, row in block, column in block | colour, time, row, column
    ordered = split.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7).reshape(-1, 3, time * patch * patch)
    values = ordered.astype(np.float32)
    values *= (1 / (255 * np.array(front.std))).astype(np.float32)[:, None]
    values -= (np.array(front.mean) / np.array(front.std)).astype(np.float32)[:, None]
    return Patches(values.reshape(len(values), -1), (steps, rows, columns), step_seconds)
