"""From a name or a folder to a session; bundles whose files are whole and still cannot be run."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import omni_edge.runtime
from omni_edge.models.bundle import describe_files, open_bundle, write_manifest
from omni_edge.models.errors import BundleError, DeviceError, ModelNotFound, OmniError, RequestError
from omni_edge.models.manifest import Manifest
from omni_edge.runtime import load
from omni_edge.runtime.events import Done
from omni_edge.runtime.messages import Image, system
from omni_edge.runtime.options import Options

CHEAP = Options(greedy=True, max_tokens=3, max_codes=4, solver="euler", flow_steps=2)


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "bundle"))


def rewrite(folder: Path, manifest: Manifest) -> None:
    """A manifest that fits the files as they are now."""
    files = describe_files(folder, [entry.path for entry in manifest.files])
    write_manifest(folder, msgspec.structs.replace(manifest, files=files))


def test_every_public_name_is_there():
    for name in omni_edge.runtime.__all__:
        assert getattr(omni_edge.runtime, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        omni_edge.runtime.nothing  # noqa: B018


def test_a_folder_as_text_or_path_and_with_a_history(bundle):
    for model in (bundle.folder, str(bundle.folder)):
        session = load(model, history=[system("Be brief.")], threads=1)
        assert session.history == (system("Be brief."),)
        assert isinstance(list(session.respond("Hello", options=CHEAP))[-1], Done)


def test_threads_change_nothing_that_counts(bundle):
    one, two = (list(load(bundle.folder, threads=n).respond("Hello", options=CHEAP))[-1] for n in (1, 2))
    assert (one.ids, one.codes, one.samples) == (two.ids, two.codes, two.samples)


def test_a_limit_for_pictures(bundle, rng):
    picture = Image(rng.integers(0, 256, (280, 280, 3)).astype("uint8"))
    rows = []
    for limit in (None, 140 * 140, 1):
        done = list(load(bundle.folder, max_pixels=limit).respond(picture, "?", options=CHEAP))[-1]
        rows.append(done.stats.prompt_rows)
    assert rows[0] - rows[1] == 100 - 25
    assert rows[0] - rows[2] == 100 - 1


@pytest.mark.parametrize("wrong", [{"max_pixels": 0}, {"max_pixels": -1}, {"threads": -1}])
def test_limits_that_cannot_be(wrong, bundle):
    with pytest.raises(RequestError, match=str(next(iter(wrong.values())))):
        load(bundle.folder, **wrong)


def test_names_that_are_no_model(tmp_path):
    with pytest.raises(ModelNotFound, match="8b"):
        load("8b")
    with pytest.raises(BundleError, match=str(tmp_path)):
        load(tmp_path)


def test_another_engine(copy):
    manifest = open_bundle(copy).manifest
    network = manifest.subnetworks["thinker"]
    network = msgspec.structs.replace(network, graphs=(msgspec.structs.replace(network.graphs[0], engine="llama"),))
    rewrite(copy, msgspec.structs.replace(manifest, subnetworks={**manifest.subnetworks, "thinker": network}))
    with pytest.raises(DeviceError, match=r"no thinker for ONNX Runtime\. .*export it for onnx"):
        load(copy, engine="onnx")


@pytest.mark.parametrize(
    "name", ["flow.onnx", "audio_encoder.onnx", "vision_encoder.onnx", "tokenizer.json", "chat_template.jinja"]
)
@pytest.mark.parametrize("content", [b"", b"no such thing {{ {%"])
def test_files_that_are_listed_as_they_are_and_are_still_wrong(name, content, copy):
    manifest = open_bundle(copy).manifest
    (copy / name).write_bytes(content)
    rewrite(copy, manifest)
    if name == "chat_template.jinja" and not content:
        with pytest.raises(OmniError):  # an empty template is a template; it takes no text
            load(copy).respond("Hello", options=CHEAP)
        return
    with pytest.raises(BundleError) as caught:
        load(copy)
    assert "\n" not in str(caught.value)
    assert "xport the checkpoint again" in str(caught.value)
