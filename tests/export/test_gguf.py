"""GGUF files: stock llama.cpp computes from them what transformers computes from the checkpoint."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

llama_cpp = pytest.importorskip("llama_cpp")
gguf = pytest.importorskip("gguf")

from tokenizers import Tokenizer  # noqa: E402
from transformers import Qwen2_5OmniForConditionalGeneration  # noqa: E402

from omni_edge.export.checkpoint import Checkpoint  # noqa: E402
from omni_edge.export.gguf import GGUF_KINDS, check_gguf, write_gguf  # noqa: E402
from omni_edge.export.gguf_check import check_decoder_file  # noqa: E402
from omni_edge.export.gguf_quantise import FTYPES, NEED_IMPORTANCE, read_importance  # noqa: E402
from omni_edge.export.tiny import LIKE_3B, write_tiny  # noqa: E402
from omni_edge.models.errors import BundleError, MissingExtra  # noqa: E402

NANO = Path(__file__).parents[2] / "models" / "nano" / "checkpoint"
TEXT = "<|im_start|>user\nHello, wörld! 123<|im_end|>\n<|im_start|>assistant\n"
# Widths that are multiples of 256, the block of K-quants.
WIDE = replace(
    LIKE_3B, name="wide", hidden=256, heads=4, kv_heads=2, intermediate=512, mrope=(8, 12, 12),
    talker_hidden=256, talker_heads=4, talker_kv_heads=2, talker_head_dim=64, talker_mrope=(16, 16, 0),
    talker_intermediate=512,
)  # fmt: skip


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(write_tiny(tmp_path_factory.mktemp("wide") / "wide", WIDE, seed=3))


def ticks() -> tuple[list[float], object]:
    seen: list[float] = []
    return seen, seen.append


def nothing(_: float) -> None:
    pass


@pytest.mark.parametrize("shape", ["like-3b", "odd"])
@pytest.mark.parametrize(("kind", "allowed"), [("f32", 1e-4), ("f16", 1e-2)])
def test_stock_llama_cpp_answers_text_as_transformers_does(shape, kind, allowed, tiny, tmp_path):
    folder = tiny.checkpoint(shape)
    write_gguf(Checkpoint(folder), "thinker", tmp_path, kind, nothing)
    # Its own default keeps keys and values in half precision, even beside floats.
    floats = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
    stock = llama_cpp.Llama(str(tmp_path / "thinker.gguf"), logits_all=True, n_ctx=256, verbose=False, **floats)
    ids = stock.tokenize(TEXT.encode(), add_bos=False, special=True)
    assert ids == Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids
    thinker = Qwen2_5OmniForConditionalGeneration.from_pretrained(folder).thinker.eval()
    stock.eval(ids)
    with torch.no_grad():
        expected = thinker(input_ids=torch.tensor([ids])).logits[0].numpy()
    assert np.abs(stock.scores[: len(ids)] - expected).max() < allowed
    written = thinker.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :].tolist()
    stock.reset()
    stream = stock.generate(ids, temp=0.0)
    assert [next(stream) for _ in written] == written


@pytest.mark.reference
def test_the_published_tokenizer_splits_text_as_it_does_everywhere(tiny, tmp_path):
    reference = Path(__file__).parents[3] / "shared" / "reference-7b"
    if not reference.exists():
        pytest.skip("no true model metadata here")
    from omni_edge.export.gguf_vocab import add_vocabulary

    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny.checkpoint("like-3b"), folder)
    for name in ("tokenizer.json", "chat_template.json", "config.json"):
        shutil.copyfile(reference / name, folder / name)
    writer = gguf.GGUFWriter(tmp_path / "vocabulary.gguf", "qwen2vl")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_sections([16, 24, 24, 0])
    add_vocabulary(writer, Checkpoint(folder))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    stock = llama_cpp.Llama(str(tmp_path / "vocabulary.gguf"), vocab_only=True, verbose=False)
    own = Tokenizer.from_file(str(reference / "tokenizer.json"))
    texts = (
        TEXT, "I'LL don't 1234567  spaces\n\n tabs\tend ", "我想在apple工作。 ไทย हिन्दी",
        "🦙🦙 👩‍👩‍👧 <|AUDIO|><|audio_bos|>",
        "def f(x):\n    return x**2  # ½ ²\r\n", "<|vision_bos|><|IMAGE|><|vision_eos|>?",
    )  # fmt: skip
    for text in texts:
        assert stock.tokenize(text.encode(), add_bos=True, special=True) == own.encode(text).ids
    assert stock.token_eos() == 151645
    assert stock.metadata["tokenizer.chat_template"]


@pytest.mark.parametrize("name", ["thinker", "talker"])
def test_the_built_in_model_in_the_usual_kinds(name, tmp_path):
    checkpoint = Checkpoint(NANO)
    sizes = []
    for kind in ("f16", "q8_0", "q4_0"):
        seen, tick = ticks()
        files = write_gguf(checkpoint, name, tmp_path, kind, tick)
        assert files[0] == f"{name}.gguf"
        assert files[1:] == (("talker.projection.npz",) if name == "talker" else ())
        assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(name)) == sorted(files)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        sizes.append((tmp_path / files[0]).stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


def test_the_projection_is_the_checkpoints(tmp_path):
    checkpoint = Checkpoint(NANO)
    write_gguf(checkpoint, "talker", tmp_path, "f32", nothing)
    config = checkpoint.config.talker
    with np.load(tmp_path / "talker.projection.npz") as arrays:
        assert arrays["weight"].shape == (config.hidden, config.rows)
        assert np.array_equal(arrays["bias"], checkpoint.array("talker.thinker_to_talker_proj.bias"))


@pytest.mark.parametrize(("kind", "allowed"), [("f32", 1e-5), ("f16", 5e-3)])
def test_how_far_the_finest_kinds_are_from_the_checkpoint(kind, allowed, wide, tmp_path):
    for name in ("thinker", "talker"):
        write_gguf(wide, name, tmp_path, kind, nothing)
        assert check_decoder_file(wide, name, tmp_path / f"{name}.gguf", kind) < allowed


@pytest.mark.parametrize("kind", sorted({"q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "iq4_xs", "q3_k_m", "q2_k"}))
def test_kinds_that_need_nothing_more(kind, wide, tmp_path):
    write_gguf(wide, "thinker", tmp_path, kind, nothing)
    assert [path.name for path in tmp_path.iterdir()] == ["thinker.gguf"]


def test_kinds_without_their_importance_matrix_are_refused_at_once(wide, tmp_path):
    for kind in NEED_IMPORTANCE:
        with pytest.raises(BundleError, match=rf"{kind} needs an importance matrix"):
            write_gguf(wide, "thinker", tmp_path, kind, nothing)
    assert not list(tmp_path.iterdir())


def importance_file(path: Path, checkpoint: Checkpoint) -> Path:
    """As llama-imatrix writes it: sums of squares and counts, the columns drawn."""
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    rng = np.random.default_rng(0)
    config = checkpoint.config.thinker
    for layer in range(config.layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            width = config.intermediate if part == "ffn_down" else config.hidden
            name = f"blk.{layer}.{part}.weight"
            writer.add_tensor(f"{name}.in_sum2", rng.random((1, width), np.float32) * 30)
            writer.add_tensor(f"{name}.counts", np.full((1, 1), 10, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_importance_matrix_changes_what_is_written(wide, tmp_path):
    importance = read_importance(importance_file(tmp_path / "importance.gguf", wide))
    assert importance["blk.0.ffn_down.weight"].shape == (wide.config.thinker.intermediate,)
    assert 0 <= importance["blk.1.attn_q.weight"].min() <= importance["blk.1.attn_q.weight"].max() <= 3
    contents = []
    for given in (None, importance):
        write_gguf(wide, "thinker", tmp_path, "q4_k_m", nothing, given)
        contents.append((tmp_path / "thinker.gguf").read_bytes())
    assert contents[0] != contents[1]
    write_gguf(wide, "thinker", tmp_path, "iq3_xxs", nothing, importance)


def test_files_that_are_no_importance_matrix(wide, tmp_path):
    text = tmp_path / "text"
    text.write_text("nothing of the kind")
    write_gguf(wide, "thinker", tmp_path, "q8_0", nothing)
    for path in (text, tmp_path / "nowhere", tmp_path / "thinker.gguf"):
        with pytest.raises(BundleError, match="llama-imatrix wrote"):
            read_importance(path)


def test_a_talker_wider_inside_than_its_rows_is_refused(tiny, tmp_path):
    with pytest.raises(BundleError, match=r"queries are 96 wide and its rows 40.* onnx"):
        write_gguf(Checkpoint(tiny.checkpoint("like-7b")), "talker", tmp_path, "q8_0", nothing)
    assert not list(tmp_path.iterdir())


def test_kinds_there_are_not(wide):
    with pytest.raises(BundleError, match="no GGUF precision int4; take one of f32"):
        check_gguf(wide, "thinker", "int4")
    assert set(FTYPES) < set(GGUF_KINDS)


def test_values_that_half_precision_cannot_hold(checkpoint, tmp_path):
    from safetensors.torch import load_file, save_file

    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    tensors["thinker.model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(BundleError, match=r"blk\.0\.ffn_up\.weight has values that f16 cannot hold"):
        write_gguf(Checkpoint(checkpoint), "thinker", tmp_path, "f16", nothing)


def test_a_tokenizer_of_another_kind(checkpoint, tmp_path):
    path = checkpoint / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["type"] = "Unigram"
    path.write_text(json.dumps(values))
    with pytest.raises(BundleError, match="no BPE but Unigram"):
        write_gguf(Checkpoint(checkpoint), "thinker", tmp_path, "f16", nothing)


def test_without_llama_cpp_it_says_what_to_install(wide, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match=r"llama-cpp-python.*omni-edge\[llama\]"):
        write_gguf(wide, "thinker", tmp_path, "f16", nothing)
    assert not list(tmp_path.iterdir())
