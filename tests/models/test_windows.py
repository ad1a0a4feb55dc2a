"""Window layouts: every patch in exactly one window, none too large, and the way back to raster order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.windows import WindowLayout, window_layout

grids = st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
merges = st.integers(1, 3)
windows = st.integers(1, 5)


def layout_of(units: tuple[int, int, int], merge: int, window: int) -> WindowLayout:
    return window_layout((units[0], units[1] * merge, units[2] * merge), merge, window)


@given(grids, merges, windows)
def test_every_patch_is_in_one_window_and_in_one_frame(units, merge, window):
    layout = layout_of(units, merge, window)
    count = units[0] * units[1] * units[2] * merge**2
    everyone = np.arange(count)
    assert (np.sort(layout.order) == everyone).all()
    assert (np.sort(layout.windows.reshape(-1)[layout.window_slots]) == everyone).all()
    assert (layout.windows.reshape(-1)[layout.window_slots] == everyone).all()  # so scattering is a plain gather
    assert layout.window_sizes.sum() == count
    assert layout.frames.shape == (units[0], count // units[0])
    assert (np.sort(layout.frames.reshape(-1)) == everyone).all()


@given(grids, merges, windows)
def test_windows_are_squares_of_one_frame(units, merge, window):
    layout = layout_of(units, merge, window)
    side = window * merge
    frame_of = np.empty(layout.order.size, np.int64)
    for frame, members in enumerate(layout.frames):
        frame_of[members] = frame
    for members, size in zip(layout.windows, layout.window_sizes, strict=True):
        inside = members[:size]
        assert (members[size:] == members[0]).all()
        assert len(set(frame_of[inside])) == 1
        tiles = layout.places[inside] // side
        assert (tiles == tiles[0]).all()
        assert size <= side * side


@given(grids, merges, windows)
def test_units_lead_back_to_raster_order(units, merge, window):
    layout = layout_of(units, merge, window)
    # Each unit is the run of merge² patches that starts at unit·merge² in the patch list.
    first = layout.order.reshape(-1, merge**2)[:, 0] // merge**2
    assert (first[layout.units] == np.arange(first.size)).all()
    assert (layout.order.reshape(-1, merge**2) // merge**2 == first[:, None]).all()


@given(grids, merges, windows)
def test_places_are_rows_and_columns_of_the_patch(units, merge, window):
    layout = layout_of(units, merge, window)
    for patch, (row, column) in zip(layout.order, layout.places, strict=True):
        unit, inner = divmod(int(patch), merge**2)
        below, across = divmod(unit % (units[1] * units[2]), units[2])
        assert (row, column) == (below * merge + inner // merge, across * merge + inner % merge)
