"""Which convolutions of the vocoder take how many bytes."""

import pytest

pytest.importorskip("torch")

from omni_edge.export.vocoder_rounding import input_bytes


@pytest.mark.parametrize(
    ("name", "kernels", "count"),
    [
        ("conv_pre.weight", 3, 2),
        ("conv_post.weight", 3, 2),
        ("ups.5.0.weight", 3, 2),
        ("resblocks.5.convs2.2.weight", 3, 2),
        ("resblocks.8.convs1.0.weight", 3, 2),
        ("resblocks.9.convs1.0.weight", 3, 1),
        ("resblocks.17.convs2.0.weight", 3, 1),
        ("resblocks.1.convs1.0.weight", 1, 2),
        ("resblocks.3.convs1.0.weight", 1, 1),
    ],
)
def test_the_first_stages_and_what_is_outside_the_blocks_take_two(name, kernels, count):
    assert input_bytes(f"token2wav.code2wav_bigvgan_model.{name}", kernels) == count


@pytest.mark.torch
def test_progress_comes_to_its_end_in_floats_too(tiny, tmp_path):
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.subnetworks import export_vocoder

    told: list[float] = []
    export_vocoder(Checkpoint(tiny.checkpoint()), tmp_path, None, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 1
