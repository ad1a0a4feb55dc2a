"""Importance matrices from what decoders read, and bundles whose GGUF graphs are fitted to conversations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("llama_cpp")
gguf = pytest.importorskip("gguf")

from omni_edge.export.bundle import export_bundle  # noqa: E402
from omni_edge.export.calibration import Passage  # noqa: E402
from omni_edge.export.checkpoint import Checkpoint  # noqa: E402
from omni_edge.export.correction import correct, is_corrected  # noqa: E402
from omni_edge.export.gguf import write_gguf  # noqa: E402
from omni_edge.export.importance import importance  # noqa: E402
from omni_edge.export.precisions import BY_NAME, choose  # noqa: E402
from omni_edge.models.bundle import open_bundle, verify  # noqa: E402
from omni_edge.models.errors import BundleError  # noqa: E402

pytestmark = pytest.mark.torch
NANO = Path(__file__).parents[2] / "models" / "nano" / "checkpoint"
NAMES = ("thinker", "talker")


def nothing(_: float) -> None:
    pass


def passages(name: str, count: int = 3) -> list[Passage]:
    """Rows of which a few columns are much larger than the others."""
    rng, config = np.random.default_rng(0), getattr(Checkpoint(NANO).config, name)
    scale = np.where(np.arange(config.rows) % 7, 0.02, 1.0).astype(np.float32)
    rows = [scale * rng.standard_normal((20, config.rows), np.float32) for _ in range(count)]
    return [Passage(each, np.broadcast_to(np.arange(20), (3, 20)).copy()) for each in rows]


@pytest.mark.parametrize("name", NAMES)
def test_every_matrix_of_the_file_has_its_importance(name, tmp_path):
    write_gguf(Checkpoint(NANO), name, tmp_path, "f16", nothing)
    parts: list[float] = []
    found = importance(Checkpoint(NANO), name, passages(name), parts.append)
    tensors = gguf.GGUFReader(tmp_path / f"{name}.gguf").tensors
    matrices = {each.name: int(each.shape[0]) for each in tensors if len(each.shape) > 1}
    del matrices["token_embd.weight"]  # rows are taken from it, none is multiplied with it
    assert {label: len(values) for label, values in found.items()} == matrices
    assert all(values.dtype == np.float32 and values.min() >= 0 and values.max() > 0 for values in found.values())
    assert parts == sorted(parts)
    assert parts[-1] == 1


def test_it_is_the_mean_of_the_squares():
    """Of the first matrix's inputs, which are easily made by hand: the rows after the first norm."""
    checkpoint, given = Checkpoint(NANO), passages("thinker")
    rows = np.concatenate([each.rows for each in given]).astype(np.float64)
    rows /= np.sqrt(np.square(rows).mean(1, keepdims=True) + checkpoint.config.thinker.norm_eps)
    rows *= checkpoint.array("thinker.model.layers.0.input_layernorm.weight")
    found = importance(checkpoint, "thinker", given, nothing)
    np.testing.assert_allclose(found["blk.0.attn_q.weight"], np.square(rows).mean(0), rtol=1e-4)
    np.testing.assert_array_equal(found["blk.0.attn_q.weight"], found["blk.0.attn_v.weight"])


@pytest.mark.parametrize("name", NAMES)
def test_it_reaches_the_quantiser(name, tmp_path):
    checkpoint, given = Checkpoint(NANO), passages(name)
    write_gguf(checkpoint, name, tmp_path, "q4_0", nothing)
    plain = (tmp_path / f"{name}.gguf").read_bytes()
    files = correct(checkpoint, name, BY_NAME["q4_0"], given, tmp_path, nothing)()
    fitted = (tmp_path / files[0]).read_bytes()
    write_gguf(checkpoint, name, tmp_path, "q4_0", nothing, importance(checkpoint, name, given, nothing))
    assert len(fitted) == len(plain)
    assert fitted != plain
    assert fitted == (tmp_path / files[0]).read_bytes()


def test_kinds_that_it_changes():
    assert not any(is_corrected(BY_NAME[kind]) for kind in ("fp32", "f32", "f16", "bf16", "q8_0"))
    assert all(is_corrected(BY_NAME[kind]) for kind in ("int8", "int4-asym", "q6_k", "q4_0", "iq2_xxs"))


def test_a_bundle_listens_in_eight_bits_and_is_then_written_as_asked(cheap, tmp_path):
    """iq3_xxs cannot be made without importance, so it cannot be what listens."""
    heard = []

    def listen(folder):
        bundle = open_bundle(folder)
        heard.extend(bundle.manifest.subnetworks[name].graphs[-1].precision for name in NAMES)
        return {name: passages(name) for name in NAMES}

    told = []
    choice = choose(["thinker=fp32", "thinker=iq3_xxs", "talker=int4", "talker=q4_0"])
    manifest = export_bundle(NANO, tmp_path / "bundle", told.append, choice, listen)
    verify(open_bundle(tmp_path / "bundle"))
    assert heard == ["q8_0", "q8_0"]
    made = {name: [each.precision for each in manifest.subnetworks[name].graphs] for name in NAMES}
    assert made == {"thinker": ["fp32", "iq3_xxs"], "talker": ["int4", "q4_0"]}
    steps = list(dict.fromkeys(each.step for each in told))
    fitted = ["listening", "thinker iq3_xxs", "talker int4", "talker q4_0"]
    assert steps[-6:-2] == [f"calibration: {each}" for each in fitted]
    shares = [each.share for each in told]
    assert shares == sorted(shares)
    write_gguf(Checkpoint(NANO), "talker", tmp_path, "q8_0", nothing)
    assert (tmp_path / "bundle" / "talker.gguf").stat().st_size < (tmp_path / "talker.gguf").stat().st_size


def test_an_interrupted_fit_goes_on(cheap, tmp_path):
    calls = []

    def listen(_):
        calls.append("listen")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {name: passages(name) for name in NAMES}

    choice, place = choose(["thinker=q4_0", "talker=q4_0"]), tmp_path / "bundle"
    with pytest.raises(KeyboardInterrupt):
        export_bundle(NANO, place, choice=choice, listen=listen)
    cheap.update(dict.fromkeys(cheap))  # none may be written again
    export_bundle(NANO, place, choice=choice, listen=listen)
    assert calls == ["listen", "listen"]
    verify(open_bundle(place))


def test_what_cannot_be_is_one_line(cheap, inside, tmp_path):
    result = inside("export", NANO, "bundle", "--precision", "thinker=iq2_xs")
    assert "iq2_xs needs an importance matrix; add --calibration built-in" in result.complaint
    assert not list(tmp_path.glob("*bundle*"))
    with pytest.raises(BundleError, match=r"the talker read nothing in the conversations"):
        correct(Checkpoint(NANO), "talker", BY_NAME["q4_0"], [], tmp_path, nothing)
