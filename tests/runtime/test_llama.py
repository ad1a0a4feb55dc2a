"""Thinker and talker on llama.cpp: the same rows as on ONNX Runtime, however they are fed, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("llama_cpp")

from omni_edge.models.bundle import Bundle
from omni_edge.models.errors import BundleError, RequestError
from omni_edge.runtime.decoder import Decoder
from omni_edge.runtime.engine import open_decoder
from omni_edge.runtime.llama import BATCH_ROWS, LlamaDecoder

NETWORKS = ("thinker", "talker")
LENGTH = 24
CLOSE = 2e-3
"""To ONNX Runtime, relative: llama.cpp keeps keys and values in half precision."""
SAME = 5e-4
"""To itself, relative: a single row is multiplied in another order than many, and half precision shows it."""
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
cuts = st.lists(st.integers(1, LENGTH - 1), max_size=6, unique=True).map(sorted)


@pytest.fixture(scope="module")
def pairs(both: Bundle) -> dict[str, tuple[Decoder, Decoder]]:
    """llama.cpp and ONNX Runtime."""
    return {n: (open_decoder(both, n, "llama", 1), open_decoder(both, n, "onnx", 1)) for n in NETWORKS}  # pyright: ignore


def sequence(decoder: Any, seed: int = 0, length: int = LENGTH) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and positions that rise in time and do anything on the other axes."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((length, decoder._shape.rows), np.float32)
    times = np.cumsum(rng.integers(1, 4, (1, length)), axis=1)
    return rows, np.concatenate([times, rng.integers(0, 40, (2, length))])


def near(actual: np.ndarray, expected: np.ndarray, allowed: float) -> bool:
    return actual.shape == expected.shape and np.abs(actual - expected).max() <= allowed * np.abs(expected).max()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("length", [1, LENGTH, 2 * BATCH_ROWS + 3])
def test_the_same_as_on_onnx(name, length, pairs):
    results = []
    for decoder in pairs[name]:
        decoder.truncate(0)
        results.append(decoder.extend(*sequence(decoder, length=length)))
        assert decoder.length == length
    for actual, expected in zip(*results, strict=True):
        assert near(actual, expected, CLOSE)


@few
@given(cuts, st.sampled_from(NETWORKS))
def test_any_cut_equals_the_whole(pairs, cut, name):
    decoder = pairs[name][0]
    rows, positions = sequence(decoder)
    decoder.truncate(0)
    whole, last = decoder.extend(rows, positions)
    decoder.truncate(0)
    parts = [decoder.extend(rows[a:b], positions[:, a:b]) for a, b in itertools.pairwise([0, *cut, LENGTH])]
    assert near(np.concatenate([hidden for hidden, _ in parts]), whole, SAME)
    assert near(parts[-1][1], last, SAME)


@few
@given(st.integers(0, LENGTH), st.integers(1, 9), st.sampled_from(NETWORKS))
def test_going_back_is_never_having_been_there(pairs, kept, more, name):
    decoder = pairs[name][0]
    rows, positions = sequence(decoder)
    other, elsewhere = sequence(decoder, seed=1, length=more)
    elsewhere[0] += positions[0, kept - 1] if kept else 0
    results = []
    for read in (kept, LENGTH):
        decoder.truncate(0)
        if read:
            decoder.extend(rows[:read], positions[:, :read])
        decoder.truncate(kept)
        results.append(decoder.extend(other, elsewhere))
    for actual, expected in zip(*results, strict=True):
        assert near(actual, expected, SAME)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_cache_that_grows(name, both, pairs, monkeypatch):
    monkeypatch.setattr("omni_edge.runtime.llama.FIRST_CAPACITY", 256)
    growing = open_decoder(both, name, "llama", 1)
    rows, positions = sequence(growing, length=700)
    parts = [growing.extend(rows[a:b], positions[:, a:b]) for a, b in ((0, 250), (250, 300), (300, 700))]
    decoder = pairs[name][0]
    decoder.truncate(0)
    whole, last = decoder.extend(rows, positions)
    assert near(np.concatenate([hidden for hidden, _ in parts]), whole, SAME)
    assert near(parts[-1][1], last, SAME)
    growing.truncate(260)
    assert near(growing.extend(rows[260:], positions[:, 260:])[0], whole[260:], SAME)


def picture_positions(before: int, height: int, width: int, after: int) -> np.ndarray:
    raster = np.indices((1, height, width)).reshape(3, -1) + before
    end = before + max(height, width)
    text = [np.tile(np.arange(start, start + count), (3, 1)) for start, count in ((0, before), (end, after))]
    return np.concatenate([text[0], raster, text[1]], axis=1)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_larger_than_a_batch(name, pairs):
    positions = picture_positions(5, 15, 20, 4)
    results = []
    for decoder in pairs[name]:
        decoder.truncate(0)
        rows, _ = sequence(decoder, length=positions.shape[1])
        results.append(decoder.extend(rows, positions))
    for actual, expected in zip(*results, strict=True):
        assert near(actual, expected, CLOSE)


def test_a_picture_is_forgotten_as_a_whole(pairs):
    decoder = pairs["thinker"][0]
    positions = picture_positions(5, 4, 6, 4)
    rows, _ = sequence(decoder, length=positions.shape[1])
    decoder.truncate(0)
    _, last = decoder.extend(rows, positions)
    with pytest.raises(ValueError, match="one time"):
        decoder.truncate(12)
    for kept in (29, 5):
        decoder.truncate(kept)
        assert near(decoder.extend(rows[kept:], positions[:, kept:])[1], last, SAME)
    for wrong in (-1, decoder.length + 1):
        with pytest.raises(ValueError, match="cannot truncate"):
            decoder.truncate(wrong)


def test_rows_out_of_order_are_refused_and_change_nothing(pairs):
    decoder = pairs["thinker"][0]
    rows, positions = sequence(decoder)
    decoder.truncate(0)
    decoder.extend(rows[:4], positions[:, :4])
    earlier, twice = positions[:, 3:5] - 5, positions[:, [4, 4]]
    for wrong in (earlier, twice, positions[:, 3:5]):
        with pytest.raises(RequestError, match="--engine onnx"):
            decoder.extend(rows[4:6], wrong)
        assert decoder.length == 4
    assert decoder.reads(positions)
    assert not decoder.reads(twice)


def test_the_context_may_be_filled_but_not_exceeded(both):
    shape = msgspec.structs.replace(both.manifest.thinker, context=LENGTH)
    decoder = LlamaDecoder(both.path("thinker.gguf"), shape, threads=1)
    rows, positions = sequence(decoder)
    decoder.extend(rows[:-1], positions[:, :-1])
    with pytest.raises(RequestError, match=rf"{LENGTH + 1} positions.* {LENGTH}\."):
        decoder.extend(rows[:2], positions[:, -2:])
    decoder.extend(rows[-1:], positions[:, -1:])
    decoder.close()


# Files


def harmed(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_damaged_files(both, tmp_path):
    whole = both.path("thinker.gguf").read_bytes()
    for number, length in enumerate((0, 4, 50, 3000, len(whole) // 2, len(whole) - 4000)):
        path = harmed(tmp_path / f"{number}.gguf", whole[:length])
        with pytest.raises(BundleError, match=r"cannot be loaded: .*Export the checkpoint again") as caught:
            LlamaDecoder(path, both.manifest.thinker)
        assert "\n" not in str(caught.value)
    noise = harmed(tmp_path / "noise.gguf", whole[:100] + b"\xff" * 200 + whole[300:])
    with pytest.raises(BundleError, match="cannot be loaded"):
        LlamaDecoder(noise, both.manifest.thinker)


def test_a_file_of_another_shape_or_a_lost_projection(both, tmp_path):
    with pytest.raises(BundleError, match="width and vocabulary"):
        LlamaDecoder(both.path("thinker.gguf"), both.manifest.talker)
    for content in (b"", b"PK\x03\x04 no more"):
        projection = harmed(tmp_path / "projection.npz", content)
        with pytest.raises(BundleError, match="is not a projection"):
            LlamaDecoder(both.path("talker.gguf"), both.manifest.talker, projection)


def test_a_file_of_another_architecture(both, tmp_path):
    gguf = pytest.importorskip("gguf")
    reader = gguf.GGUFReader(both.path("talker.gguf"))
    # The same weights and sizes under the name of the text-only architecture.
    writer = gguf.GGUFWriter(tmp_path / "other.gguf", "qwen2")
    for field in reader.fields.values():
        if field.name.startswith("qwen2vl.") and "sections" not in field.name:
            writer.add_key_value(field.name.replace("qwen2vl", "qwen2"), field.contents(), field.types[0])
    writer.add_tokenizer_model("none")
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(BundleError, match="architecture qwen2, not qwen2vl"):
        LlamaDecoder(tmp_path / "other.gguf", both.manifest.talker)


def test_a_decoder_lets_go_of_its_memory(both):
    decoder = open_decoder(both, "thinker", "llama", 1)
    assert isinstance(decoder, LlamaDecoder)
    decoder.extend(*sequence(decoder))
    decoder.close()
    decoder.close()
