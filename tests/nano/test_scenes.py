from itertools import islice
from random import Random

import numpy as np
import pytest

from omni_edge.models.nano.train import scenes
from omni_edge.models.nano.world import drawing
from omni_edge.models.nano.world.grammar import Clip, Picture, Thing, items
from omni_edge.models.nano.world.lexicon import COLOURS, SHAPES, SIZES


def test_a_picture_has_the_patches_of_one_window():
    seen = scenes.see(Picture((Thing("circle", "red", "big", 0, 0),)), Random(0))
    assert seen.patches.shape == (1, 64, 1176)
    assert seen.shapes.shape == seen.colours.shape == seen.sizes.shape == (1, 16)
    assert seen.beep is None


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", ["red", "yellow"])
def test_labels_lie_where_the_thing_is(shape, colour):
    thing = Thing(shape, colour, "big", 2, 0)
    seen = scenes.see(Picture((thing,)), Random(1))
    filled = np.flatnonzero(seen.shapes[0])
    assert filled.size
    assert set(seen.shapes[0, filled]) == {1 + SHAPES.index(shape)}
    assert set(seen.colours[0, filled]) == {1 + COLOURS.index(colour)}
    assert set(seen.sizes[0, filled]) == {1 + SIZES.index("big")}
    rows, columns = filled // 4, filled % 4
    assert rows.min() >= 2
    assert columns.max() <= 1


def test_each_thing_has_one_centre():
    for item in islice(items("test", 0, 1, "see"), 40):
        scene = item.turns[-1].scene
        seen = scenes.see(scene, Random(0))
        assert seen.centres.sum() == len(scene.things)
        assert (seen.shapes[seen.centres == 1] > 0).mean() > 0.9
        by_shape = seen.counts.reshape(len(SHAPES), -1)
        assert by_shape[:, 0].sum() == by_shape[:, 1:].sum() == len(scene.things)


def test_a_drawn_thing_has_its_colour():
    picture, owners = drawing.draw((Thing("square", "blue", "big", 1, 1),), Random(2))
    inside = picture[owners == 1].mean(0)
    assert inside[2] > 2 * inside[0]
    ground = picture[owners == 0]
    assert np.ptp(ground.astype(int), axis=1).max() < 120
    assert drawing.BACKGROUND[0] <= np.median(ground) <= drawing.BACKGROUND[1]


def test_small_things_are_smaller():
    sizes = {
        size: (drawing.draw((Thing("circle", "red", size, 1, 1),), Random(seed))[1] > 0).sum()
        for size in SIZES
        for seed in range(3)
    }
    assert sizes["big"] > 2 * sizes["small"]


def test_a_thing_moves_through_the_clip():
    steps = tuple(Thing("circle", "red", "big", 1, column) for column in range(3))
    _, owners = drawing.draw_clip(Clip(steps, None), Random(0))
    centres = [np.argwhere(owner)[:, 1].mean() for owner in owners]
    assert centres == sorted(centres)
    assert centres[-1] - centres[0] > 40


@pytest.mark.parametrize("step", range(3))
def test_the_beep_sounds_in_its_step(step):
    samples = drawing.beep_sound(step, Random(step))
    assert samples.size == 3 * 16000
    loud = np.flatnonzero(np.abs(samples) > 0.1) / 16000
    assert step <= loud.min()
    assert loud.max() <= step + 1


def test_every_scene_of_the_grammar_can_be_drawn():
    rng = Random(3)
    for skill in ("see", "watch"):
        for item in islice(items("test", 0, 3, skill), 25):
            seen = scenes.see(item.turns[-1].scene, rng)
            assert np.isfinite(seen.patches).all()
            assert seen.shapes.any()
