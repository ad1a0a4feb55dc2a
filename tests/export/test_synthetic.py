import json
import shutil
from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import Qwen2_5OmniConfig, Qwen2_5OmniForConditionalGeneration

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.synthetic import ROPE, SMALL_FILES, stored_tensors, write_synthetic
from omni_edge.models.errors import BundleError

pytestmark = pytest.mark.torch
SHARED = Path(__file__).parents[3] / "shared"


@pytest.fixture
def like(tiny, tmp_path):
    """A tiny checkpoint's small files."""
    folder = tmp_path / "like"
    folder.mkdir()
    for name in ("config.json", *SMALL_FILES):
        source = tiny.checkpoint("like-3b") / name
        if source.exists():
            shutil.copyfile(source, folder / name)
        else:
            (folder / name).write_text("{}")
    return folder


def test_names_and_shapes_are_those_of_a_saved_checkpoint(tiny, like):
    config = Qwen2_5OmniConfig.from_dict(json.loads((like / "config.json").read_text()))
    mine = {tensor.name: tensor.shape for tensor in stored_tensors(config) if tensor.name != ROPE}
    with safe_open(tiny.checkpoint("like-3b") / "model.safetensors", "pt") as saved:
        assert mine == {name: tuple(saved.get_slice(name).get_shape()) for name in saved.keys()}  # noqa: SIM118


def test_it_is_sharded_repeatable_and_loads(like, tmp_path, monkeypatch):
    monkeypatch.setattr("omni_edge.export.synthetic.SHARD_BYTES", 500_000)
    monkeypatch.setattr("omni_edge.export.synthetic.BLOCK", 1 << 12)
    written = []
    write_synthetic(like, tmp_path / "one", tick=written.append)
    write_synthetic(like, tmp_path / "two")
    shards = sorted((tmp_path / "one").glob("*.safetensors"))
    assert len(shards) > 2
    assert [shard.read_bytes() for shard in shards] == [
        (tmp_path / "two" / shard.name).read_bytes() for shard in shards
    ]
    assert (
        sum(written)
        == json.loads((tmp_path / "one" / "model.safetensors.index.json").read_text())["metadata"]["total_size"]
    )
    checkpoint = Checkpoint(tmp_path / "one")
    weight = checkpoint.array("thinker.model.layers.0.mlp.down_proj.weight")
    assert 0.8 < weight.std() * weight.shape[1] ** 0.5 < 1.2
    assert abs(checkpoint.array("thinker.model.norm.weight").mean() - 1) < 0.1
    Qwen2_5OmniForConditionalGeneration.from_pretrained(tmp_path / "one")


def test_missing_files_are_named(like, tmp_path):
    (like / "spk_dict.pt").unlink()
    with pytest.raises(BundleError, match=r"lacks spk_dict\.pt.*--files"):
        write_synthetic(like, tmp_path / "out")


@pytest.mark.reference
def test_the_7b_has_its_published_names():
    folder = SHARED / "reference-7b"
    if not folder.exists():
        pytest.skip("the true metadata is not here")
    config = Qwen2_5OmniConfig.from_dict(json.loads((folder / "config.json").read_text()))
    tensors = stored_tensors(config)
    published = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    assert {tensor.name for tensor in tensors} == set(published)
    # FACTS §2.1: predicted payload of the published shards.
    assert sum(tensor.bytes for tensor in tensors) == 22_362_553_472
