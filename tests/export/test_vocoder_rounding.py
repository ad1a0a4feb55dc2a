"""Which convolutions of the vocoder take one byte, which two, and how far an export of it says it is."""

import pytest

pytest.importorskip("torch")

from omni_edge.export.config import VocoderConfig
from omni_edge.export.vocoder_rounding import input_bytes


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("conv_pre", 2),
        ("ups.2.0", 2),
        # Three blocks a stage.
        ("resblocks.0.convs1.0", 2),
        ("resblocks.5.convs2.2", 2),
        ("resblocks.6.convs1.0", 1),
        ("resblocks.8.convs2.2", 1),
        ("resblocks.9.convs1.0", 2),
        ("resblocks.16.convs2.0", 2),
        ("conv_post", 0),
    ],
)
def test_one_byte_in_the_middle(name, count):
    config = VocoderConfig(
        mel_bins=80, channels=1536, kernels=(3, 7, 11), dilations=((1, 3, 5),) * 3,
        upsample_rates=(5, 3, 2, 2, 2, 2), upsample_kernels=(11, 7, 4, 4, 4, 4),
    )  # fmt: skip
    assert input_bytes(config)(f"token2wav.code2wav_bigvgan_model.{name}.weight") == count


@pytest.mark.torch
def test_progress_comes_to_its_end_in_floats_too(tiny, tmp_path):
    from omni_edge.export.checkpoint import Checkpoint
    from omni_edge.export.subnetworks import export_vocoder

    told: list[float] = []
    export_vocoder(Checkpoint(tiny.checkpoint()), tmp_path, None, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == 1
