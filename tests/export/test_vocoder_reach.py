"""How far a sample of the vocoder sees."""

import numpy as np
import pytest

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.vocoder_reach import measured_reach, vocoder_reach
from omni_edge.export.voices import read_voices

pytestmark = pytest.mark.torch


def test_fewer_frames_can_be_heard_than_the_shape_allows(tiny, tmp_path):
    checkpoint = Checkpoint(tiny.checkpoint())
    most = vocoder_reach(checkpoint.config.vocoder)
    mels = [voice.ref_mel for voice in read_voices(checkpoint.folder).values()]
    reach = measured_reach(checkpoint, mels, tmp_path)
    assert 1 < reach <= most
    assert not list(tmp_path.iterdir())


def test_a_mel_of_any_length_will_do(tiny, tmp_path):
    mel = np.full((5, 80), -4.0, np.float32)
    checkpoint = Checkpoint(tiny.checkpoint())
    assert measured_reach(checkpoint, [mel], tmp_path) <= vocoder_reach(checkpoint.config.vocoder)
