"""The export as a whole: the same bundle from any form of the checkpoint, and nothing lost when it fails."""

from __future__ import annotations

import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omni_edge.export import bundle as exporting
from omni_edge.export import checks
from omni_edge.export.bundle import export_bundle
from omni_edge.export.precisions import choose
from omni_edge.export.progress import Progress
from omni_edge.models.bundle import open_bundle, verify
from omni_edge.models.errors import BundleError
from omni_edge.quant.tables import write_table

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture
def target(tmp_path, tiny) -> Path:
    """The place of a bundle, with an older one in it."""
    return Path(shutil.copytree(tiny.bundle("like-3b"), tmp_path / "out" / "bundle"))


def untouched(target: Path, before: dict[str, bytes]) -> bool:
    """Whether the older bundle is as it was; beside it may lie what the next export goes on from."""
    beside = {path.name for path in target.parent.iterdir()} - {target.name}
    return contents(target) == before and beside <= {f".{target.name}.partial"}


@pytest.mark.slow
def test_shards_and_a_second_export_give_the_same_bytes(tiny, shard, tmp_path):
    """Nothing of the machine, the time or the form of the checkpoint is in a bundle."""
    folder = Path(shutil.copytree(tiny.checkpoint("like-3b"), tmp_path / "elsewhere" / "like-3b"))
    export_bundle(shard(folder, 4), tmp_path / "bundle")
    first, second = contents(tiny.bundle("like-3b")), contents(tmp_path / "bundle")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    verify(open_bundle(tmp_path / "bundle"))


@pytest.mark.parametrize("shape", ["like-3b"])
def test_graphs_say_nothing_of_the_machine(shape, tiny):
    marks = [str(ROOT), str(Path.home()), "/tmp", "site-packages", sys.prefix, ".py"]
    for name, content in contents(tiny.bundle(shape)).items():
        if name.endswith((".onnx", ".json", ".jinja")):
            assert [mark for mark in marks if len(mark) > 2 and mark.encode() in content] == [], name


def test_progress_names_every_step_once(cheap, checkpoint, tmp_path):
    told: list[Progress] = []
    export_bundle(checkpoint, tmp_path / "bundle", told.append)
    steps = [*(f"{name} fp32" for name in cheap), "tables", "digests", "done"]
    assert list(dict.fromkeys(each.step for each in told)) == steps
    assert [each.number for each in told if not each.part] == list(range(1, len(steps) + 1))
    assert {each.steps for each in told} == {len(steps) - 1}
    shares = [each.share for each in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


@pytest.mark.parametrize("older", [False, True])
def test_a_good_export_takes_the_place(older, cheap, checkpoint, tmp_path, target):
    place = target if older else tmp_path / "new" / "bundle"
    (target / "leftover").touch()
    export_bundle(checkpoint, place)
    verify(open_bundle(place))
    assert not (place / "leftover").exists()
    assert list(place.parent.iterdir()) == [place]


ERRORS = {
    "interrupt": KeyboardInterrupt(),
    "full disk": OSError(errno.ENOSPC, "No space left on device"),
    "other": OSError(errno.EIO, "Input/output error"),
    "memory": MemoryError(),
    "checkpoint": BundleError("it lacks a tensor"),
}


@pytest.mark.parametrize("where", ["first graph", "last graph", "digests", "rename"])
@pytest.mark.parametrize("case", ERRORS)
def test_a_failed_export_leaves_the_older_bundle(case, where, cheap, checkpoint, target, monkeypatch):
    error = ERRORS[case]

    def fail(*_: object) -> None:
        raise error

    if where == "digests":
        monkeypatch.setattr(exporting, "describe_files", fail)
    elif where == "rename":
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda old, new: fail() if ".partial" in old.name else rename(old, new))
    else:
        cheap[list(cheap)[0 if where == "first graph" else -1]] = fail
    before = contents(target)
    with pytest.raises(BundleError if isinstance(error, OSError) else type(error)) as caught:
        export_bundle(checkpoint, target)
    monkeypatch.undo()
    assert untouched(target, before)
    if case == "full disk":
        assert f"disk of {target.parent} is full" in str(caught.value)


def test_what_was_left_of_a_killed_export_is_no_harm(cheap, checkpoint, target):
    for left in (".bundle.partial", ".bundle.old"):
        (target.parent / left).mkdir()
        (target.parent / left / "thinker.onnx").touch()
    export_bundle(checkpoint, target)
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("stopped", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_export_that_was_stopped_goes_on(stopped, cheap, checkpoint, tmp_path):
    calls: list[str] = []
    made = dict(cheap)

    def counted(name: str):
        def export(*arguments):
            calls.append(name)
            if name == "flow" and len(calls) < 6:
                raise stopped
            return made[name](*arguments)

        return export

    cheap |= {name: counted(name) for name in made}
    place = tmp_path / "bundle"
    with pytest.raises((KeyboardInterrupt, BundleError)):
        export_bundle(checkpoint, place)
    assert not place.exists()
    export_bundle(checkpoint, place)
    assert calls == [*list(made)[:5], "flow", "vocoder"]
    verify(open_bundle(place))
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "checkpoint"}


