"""Files for other programs in a bundle: llama.cpp's mmproj.gguf."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from omni_edge.export import bundle as exporting
from omni_edge.export import checks
from omni_edge.export.bundle import export_bundle
from omni_edge.export.checkpoint import Checkpoint
from omni_edge.export.mmproj import PURPOSE
from omni_edge.export.precisions import choose
from omni_edge.models.bundle import open_bundle, verify
from omni_edge.models.errors import BundleError

pytestmark = pytest.mark.torch
NANO = Path(__file__).parents[2] / "models" / "nano" / "checkpoint"
"""Its vision encoder has the windows that llama.cpp wants."""


@pytest.mark.parametrize("kind", ["f16", "f32", "bf16"])
def test_a_bundle_with_an_mmproj(kind, cheap, tmp_path):
    told = []
    manifest = export_bundle(NANO, tmp_path / "bundle", told.append, mmproj=kind)
    bundle = open_bundle(tmp_path / "bundle")
    verify(bundle)
    assert bundle.manifest == manifest
    assert [(extra.path, extra.purpose) for extra in manifest.extras] == [("mmproj.gguf", PURPOSE)]
    steps = list(dict.fromkeys(each.step for each in told))
    assert steps[len(cheap) : len(cheap) + 2] == [f"mmproj {kind}", "tables"]
    floats = bundle.path("mmproj.gguf").stat().st_size / sum(
        manifest.subnetworks[name].parameters for name in ("audio_encoder", "vision_encoder")
    )
    assert floats == pytest.approx(4 if kind == "f32" else 2, rel=0.3)


def test_without_the_wish_there_is_none(cheap, checkpoint, tmp_path):
    assert export_bundle(checkpoint, tmp_path / "bundle").extras == ()
    assert not (tmp_path / "bundle" / "mmproj.gguf").exists()


def test_it_is_not_written_again_after_an_interruption(cheap, tmp_path, monkeypatch):
    calls, describing = [], [KeyboardInterrupt()]
    write, describe = exporting.write_mmproj, exporting.describe_files

    def interrupted(*arguments):
        if describing:
            raise describing.pop()
        return describe(*arguments)

    monkeypatch.setattr(exporting, "write_mmproj", lambda *given: (calls.append(given[2]), write(*given))[1])
    monkeypatch.setattr(exporting, "describe_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(NANO, tmp_path / "bundle", mmproj="f16")
    export_bundle(NANO, tmp_path / "bundle", mmproj="f16")
    assert calls == ["f16"]
    verify(open_bundle(tmp_path / "bundle"))


@pytest.mark.parametrize(("kind", "says"), [("f16", "windows of 112 pixels"), ("q8_0", "no mmproj precision q8_0")])
def test_what_cannot_be_is_told_before_any_work(kind, says, cheap, checkpoint, inside, tmp_path):
    result = inside("export", checkpoint, tmp_path / "out" / "bundle", "--mmproj", kind)
    assert says in result.complaint
    assert not (tmp_path / "out").exists()


def test_its_size_counts_for_the_disk(tmp_path, monkeypatch):
    checkpoint, choice = Checkpoint(NANO), choose(())
    weights = 4 * sum(checks.parameters(checkpoint).values())
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: SimpleNamespace(free=weights))
    checks.check_space(checkpoint, choice, None, tmp_path / "bundle")
    with pytest.raises(BundleError, match="GB free but the bundle needs"):
        checks.check_space(checkpoint, choice, "f16", tmp_path / "bundle")


def test_the_command_writes_and_shows_it(cheap, inside, tmp_path):
    assert inside("export", NANO, tmp_path / "bundle", "--mmproj", "f16").code == 0
    shown = inside("show", tmp_path / "bundle").out.splitlines()
    assert any(line.startswith("extras\tmmproj.gguf\t") and line.endswith(PURPOSE) for line in shown)
