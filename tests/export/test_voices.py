"""spk_dict.pt to arrays and back, without ever running what it says."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from omni_edge.export.voices import SPEAKERS, read_voices, voice_arrays, voices_from_arrays
from omni_edge.models.errors import BundleError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference-7b"


def round_trip(folder: Path, through: Path) -> None:
    """Equal to what torch reads, before and after voices.npz."""
    original = torch.load(folder / SPEAKERS, weights_only=True)
    voices = read_voices(folder)
    np.savez(through, **voice_arrays(voices))
    with np.load(through) as arrays:
        again = voices_from_arrays(dict(arrays))
    assert list(original) == list(voices) == list(again)
    for name, speaker in original.items():
        for voice in (voices[name], again[name]):
            assert voice.bos_token == speaker["bos_token"]
            assert voice.cond.dtype == voice.ref_mel.dtype == np.float32
            assert (voice.cond == speaker["cond"].numpy()[0]).all()
            assert (voice.ref_mel == speaker["ref_mel"].numpy()[0]).all()


def test_round_trip(tiny, tmp_path):
    round_trip(tiny.checkpoint("like-3b"), tmp_path / "voices.npz")


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the true metadata is not beside the checkout")
def test_round_trip_of_the_true_voices(tmp_path):
    round_trip(REFERENCE, tmp_path / "voices.npz")
    voices = read_voices(REFERENCE)
    assert {name: voice.bos_token for name, voice in voices.items()} == {"Ethan": 151870, "Chelsie": 151872}
    assert voices["Chelsie"].ref_mel.shape == (400, 80)
    assert voices["Chelsie"].cond.shape == (192,)


def test_the_bundle_holds_them(tiny):
    with np.load(tiny.bundle("like-3b") / "voices.npz") as arrays:
        held = voices_from_arrays(dict(arrays))
    for name, voice in read_voices(tiny.checkpoint("like-3b")).items():
        assert (held[name].ref_mel == voice.ref_mel).all()


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_voices(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_code_in_the_file_is_not_run(tmp_path):
    torch.save({"Chelsie": Malicious(tmp_path / "run")}, tmp_path / SPEAKERS)
    refused(tmp_path)
    (tmp_path / SPEAKERS).write_bytes(pickle.dumps(Malicious(tmp_path / "run"), protocol=2))
    refused(tmp_path)
    assert not (tmp_path / "run").exists()


def test_no_file(tmp_path):
    assert "lacks spk_dict.pt" in refused(tmp_path)


GOOD = {"bos_token": 3, "cond": torch.zeros(1, 12), "ref_mel": torch.zeros(1, 60, 80)}


@pytest.mark.parametrize(
    "content",
    [
        [1, 2],
        {"Chelsie": 3},
        {"Chelsie": {"bos_token": 3}},
        {"Chelsie": {**GOOD, "bos_token": "three"}},
        {"Chelsie": {**GOOD, "cond": [1.0]}},
        {"Chelsie": {**GOOD, "bos_token": torch.zeros(2)}},
    ],
)
def test_other_content(content, tmp_path):
    torch.save(content, tmp_path / SPEAKERS)
    refused(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 no archive"])
def test_damaged_files(content, tmp_path):
    (tmp_path / SPEAKERS).write_bytes(content)
    refused(tmp_path)
