"""How far a part of the vocoder sees."""

import numpy as np
import pytest

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.vocoder_reach import measured_reaches, part_reach
from omni_edge.export.voices import read_voices

pytestmark = pytest.mark.torch


def most(checkpoint) -> list[int]:
    config = checkpoint.config.vocoder
    return [part_reach(config, part) for part in range(len(config.upsample_rates))]


def test_fewer_rows_can_be_heard_than_the_shape_allows(tiny, tmp_path):
    checkpoint = Checkpoint(tiny.checkpoint())
    mels = [voice.ref_mel for voice in read_voices(checkpoint.folder).values()]
    reaches = measured_reaches(checkpoint, mels, tmp_path)
    assert all(1 < reach <= limit for reach, limit in zip(reaches, most(checkpoint), strict=True))
    assert sum(reaches) < sum(most(checkpoint))
    assert not list(tmp_path.iterdir())


def test_a_mel_of_any_length_will_do(tiny, tmp_path):
    mel = np.full((5, 80), -4.0, np.float32)
    checkpoint = Checkpoint(tiny.checkpoint())
    reaches = measured_reaches(checkpoint, [mel], tmp_path)
    assert all(reach <= limit for reach, limit in zip(reaches, most(checkpoint), strict=True))


def test_the_shape_allows_what_a_single_row_changes(tiny, tmp_path):
    """And not a row more: the row at the limit changes the sound, or none farther away does."""
    from omni_edge.export.graphs import open_graph
    from omni_edge.export.vocoder import whole_parts

    checkpoint = Checkpoint(tiny.checkpoint())
    with whole_parts(checkpoint, tmp_path) as paths:
        sessions = [open_graph(path) for path in paths]
    rng = np.random.default_rng(0)
    for session, limit, rate in zip(sessions, most(checkpoint), checkpoint.config.vocoder.upsample_rates, strict=True):
        channels = session.get_inputs()[0].shape[2]
        rows = (rng.standard_normal((1, 2 * limit + 9, channels)) - 4).astype(np.float32)
        other = rows.copy()
        other[0, -1] += 1
        changed = session.run(None, {"rows": rows})[0] != session.run(None, {"rows": other})[0]
        first = int(np.flatnonzero(changed.any((0, 2)))[0])
        assert first >= (rows.shape[1] - 1 - limit) * rate
        assert first < (rows.shape[1] - limit // 2) * rate
