"""Pictures, clips and beeps drawn from the grammar's scenes."""

from __future__ import annotations

from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .grammar import CELLS, CLIP_STEPS, Clip, Thing
from .hearing import RATE

SIDE = 112
"""Pixels of a side; one window of the vision encoder."""
FPS = 2
FRAMES_PER_STEP = 2
STEP_SECONDS = FRAMES_PER_STEP / FPS
SMOOTH = 2
"""Scenes are drawn this many times larger, then shrunk, so that edges are soft."""
RADIUS = {"big": (13.0, 16.0), "small": (7.0, 9.0)}
RGB = {
    "red": (215, 35, 35), "green": (40, 165, 60), "blue": (40, 70, 215), "yellow": (240, 215, 40),
    "black": (20, 20, 20), "white": (250, 250, 250), "orange": (245, 135, 25), "purple": (135, 50, 170),
    "pink": (250, 150, 190), "brown": (120, 75, 40),
}  # fmt: skip
BACKGROUND = (110, 225)
"""Darkest and lightest grey of a background: neither black nor white."""
TINT = 22
"""A drawn colour may differ from its table entry by this much in each channel."""


def draw(things: tuple[Thing, ...], rng: Random) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Draw things on a grey ground.

    Returns:
        picture: uint8 [112, 112, 3].
        owners: uint8 [112, 112], 0 for the ground, else 1 + the thing's index.
    """
    grey = rng.randrange(*BACKGROUND)
    return _paint([(thing, *_centre(thing, rng)) for thing in things], [_look(thing, rng) for thing in things], grey)


def draw_clip(clip: Clip, rng: Random) -> tuple[npt.NDArray[np.uint8], list[npt.NDArray[np.uint8]]]:
    """Draw a clip: uint8 [frames, 112, 112, 3], and the owners of each step's first frame."""
    grey = rng.randrange(*BACKGROUND)
    first, last = clip.steps[0], clip.steps[-1]
    x, y = _centre(first, rng)
    cell = SIDE / CELLS
    moved = ((last.column - first.column) * cell, (last.row - first.row) * cell)
    looks = {thing: _look(first, rng)[:1] + _look(thing, rng)[1:] for thing in clip.steps}
    frames, owners = [], []
    count = CLIP_STEPS * FRAMES_PER_STEP
    for index in range(count):
        thing, share = clip.steps[index // FRAMES_PER_STEP], index / (count - 1)
        place = (thing, x + share * moved[0], y + share * moved[1])
        frame, owner = _paint([place], [looks[thing]], grey)
        frames.append(frame)
        if index % FRAMES_PER_STEP == 0:
            owners.append(owner)
    return np.stack(frames), owners


def beep_sound(step: int, rng: Random) -> npt.NDArray[np.float32]:
    """A clip's sound: faint noise, and a short tone in the middle half of one step."""
    generator = np.random.default_rng(rng.getrandbits(32))
    length = int(CLIP_STEPS * STEP_SECONDS * RATE)
    samples = generator.standard_normal(length).astype(np.float32) * rng.uniform(0.0003, 0.01)
    tone = np.arange(int(rng.uniform(0.12, 0.3) * RATE)) / RATE
    start = int((step + rng.uniform(0.2, 0.6)) * STEP_SECONDS * RATE)
    samples[start : start + tone.size] += rng.uniform(0.2, 0.7) * np.sin(2 * np.pi * rng.uniform(500, 1500) * tone)
    return samples


def _centre(thing: Thing, rng: Random) -> tuple[float, float]:
    cell, jitter = SIDE / CELLS, 2.5 if thing.size == "big" else 5.0
    return tuple((place + 0.5) * cell + rng.uniform(-jitter, jitter) for place in (thing.column, thing.row))  # pyright: ignore


def _look(thing: Thing, rng: Random) -> tuple[float, tuple[int, ...]]:
    """Radius and colour."""
    tinted = tuple(min(255, max(0, value + rng.randint(-TINT, TINT))) for value in RGB[thing.colour])
    return rng.uniform(*RADIUS[thing.size]), tinted


def _paint(
    placed: list[tuple[Thing, float, float]], looks: list[tuple[float, tuple[int, ...]]], grey: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    size = (SIDE * SMOOTH, SIDE * SMOOTH)
    picture, owners = Image.new("RGB", size, (grey, grey, grey)), Image.new("L", size, 0)
    brushes = ImageDraw.Draw(picture), ImageDraw.Draw(owners)
    for index, ((thing, x, y), (radius, colour)) in enumerate(zip(placed, looks, strict=True)):
        for brush, fill in zip(brushes, (colour, index + 1), strict=True):
            _stroke(brush, thing.shape, x * SMOOTH, y * SMOOTH, radius * SMOOTH, fill)
    shrunk = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(shrunk), np.asarray(owners.resize((SIDE, SIDE), Image.Resampling.NEAREST))


def _stroke(brush: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, fill: int | tuple[int, ...]) -> None:
    if shape == "circle":
        brush.ellipse((x - r, y - r, x + r, y + r), fill=fill)
    elif shape == "moon":
        brush.chord((x - r, y - r, x + r, y + r), 60, 300, fill=fill)
    else:
        brush.polygon([(x + r * across, y + r * down) for across, down in OUTLINES[shape]], fill=fill)


def _star() -> tuple[tuple[float, float], ...]:
    angles = np.pi * np.arange(10) / 5
    reach = np.where(np.arange(10) % 2, 0.42, 1.1)
    return tuple(zip((reach * np.sin(angles)).tolist(), (-reach * np.cos(angles)).tolist(), strict=True))


OUTLINES: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.88, -0.88), (0.88, -0.88), (0.88, 0.88), (-0.88, 0.88)),
    "triangle": ((0, -1.05), (1.05, 0.85), (-1.05, 0.85)),
    "star": _star(),
    "heart": ((0, 1), (-1, -0.1), (-0.9, -0.7), (-0.45, -0.9), (0, -0.5), (0.45, -0.9), (0.9, -0.7), (1, -0.1)),
    "cross": (
        (-0.35, -1), (0.35, -1), (0.35, -0.35), (1, -0.35), (1, 0.35), (0.35, 0.35), (0.35, 1), (-0.35, 1),
        (-0.35, 0.35), (-1, 0.35), (-1, -0.35), (-0.35, -0.35),
    ),
    "arrow": ((0, -1), (1, 0), (0.35, 0), (0.35, 1), (-0.35, 1), (-0.35, 0), (-1, 0)),
}  # fmt: skip
