"""Reading a checkpoint tensor by tensor, whole or in shards, and saying what is wrong with a damaged one."""

from __future__ import annotations

import numpy as np
import pytest

from omni_edge.export.checkpoint import INDEX, SINGLE, Checkpoint
from omni_edge.models.errors import BundleError

pytestmark = pytest.mark.torch
HEAD = "thinker.lm_head.weight"


def test_shards_hold_what_one_file_holds(tiny, checkpoint, shard):
    whole, parts = Checkpoint(tiny.checkpoint("like-3b")), Checkpoint(shard(checkpoint, 3))
    assert sorted(whole.files) == sorted(parts.files)
    assert len(set(parts.files.values())) == 3
    for name in whole.files:
        assert whole.shape(name) == parts.shape(name)
        assert (whole.tensor(name) == parts.tensor(name)).all()


def test_rows_and_states(checkpoint):
    opened = Checkpoint(checkpoint)
    table = opened.array(HEAD)
    assert table.dtype == np.float32
    assert (opened.rows(HEAD, 3, 9) == table[3:9]).all()
    state = opened.state("thinker.lm_head.")
    assert list(state) == ["weight"]
    talker = opened.state("talker.", without=("layers",))
    assert talker
    assert not [name for name in talker if "layers" in name]


def test_halves_become_floats(checkpoint):
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / SINGLE)
    save_file({name: tensor.bfloat16() for name, tensor in tensors.items()}, checkpoint / SINGLE)
    read = Checkpoint(checkpoint).array(HEAD)
    assert read.dtype == np.float32
    assert np.abs(read - tensors[HEAD].numpy()).max() < 0.01 * np.abs(read).max()


def refused(folder, read=lambda checkpoint: checkpoint.tensor(HEAD)) -> str:
    with pytest.raises(BundleError) as caught:
        read(Checkpoint(folder))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_no_folder(tmp_path):
    assert "not a folder" in refused(tmp_path / "absent")


def test_no_weights(checkpoint):
    (checkpoint / SINGLE).unlink()
    assert SINGLE in refused(checkpoint)


def test_a_shard_that_is_missing(checkpoint, shard):
    shard(checkpoint, 3)
    (checkpoint / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors" in refused(checkpoint)


def test_a_tensor_that_is_missing(checkpoint):
    from safetensors.torch import load_file, save_file

    tensors = load_file(checkpoint / SINGLE)
    del tensors[HEAD]
    save_file(tensors, checkpoint / SINGLE)
    assert HEAD in refused(checkpoint)
    assert "nothing.*" in refused(checkpoint, lambda opened: opened.state("nothing."))
    assert "nothing" in refused(checkpoint, lambda opened: opened.shape("nothing"))


def test_an_index_that_promises_too_much(checkpoint, shard):
    shard(checkpoint, 2)
    index = checkpoint / INDEX
    index.write_text(
        index.read_text().replace(
            '"weight_map": {', '"weight_map": {"extra.weight": "model-00001-of-00002.safetensors", '
        )
    )
    assert "extra.weight" in refused(checkpoint, lambda opened: opened.tensor("extra.weight"))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', b"\xff"])
def test_a_damaged_index(content, checkpoint):
    (checkpoint / INDEX).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert INDEX in refused(checkpoint)


@pytest.mark.parametrize("harm", ["empty", "cut", "header", "text"])
def test_damaged_weights(harm, checkpoint):
    path = checkpoint / SINGLE
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": content[: len(content) // 2],
            "header": content[:8] + b"\0" * 100 + content[108:],
            "text": b"<html>not found</html>",
        }[harm]
    )
    assert SINGLE in refused(checkpoint)
