"""`omni-edge export` on what cannot be exported: one line, a status, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from omni_edge.export.bundle import export_bundle
from omni_edge.models.bundle import open_bundle

pytestmark = pytest.mark.torch


def remove_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["talker.codec_head.weight"]
    save_file(tensors, folder / "model.safetensors")


def harm(folder: Path, case: str, shard) -> None:
    weights = folder / "model.safetensors"
    if case == "shard":
        shard(folder, 2)
        (folder / "model-00002-of-00002.safetensors").unlink()
    elif case == "tensor":
        remove_tensor(folder)
    elif case == "corrupt":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif case == "voice":
        (folder / "spk_dict.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    elif case == "shape":
        values = json.loads((folder / "config.json").read_text())
        values["token2wav_config"]["dit_config"]["num_embeds"] = 78
        (folder / "config.json").write_text(json.dumps(values))
    else:
        (folder / case).unlink()


CASES = {
    "shard": "model-00002-of-00002.safetensors",
    "tensor": "talker.codec_head.weight",
    "corrupt": "model.safetensors",
    "voice": "spk_dict.pt",
    "shape": "num_embeds|config.json",
    "spk_dict.pt": "spk_dict.pt",
    "config.json": "config.json",
    "model.safetensors": "model.safetensors",
    "tokenizer.json": "tokenizer.json",
}


@pytest.mark.parametrize("case", CASES)
def test_checkpoints_that_are_not_whole(case, checkpoint, cheap, shard, inside, tmp_path, monkeypatch):
    from omni_edge.export.subnetworks import EXPORTS

    if case in ("tensor", "shape"):  # found by the exporter of that network itself
        cheap.update({name: EXPORTS[name] for name in ("talker", "flow")})
    harm(checkpoint, case, shard)
    place = tmp_path / "out" / "bundle"
    outcome = inside("export", checkpoint, place)
    lines = [line for line in outcome.err.splitlines() if not line.startswith("[")]
    assert outcome.code == 1
    assert len(lines) == 1, outcome.err
    assert str(checkpoint) in lines[0]
    assert any(word in lines[0] for word in CASES[case].split("|"))
    assert not place.exists()
    assert not place.parent.exists() or not any(place.parent.iterdir())


@pytest.mark.parametrize("name", ["absent", "8b", "./no/such/folder"])
def test_no_such_checkpoint(name, inside, tmp_path):
    assert name.rpartition("/")[2] in inside("export", name, "bundle").complaint
    assert not any(tmp_path.iterdir())


def test_a_folder_without_a_place(checkpoint, inside):
    assert "BUNDLE" in inside("export", checkpoint).complaint


def test_a_known_checkpoint_that_was_not_pulled(inside, monkeypatch, tmp_path):
    monkeypatch.setattr("omni_edge.models.hub.cached_snapshot", lambda _: None)
    assert "omni-edge pull 7b" in inside("export", "7b").complaint


def test_a_good_checkpoint(checkpoint, cheap, inside, tmp_path):
    outcome = inside("export", checkpoint, "bundle")
    assert outcome.code == 0, outcome.err
    assert outcome.out.strip() == "bundle"
    assert 'omni-edge run --model "bundle"' in outcome.err
    assert open_bundle(tmp_path / "bundle").manifest.name == "checkpoint"


def test_without_the_extra_one_line_says_what_to_install(checkpoint, inside, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "omni_edge.export.bundle")
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("omni_edge.export.")]:
        monkeypatch.delitem(sys.modules, name)
    complaint = inside("export", checkpoint, "bundle").complaint
    assert "pip install 'omni-edge[export]'" in complaint
    assert "torch" in complaint


def test_a_bundle_survives_a_second_export_that_fails(checkpoint, cheap, inside, tmp_path, shard):
    export_bundle(checkpoint, tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    (broken / "config.json").unlink()
    assert "config.json" in inside("export", broken, "bundle").complaint
    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
