"""Encoders that wait until something is to be encoded: read once, by whichever thread comes first, from whole files."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni_edge.models.bundle import Bundle, open_bundle
from omni_edge.models.errors import BundleError
from omni_edge.runtime import engine, load
from omni_edge.runtime.encoders import AudioEncoder
from omni_edge.runtime.engine import LateSession, open_session
from omni_edge.runtime.messages import Audio, Image
from omni_edge.runtime.options import Options

CHEAP = Options(greedy=True, speech=False, max_tokens=2)


@pytest.fixture
def copy(bundle, tmp_path) -> Bundle:
    return open_bundle(Path(shutil.copytree(bundle.folder, tmp_path / "bundle")))


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the subnetworks that are opened from here on."""
    names: list[str] = []

    def noted(bundle: Bundle, name: Any, threads: int) -> Any:
        names.append(name)
        return open_session(bundle, name, threads)

    monkeypatch.setattr(engine, "open_session", noted)
    return names


def mel(bundle: Bundle, frames: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((bundle.manifest.audio.mels, frames)).astype(np.float32)


def test_many_threads_open_it_once_and_get_the_same(bundle, opened):
    front, given = bundle.manifest.audio, mel(bundle, 250)
    expected = AudioEncoder(open_session(bundle, "audio_encoder", 1), front).rows(given)
    late = AudioEncoder(LateSession(bundle, "audio_encoder", 1), front)
    assert opened == []
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(late.rows, [given] * 8))
    assert opened == ["audio_encoder"]
    assert all(np.array_equal(rows, expected) for rows in results)


def test_a_conversation_opens_what_it_perceives_with_and_nothing_else(bundle, rng, opened):
    session = load(bundle.folder)
    late = lambda: [name for name in opened if name.endswith("_encoder")]  # noqa: E731
    list(session.respond("Hello", options=CHEAP))
    assert late() == []
    picture = Image(rng.integers(0, 256, (56, 56, 3)).astype("uint8"))
    sound = Audio(rng.standard_normal(8000).astype(np.float32) * 0.1)
    for parts, names in (((picture,), ["vision_encoder"]), ((sound, picture), ["vision_encoder", "audio_encoder"])):
        list(session.respond(*parts, "?", options=CHEAP))
        assert late() == names


@pytest.mark.parametrize("suffix", [".onnx", ".onnx.data"])
@pytest.mark.parametrize("harm", ["alter", "cut", "remove"])
def test_files_that_change_before_they_are_read_are_refused_by_name(harm, suffix, copy):
    late = LateSession(copy, "audio_encoder", 1)
    path = copy.path(f"audio_encoder{suffix}")
    content = path.read_bytes()
    path.unlink()  # a folder that was replaced: what is mapped stays as it was
    if harm != "remove":
        path.write_bytes(content[:-1] + (b"" if harm == "cut" else bytes([content[-1] ^ 1])))
    with pytest.raises(BundleError, match=path.name) as caught:
        AudioEncoder(late, copy.manifest.audio).rows(mel(copy, 40))
    assert "\n" not in str(caught.value)
