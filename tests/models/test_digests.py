"""Digests are read when a file is new or changed, and remembered where the user keeps caches."""

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from omni_edge.models import digests as module
from omni_edge.models.bundle import inspect_bundle, open_bundle, verify
from omni_edge.models.errors import BundleError, OmniError
from omni_edge.models.places import user_folder

VICTIM = "thinker.onnx.data"


@pytest.fixture
def folder(make_bundle, tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content was read for a digest."""
    names: list[str] = []
    original = module.sha256

    def spy(folder, sizes, progress):
        names.extend(sizes)
        return original(folder, sizes, progress)

    monkeypatch.setattr(module, "sha256", spy)
    return names


def alter(path: Path) -> None:
    """Same size, other content, and a time that differs even on a coarse clock."""
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))


class TestDigests:
    def test_read_once_and_remembered(self, folder: Path, read_files: list[str]) -> None:
        open_bundle(folder)
        assert VICTIM in read_files
        read_files.clear()
        open_bundle(folder)
        assert read_files == []

    def test_inspection_reads_none(self, folder: Path, read_files: list[str]) -> None:
        inspect_bundle(folder)
        assert read_files == []

    def test_alteration_of_the_same_size_is_found(self, folder: Path, read_files: list[str]) -> None:
        open_bundle(folder)
        alter(folder / VICTIM)
        read_files.clear()
        for _ in range(2):
            with pytest.raises(BundleError, match=r"thinker\.onnx\.data of bundle .*: content differs"):
                open_bundle(folder)
        assert read_files == [VICTIM]

    def test_all_altered_files_are_named(self, folder: Path) -> None:
        alter(folder / "voices.npz")
        alter(folder / VICTIM)
        with pytest.raises(BundleError, match=r"voices\.npz, thinker\.onnx\.data of bundle"):
            open_bundle(folder)

    def test_restored_file_is_accepted_again(self, folder: Path) -> None:
        alter(folder / VICTIM)
        with pytest.raises(BundleError):
            open_bundle(folder)
        alter(folder / VICTIM)
        open_bundle(folder)

    def test_verify_finds_what_time_and_size_hide(self, folder: Path) -> None:
        bundle = open_bundle(folder)
        times = (folder / VICTIM).stat()
        alter(folder / VICTIM)
        os.utime(folder / VICTIM, ns=(times.st_atime_ns, times.st_mtime_ns))
        open_bundle(folder)
        with pytest.raises(BundleError, match="content differs"):
            verify(bundle)
        with pytest.raises(BundleError, match="content differs"):
            open_bundle(folder)

    def test_verify_reads_everything(self, folder: Path, read_files: list[str]) -> None:
        bundle = open_bundle(folder)
        read_files.clear()
        verify(bundle)
        assert sorted(read_files) == sorted(entry.path for entry in bundle.manifest.files)

    def test_verify_names_what_went_missing(self, folder: Path) -> None:
        bundle = open_bundle(folder)
        (folder / VICTIM).unlink()
        with pytest.raises(BundleError, match="is missing"):
            verify(bundle)

    def test_nothing_is_written_to_the_bundle(self, folder: Path) -> None:
        before = sorted(folder.rglob("*"))
        open_bundle(folder)
        assert sorted(folder.rglob("*")) == before

    @pytest.mark.parametrize("junk", [b"", b"junk", b"[1]", b'{"/x": [1]}', b"\xff"])
    def test_damaged_memory_is_replaced(self, folder: Path, tmp_path: Path, read_files: list[str], junk: bytes) -> None:
        memory = tmp_path / "cache" / "digests.json"
        memory.parent.mkdir()
        memory.write_bytes(junk)
        open_bundle(folder)
        assert len(json.loads(memory.read_bytes())) == len(read_files) > 0

    def test_memory_forgets_files_that_are_gone(self, make_bundle, tmp_path: Path) -> None:
        first, second = make_bundle(tmp_path / "first"), make_bundle(tmp_path / "second")
        open_bundle(first)
        first.rename(tmp_path / "moved")
        open_bundle(second)
        remembered = json.loads((tmp_path / "cache" / "digests.json").read_bytes())
        assert {Path(path).parent for path in remembered} == {second, second / "extra"}

    def test_without_a_memory_each_start_reads(
        self, folder: Path, tmp_path: Path, read_files: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "cache").write_text("a file where the folder should be")
        with caplog.at_level(logging.WARNING):
            open_bundle(folder)
            open_bundle(folder)
        assert read_files.count(VICTIM) == 2
        assert "set OMNI_EDGE_CACHE" in caplog.text

    def test_progress_ends_at_the_total(self, folder: Path) -> None:
        calls: list[tuple[str, int, int]] = []
        bundle = open_bundle(folder, lambda *call: calls.append(call))
        assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
        assert calls[-1][1:] == (bundle.bytes, bundle.bytes)

    def test_file_that_cannot_be_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        original = Path.open

        def failing(self: Path, *args, **kwargs):
            if self.name == VICTIM:
                raise OSError(5, "Input/output error")
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Path, "open", failing)
        with pytest.raises(BundleError, match=r"thinker\.onnx\.data of bundle .* Input/output error"):
            open_bundle(folder)


class TestUserFolder:
    @pytest.mark.parametrize(
        ("platform", "environment", "cache", "data"),
        [
            ("linux", {}, ".cache/omni-edge", ".local/share/omni-edge"),
            ("freebsd14", {}, ".cache/omni-edge", ".local/share/omni-edge"),
            ("linux", {"XDG_CACHE_HOME": "{home}/c", "XDG_DATA_HOME": "{home}/d"}, "c/omni-edge", "d/omni-edge"),
            ("linux", {"XDG_CACHE_HOME": "rel", "XDG_DATA_HOME": ""}, ".cache/omni-edge", ".local/share/omni-edge"),
            ("darwin", {}, "Library/Caches/omni-edge", "Library/Application Support/omni-edge"),
            ("win32", {"LOCALAPPDATA": "{home}/L"}, "L/omni-edge/Cache", "L/omni-edge"),
            ("win32", {}, "AppData/Local/omni-edge/Cache", "AppData/Local/omni-edge"),
            ("linux", {"MINE": "~/mine"}, "mine", "mine"),
        ],
    )
    def test_follows_the_platform(
        self, platform: str, environment: dict[str, str], cache: str, data: str, tmp_path: Path, monkeypatch
    ) -> None:
        for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HOME", "USERPROFILE"):
            monkeypatch.setenv(name, str(tmp_path))
        monkeypatch.setattr(sys, "platform", platform)
        for name, value in environment.items():
            monkeypatch.setenv(name, value.format(home=tmp_path))
        assert user_folder("cache", "MINE") == tmp_path / cache
        assert user_folder("data", "MINE") == tmp_path / data

    def test_user_without_a_home(self, folder: Path, monkeypatch, caplog: pytest.LogCaptureFixture) -> None:
        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
        monkeypatch.delenv("OMNI_EDGE_CACHE")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        with pytest.raises(OmniError, match="set OMNI_EDGE_CACHE"):
            user_folder("cache", "OMNI_EDGE_CACHE")
        assert open_bundle(folder).folder == folder
        assert "no home folder" in caplog.text
