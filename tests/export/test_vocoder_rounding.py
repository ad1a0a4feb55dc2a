"""Which convolutions of the vocoder take bytes, and how far an export of it says it is."""

import pytest

pytest.importorskip("torch")

from omni_edge.export.vocoder_rounding import input_bytes


@pytest.mark.parametrize(
    ("name", "count"),
    [("conv_pre.weight", 2), ("ups.5.0.weight", 2), ("resblocks.17.convs2.0.weight", 2), ("conv_post.weight", 0)],
)
def test_all_but_the_one_that_makes_samples_take_two(name, count):
    assert input_bytes(f"token2wav.code2wav_bigvgan_model.{name}") == count


@pytest.mark.torch
def test_progress_comes_to_its_end_in_floats_too(tiny, tmp_path):
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.subnetworks import export_vocoder

    told: list[float] = []
    export_vocoder(Checkpoint(tiny.checkpoint()), tmp_path, None, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 1
