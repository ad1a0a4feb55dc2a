"""Both encoders in llama.cpp's own format: its multimodal library loads them and sees what our encoder sees."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest

llama_cpp = pytest.importorskip("llama_cpp")
pytest.importorskip("gguf")

from omni_edge.export.checkpoint import Checkpoint  # noqa: E402
from omni_edge.export.gguf import write_gguf  # noqa: E402
from omni_edge.export.mmproj import write_mmproj  # noqa: E402
from omni_edge.models.bundle import open_bundle  # noqa: E402
from omni_edge.models.errors import BundleError  # noqa: E402
from omni_edge.models.llama import LlamaGraph  # noqa: E402
from omni_edge.runtime.encoders import VisionEncoder  # noqa: E402
from omni_edge.runtime.engine import open_session  # noqa: E402
from omni_edge.runtime.pixels import picture_patches  # noqa: E402

NANO = Path(__file__).parents[2] / "models" / "nano"
TEXT = 0
"""Type of a chunk that is text."""


class Mtmd:
    """llama.cpp's multimodal library on a thinker and its encoders."""

    def __init__(self, thinker: Path, mmproj: Path) -> None:
        self.library: Any = pytest.importorskip("llama_cpp.mtmd_cpp")
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        self.library.mtmd_helper_log_set(self.quiet, None)
        self.graph = LlamaGraph(thinker)
        parameters = self.library.mtmd_context_params_default()
        parameters.use_gpu = parameters.warmup = False
        parameters.n_threads = 1
        self.context = self.library.mtmd_init_from_file(bytes(mmproj), self.graph.handle, parameters)

    def rows(self, bitmap: Any) -> np.ndarray:
        """A medium -> [n, width]."""
        library = self.library
        marker = library.mtmd_get_marker(self.context)
        text = library.mtmd_input_text(text=marker, text_len=len(marker), add_special=False, parse_special=True)
        chunks = library.mtmd_input_chunks_init()
        bitmaps = (library.mtmd_bitmap_p_ctypes * 1)(bitmap)
        assert library.mtmd_tokenize(self.context, chunks, ctypes.byref(text), bitmaps, 1) == 0
        for index in range(library.mtmd_input_chunks_size(chunks)):
            chunk = library.mtmd_input_chunks_get(chunks, index)
            if library.mtmd_input_chunk_get_type(chunk) != TEXT:
                assert library.mtmd_encode_chunk(self.context, chunk) == 0
                shape = (library.mtmd_input_chunk_get_n_tokens(chunk), self.graph.width)
                return np.ctypeslib.as_array(library.mtmd_get_output_embd(self.context), shape).copy()
        raise AssertionError("no medium among the chunks")


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Mtmd:
    folder, checkpoint = tmp_path_factory.mktemp("nano"), Checkpoint(NANO / "checkpoint")
    write_gguf(checkpoint, "thinker", folder, "f16", lambda _: None)
    assert write_mmproj(checkpoint, folder, "f16", lambda _: None) == "mmproj.gguf"
    return Mtmd(folder / "thinker.gguf", folder / "mmproj.gguf")


def test_it_loads_with_both_encoders(nano):
    assert nano.context
    assert nano.library.mtmd_support_vision(nano.context)
    assert nano.library.mtmd_support_audio(nano.context)


def test_a_picture_looks_as_it_does_to_our_encoder(nano):
    picture = np.random.default_rng(0).integers(0, 256, (112, 112, 3)).astype(np.uint8)
    pixels = (ctypes.c_ubyte * picture.size).from_buffer_copy(picture.tobytes())
    rows = nano.rows(nano.library.mtmd_bitmap_init(112, 112, pixels))
    bundle = open_bundle(NANO / "bundle")
    own = VisionEncoder(open_session(bundle, "vision_encoder", 1), bundle.manifest.vision).rows(
        picture_patches(picture, bundle.manifest.vision)
    )
    assert rows.shape == own.shape
    # Ours is in eight bits there.
    assert (rows * own).sum() / np.linalg.norm(rows) / np.linalg.norm(own) > 0.999


def test_a_sound_becomes_rows_though_not_the_references(nano):
    samples = np.random.default_rng(0).standard_normal(32000).astype(np.float32) / 10
    bitmap = nano.library.mtmd_bitmap_init_from_audio(
        len(samples), samples.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    )
    rows = nano.rows(bitmap)
    assert len(rows) == 750
    assert np.isfinite(rows).all()
    assert rows.std() > 0


def test_what_cannot_be(tiny, tmp_path):
    with pytest.raises(BundleError, match="no mmproj precision q8_0; take one of f32, f16, bf16"):
        write_mmproj(Checkpoint(NANO / "checkpoint"), tmp_path, "q8_0", lambda _: None)
    with pytest.raises(BundleError, match="windows of 112 pixels"):
        write_mmproj(Checkpoint(tiny.checkpoint("like-3b")), tmp_path, "f16", lambda _: None)
    assert not list(tmp_path.iterdir())