@pytest.mark.parametrize("change", ["precision", "checkpoint", "journal", "file"])
def test_what_was_left_is_used_for_the_same_export_alone(change, cheap, checkpoint, tmp_path):
    calls: list[str] = []
    made = dict(cheap)
    interrupted = [True]

    def counted(name: str):
        def export(*arguments):
            calls.append(name)
            if name == "vocoder" and interrupted.pop():
                raise KeyboardInterrupt
            return made[name](*arguments)

        return export

    cheap |= {name: counted(name) for name in made}
    place, left = tmp_path / "bundle", tmp_path / ".bundle.partial"
    with pytest.raises(KeyboardInterrupt):
        export_bundle(checkpoint, place)
    interrupted[:] = [False]
    calls.clear()
    if change == "checkpoint":
        (checkpoint / "generation_config.json").write_text("{}")
    elif change == "journal":
        (left / "journal.json").write_text('{"of"')
    elif change == "file":
        (left / "thinker.onnx.data").unlink()
    export_bundle(checkpoint, place, choice=choose(["int8"] if change == "precision" else []))
    assert calls == (["thinker", "vocoder"] if change == "file" else list(made))


@pytest.mark.parametrize("kind", ["file", "other folder"])
def test_places_that_are_not_for_a_bundle(kind, cheap, checkpoint, tmp_path):
    place = tmp_path / "place"
    if kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / "mine").touch()
    with pytest.raises(BundleError, match=str(place)):
        export_bundle(checkpoint, place)
    assert place.exists()
    assert not list(tmp_path.glob(".place*"))


@pytest.mark.parametrize("name", ["tokenizer.json", "preprocessor_config.json", "chat_template.json", "spk_dict.pt"])
def test_a_small_file_that_is_missing_is_told_before_any_work(name, cheap, checkpoint, tmp_path):
    (checkpoint / name).unlink()
    (checkpoint / "tokenizer_config.json").unlink()  # another place for the template
    told: list[Progress] = []
    with pytest.raises(BundleError, match=f"{checkpoint}.* {name.partition('.')[0].partition('_template')[0]}"):
        export_bundle(checkpoint, tmp_path / "bundle", told.append)
    assert told == []
    assert not list(tmp_path.glob("*bundle*"))


def test_a_disk_too_small_is_told_before_any_work(cheap, checkpoint, target, monkeypatch):
    before = contents(target)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BundleError, match=r"0\.0 GB free but the bundle needs"):
        export_bundle(checkpoint, target)
    assert untouched(target, before)


def test_a_disk_that_really_fills_up(cheap, checkpoint, tmp_path):
    """Enough for the weights, so that the export starts; not for the rest."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3200k", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        with pytest.raises(BundleError, match=f"the disk of {disk} is full.* run the same command again"):
            export_bundle(checkpoint, disk / "bundle")
        assert [path.name for path in disk.iterdir()] == [".bundle.partial"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_fills_up_under_a_table(tmp_path):
    (tmp_path / "table.npy").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_table(tmp_path / "table.npy", (9, 64), lambda start, stop: np.ones((9, 64), np.float32), rounded=True)


def test_the_manifest_names_its_source(tiny):
    manifest = json.loads((tiny.bundle("like-3b") / "manifest.json").read_text())
    assert manifest["source"]["checkpoint"] == "like-3b"
    assert str(ROOT) not in json.dumps(manifest)


@pytest.mark.slow
def test_an_int8_bundle_answers_and_is_smaller(tiny, tmp_path):
    from omni_edge.runtime.loading import load
    from omni_edge.runtime.options import Options

    manifest = export_bundle(tiny.checkpoint("like-3b"), tmp_path / "bundle", choice=choose(["int8"]))
    assert {part.graphs[0].precision for part in manifest.subnetworks.values()} == {"int8", "int8-dynamic"}
    whole = sum(entry.bytes for entry in open_bundle(tiny.bundle("like-3b")).manifest.files)
    assert sum(entry.bytes for entry in manifest.files) < 0.7 * whole
    options = Options(greedy=True, max_tokens=4, max_codes=6, solver="euler", flow_steps=2, seed=0)
    *_, done = load(tmp_path / "bundle").respond("hello", options=options)
    assert done.samples > 0
