"""config.json in both spellings, and files that are no Qwen2.5-Omni configuration."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from omni_edge.export.config import read_config
from omni_edge.models.errors import BundleError

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference-7b"
RENAMED = {
    "dit_config": {"hidden_size": "dim", "num_hidden_layers": "depth", "num_attention_heads": "heads"},
    "vision_config": {"hidden_size": "embed_dim", "patch_size": "spatial_patch_size", "in_channels": "in_chans"},
}
"""Keys of transformers 5 -> those of the published file."""
pytestmark = pytest.mark.torch


@pytest.fixture
def values(tiny) -> dict[str, Any]:
    return json.loads((tiny.checkpoint("like-3b") / "config.json").read_text())


def published(values: dict[str, Any]) -> dict[str, Any]:
    """The same model in the spelling of the published files."""
    values = copy.deepcopy(values)
    thinker, talker = values["thinker_config"], values["talker_config"]
    for decoder in (thinker["text_config"], talker):
        rope = decoder.pop("rope_parameters")
        decoder["rope_theta"] = rope.pop("rope_theta")
        decoder["rope_scaling"] = {**rope, "type": "default"}
    sections = {**values["token2wav_config"], **thinker}
    for name, keys in RENAMED.items():
        for new, old in keys.items():
            sections[name][old] = sections[name].pop(new)
    dit = sections["dit_config"]
    dit["rope_theta"] = dit.pop("rope_parameters")["rope_theta"]
    for kind in ("audio", "image", "video"):
        assert f"{kind}_token_index" in thinker
    return values


def write(folder: Path, values: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(values))
    return path


def test_both_spellings_are_the_same_model(values, tmp_path):
    new = read_config(write(tmp_path, values))
    old = read_config(write(tmp_path, published(values)))
    assert old == new


def test_what_transformers_5_renames_further(values, tmp_path):
    expected = read_config(write(tmp_path, values))
    for kind in ("audio", "image", "video"):
        thinker = values["thinker_config"]
        thinker[f"{kind}_token_id"] = thinker.pop(f"{kind}_token_index")
    assert read_config(write(tmp_path, values)) == expected


def test_class_defaults_that_the_published_file_leaves_out(values, tmp_path):
    dit = values["token2wav_config"]["dit_config"]
    for key in ("block_size", "look_ahead_layers", "look_backward_layers"):
        del dit[key]
    flow = read_config(write(tmp_path, values)).flow
    assert (flow.block, flow.look_ahead, flow.look_backward) == (24, (10,), (0, 20))


@pytest.mark.reference
@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the true metadata is not beside the checkout")
def test_the_published_7b():
    config = read_config(REFERENCE / "config.json")
    assert (config.thinker.hidden, config.thinker.layers, config.thinker.mrope_section) == (3584, 28, (16, 24, 24))
    assert (config.talker.hidden, config.talker.head_dim, config.talker.vocab) == (896, 128, 8448)
    assert (config.flow.layers, config.flow.num_embeds, config.flow.look_backward) == (22, 8193, (0, 20))
    assert (config.vision.hidden, config.vision.patch, config.vision.full_blocks) == (1280, 14, (7, 15, 23, 31))
    assert (config.tokens.codec_end, config.tokens.eos, config.tokens.audio) == (8294, (151645,), 151646)


def refused(path: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_config(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "{}", '{"model_type": "llama"}', b"\xff\xfe"])
def test_other_files(content, tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(path)


def test_no_file(tmp_path):
    assert "does not exist" in refused(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (("thinker_config",), "text_config"),
        (("thinker_config", "text_config"), "hidden_size"),
        (("thinker_config", "audio_config"), "n_window"),
        (("thinker_config", "text_config", "rope_parameters"), "mrope_section"),
        (("talker_config",), "head_dim"),
        (("token2wav_config", "dit_config"), "repeats"),
        ((), "token2wav_config"),
    ],
)
def test_a_key_that_is_missing_is_named(section, key, values, tmp_path):
    place = values
    for name in section:
        place = place[name]
    del place[key]
    assert key in refused(write(tmp_path, values))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (("thinker_config", "text_config"), "num_attention_heads", 0),
        (("thinker_config", "text_config"), "num_attention_heads", "four"),
        (("thinker_config", "text_config", "rope_parameters"), "mrope_section", [2, 6]),
        (("thinker_config", "text_config", "rope_parameters"), "mrope_section", [2, 3, 4]),
        (("thinker_config", "text_config", "rope_parameters"), "mrope_section", 7),
        (("thinker_config", "text_config"), "rope_parameters", 3),
        (("thinker_config", "vision_config"), "fullatt_block_indexes", 3),
        (("thinker_config", "audio_config"), "output_dim", 65),
        (("talker_config",), "embedding_size", 65),
        (("thinker_config",), "audio_config", 3),
    ],
)
def test_values_that_cannot_be(section, key, value, values, tmp_path):
    place = values
    for name in section:
        place = place[name]
    place[key] = value
    refused(write(tmp_path, values))
