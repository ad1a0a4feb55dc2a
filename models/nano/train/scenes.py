"""Pictures and clips drawn from the grammar's scenes, with what each of the encoder's tokens shows."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import numpy.typing as npt

from ....models.manifest import VisionFrontEnd
from ....runtime.pixels import clip_patches, picture_patches
from ..world.drawing import FPS, FRAMES_PER_STEP, SIDE, beep_sound, draw, draw_clip
from ..world.grammar import CLIP_STEPS, Clip, Picture, Thing
from ..world.lexicon import COLOURS, SHAPES, SIZES

KINDS = len(SHAPES) * (1 + len(COLOURS))
MOST = 5
"""Things in a picture."""
TOKEN = 28
"""Pixels of a token's side."""
FRONT = VisionFrontEnd(
    patch=14,
    temporal_patch=FRAMES_PER_STEP,
    merge=2,
    window=SIDE,
    min_pixels=SIDE * SIDE,
    max_pixels=SIDE * SIDE,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    video_fps=FPS,
    video_min_frames=4,
    video_max_frames=16,
    video_min_pixels=SIDE * SIDE,
    video_max_pixels=SIDE * SIDE,
    video_total_pixels=16 * SIDE * SIDE,
)


I64 = npt.NDArray[np.int64]
Labels = tuple[I64, I64, I64, I64, I64]
"""Shapes, colours, sizes, centres and counts of `Seen`."""


@dataclass(frozen=True)
class Seen:
    """A scene as the encoder gets it."""

    patches: npt.NDArray[np.float32]
    """[steps, 64, 1176]"""
    shapes: npt.NDArray[np.int64]
    """[steps, 16], 0 where nothing is, else 1 + index in SHAPES."""
    colours: npt.NDArray[np.int64]
    """[steps, 16], likewise for COLOURS."""
    sizes: npt.NDArray[np.int64]
    """[steps, 16], likewise for SIZES."""
    centres: npt.NDArray[np.int64]
    """[steps, 16], 1 on the token in which the middle of a thing lies."""
    counts: npt.NDArray[np.int64]
    """[steps, KINDS], how many there are of each shape, then of each colour of each shape."""
    beep: npt.NDArray[np.float32] | None
    """The clip's own sound at 16 kHz, when it has one."""


def see(scene: Picture | Clip, rng: Random) -> Seen:
    """Draw a scene, cut it into patches and label its tokens."""
    if isinstance(scene, Picture):
        frame, owners = draw(scene.things, rng)
        patches = picture_patches(frame, FRONT).values[None]
        labels = _labels([owners], [scene.things])
        return Seen(patches, *labels, None)
    frames, owners = draw_clip(scene, rng)
    patches = clip_patches(frames, FPS, FRONT).values.reshape(CLIP_STEPS, -1, frames.shape[-1] * FRONT.patch**2 * 2)
    things = [(thing,) for thing in scene.steps]
    beep = None if scene.beep is None else beep_sound(scene.beep, rng)
    return Seen(patches, *_labels(owners, things), beep)


def _labels(owners: list[npt.NDArray[np.uint8]], things: list[tuple[Thing, ...]]) -> Labels:
    """Shape, colour and size of what fills most of each token, 0 where next to nothing does; centres; counts."""
    side = SIDE // TOKEN
    rows = []
    for step, owner in enumerate(owners):
        tokens = owner.reshape(side, TOKEN, side, TOKEN).transpose(0, 2, 1, 3).reshape(side * side, -1)
        counts = np.stack([(tokens == index + 1).sum(1) for index in range(len(things[step]))])
        # A small thing may lie on four tokens; each of them should still count as showing it.
        best = np.where(counts.max(0) * 50 >= TOKEN * TOKEN, counts.argmax(0), -1)
        names = [things[step][index] if index >= 0 else None for index in best]
        rows.append(
            [
                [0 if thing is None else 1 + table.index(value(thing)) for thing in names]
                for table, value in (
                    (SHAPES, lambda thing: thing.shape),
                    (COLOURS, lambda thing: thing.colour),
                    (SIZES, lambda thing: thing.size),
                )
            ]
        )
    shapes, colours, sizes = np.array(rows, np.int64).transpose(1, 0, 2)
    centres = np.stack([_centres(owner, len(shown)) for owner, shown in zip(owners, things, strict=True)])
    return shapes, colours, sizes, centres, np.stack([_counts(shown) for shown in things])


def _counts(things: tuple[Thing, ...]) -> npt.NDArray[np.int64]:
    counts = np.zeros((len(SHAPES), 1 + len(COLOURS)), np.int64)
    for thing in things:
        shape = SHAPES.index(thing.shape)
        counts[shape, 0] += 1
        counts[shape, 1 + COLOURS.index(thing.colour)] += 1
    return counts.ravel()


def _centres(owner: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.int64]:
    """1 on the tokens that hold the middle of a thing: [16]."""
    marked = np.zeros((SIDE // TOKEN, SIDE // TOKEN), np.int64)
    for index in range(count):
        rows, columns = np.nonzero(owner == index + 1)
        if rows.size:
            marked[int(rows.mean()) // TOKEN, int(columns.mean()) // TOKEN] = 1
    return marked.ravel()
