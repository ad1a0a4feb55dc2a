"""A written decoder is looked at whole, layer by layer."""

import shutil

import numpy as np
import onnx
import pytest

from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.decoder import decoder_of
from omni_edge.export.graphs import tolerance
from omni_edge.export.reference import Reference
from omni_edge.export.validation import validate_decoder
from omni_edge.models.errors import BundleError

pytestmark = pytest.mark.torch


def validate(checkpoint, path, name):
    config, names = decoder_of(checkpoint, name)
    return validate_decoder(path, Reference(checkpoint, config, names), config, tolerance(None), lambda _: None)


@pytest.fixture
def graph(tiny, tmp_path):
    """A copy of a decoder's files."""

    def copy(name):
        for file in (f"{name}.onnx", f"{name}.onnx.data"):
            shutil.copyfile(tiny.bundle() / file, tmp_path / file)
        return tmp_path / f"{name}.onnx"

    return copy


@pytest.mark.parametrize("name", ["thinker", "talker"])
def test_every_layer_has_its_error(tiny, graph, tmp_path, name):
    checkpoint, path = Checkpoint(tiny.checkpoint()), graph(name)
    errors = validate(checkpoint, path, name)
    assert len(errors) == decoder_of(checkpoint, name)[0].layers + 1
    assert max(errors) < 1e-5
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"{name}.onnx", f"{name}.onnx.data"]


@pytest.mark.parametrize(
    ("name", "weight", "place"),
    [
        ("thinker", "thinker.model.layers.1.mlp.down_proj.weight.T", "layer 1"),
        ("thinker", "thinker.model.layers.0.self_attn.q_proj.bias+k_proj+v_proj", "layer 0"),
        ("thinker", "thinker.model.norm.weight", "final norm"),
        ("thinker", "thinker.lm_head.weight.T", "logits"),
        ("talker", "talker.thinker_to_talker_proj.weight.T", "projection"),
    ],
)
def test_a_weight_that_was_written_wrong_is_seen(tiny, graph, name, weight, place):
    path = graph(name)
    tensors = {tensor.name: tensor for tensor in onnx.load(path, load_external_data=False).graph.initializer}
    where = {entry.key: entry.value for entry in tensors[weight].external_data}
    data = path.with_name(f"{path.name}.data")
    if "offset" in where:
        values = np.memmap(data, np.float32, "r+", int(where["offset"]), tuple(tensors[weight].dims))
        values[...] = np.roll(values, 1, axis=0)
        values.flush()
    else:  # small ones lie in the graph itself
        model = onnx.load(path, load_external_data=False)
        inside = next(tensor for tensor in model.graph.initializer if tensor.name == weight)
        rolled = np.roll(onnx.numpy_helper.to_array(inside), 1)
        inside.CopyFrom(onnx.numpy_helper.from_array(rolled, weight))
        onnx.save(model, path)
    with pytest.raises(BundleError, match=rf"{name}\.onnx, {place}: differs from the checkpoint"):
        validate(Checkpoint(tiny.checkpoint()), path, name)
