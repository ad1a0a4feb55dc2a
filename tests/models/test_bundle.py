"""Opening a bundle: whatever is missing, altered or out of place is refused by name."""

import hashlib
import json
import logging
import os
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni_edge.models import bundle as module
from omni_edge.models.bundle import (
    describe_files,
    inspect_bundle,
    open_bundle,
    user_folder,
    verify,
    write_manifest,
)
from omni_edge.models.errors import BundleError, OmniError
from omni_edge.models.manifest import FileEntry, Manifest

VICTIM = "thinker.onnx.data"


@pytest.fixture
def folder(make_bundle, tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose content was read for a digest."""
    names: list[str] = []
    original = module._sha256

    def spy(folder, sizes, progress):
        names.extend(sizes)
        return original(folder, sizes, progress)

    monkeypatch.setattr(module, "_sha256", spy)
    return names


def alter(path: Path) -> None:
    """Same size, other content, and a time that differs even on a coarse clock."""
    before = path.stat()
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))


def rewrite(folder: Path, change) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_a_whole_bundle_opens(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.folder == folder
    assert bundle.path("voices.npz").read_bytes() == b"voices.npz" * 3
    assert bundle.bytes == sum(path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json")


def test_a_relative_folder_becomes_absolute(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert open_bundle(Path("bundle")).folder == folder


def test_only_listed_files_have_a_path(folder: Path) -> None:
    (folder / "notes.txt").write_text("not of the bundle")
    with pytest.raises(BundleError, match=r"lists no file 'notes\.txt'"):
        open_bundle(folder).path("notes.txt")


def test_links_are_followed(folder: Path, tmp_path: Path) -> None:
    """In the hub's cache every file of a snapshot is a link to a blob elsewhere."""
    blob = tmp_path / "blob"
    (folder / VICTIM).rename(blob)
    (folder / VICTIM).symlink_to(blob)
    assert open_bundle(folder).path(VICTIM).read_bytes() == blob.read_bytes()


@pytest.mark.parametrize("opener", [open_bundle, inspect_bundle])
class TestRefused:
    def test_no_such_folder(self, opener, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="nowhere is not a folder"):
            opener(tmp_path / "nowhere")

    def test_a_file(self, opener, folder: Path) -> None:
        with pytest.raises(BundleError, match=r"voices\.npz is not a folder"):
            opener(folder / "voices.npz")

    def test_no_manifest(self, opener, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match=r"has no manifest\.json.*omni-edge export"):
            opener(tmp_path)

    def test_manifest_is_a_folder(self, opener, tmp_path: Path) -> None:
        (tmp_path / "manifest.json").mkdir()
        with pytest.raises(BundleError, match=r"manifest\.json of bundle .* cannot be read"):
            opener(tmp_path)

    def test_another_schema(self, opener, folder: Path) -> None:
        rewrite(folder, lambda content: content.update(schema=7))
        with pytest.raises(BundleError, match="schema 7"):
            opener(folder)

    def test_missing_file(self, opener, folder: Path) -> None:
        (folder / VICTIM).unlink()
        with pytest.raises(BundleError, match=r"thinker\.onnx\.data is missing from bundle .*omni-edge pull"):
            opener(folder)

    def test_dangling_link(self, opener, folder: Path) -> None:
        (folder / VICTIM).unlink()
        (folder / VICTIM).symlink_to(folder / "gone")
        with pytest.raises(BundleError, match="is missing"):
            opener(folder)

    def test_truncated_file(self, opener, folder: Path) -> None:
        os.truncate(folder / VICTIM, 5)
        with pytest.raises(BundleError, match=r"thinker\.onnx\.data of bundle .* has 5 bytes instead of 51"):
            opener(folder)

    def test_folder_in_place_of_a_file(self, opener, folder: Path) -> None:
        (folder / VICTIM).unlink()
        (folder / VICTIM).mkdir()
        with pytest.raises(BundleError, match="is not a file"):
            opener(folder)

    def test_name_too_long_for_the_disk(self, opener, folder: Path) -> None:
        rewrite(folder, lambda content: content["files"][0].update(path="x" * 5000))
        rewrite(folder, lambda content: content.update(tokenizer="x" * 5000))
        with pytest.raises(BundleError, match="cannot be read"):
            opener(folder)

    def test_size_below_zero_is_not_a_wildcard(self, opener, folder: Path) -> None:
        rewrite(folder, lambda content: content["files"][0].update(bytes=-1))
        with pytest.raises(BundleError, match="instead of -1"):
            opener(folder)

    @pytest.mark.parametrize(
        "change",
        [
            lambda content: content.update(tokenizer="other.json"),
            lambda content: content["voices"].update(file="other.json"),
            lambda content: content["subnetworks"]["flow"].update(graph="other.json"),
            lambda content: content["subnetworks"]["flow"].update(files=["other.json"]),
        ],
    )
    def test_file_that_is_used_but_not_listed(self, opener, folder: Path, change) -> None:
        (folder / "other.json").write_text("{}")
        rewrite(folder, change)
        with pytest.raises(BundleError, match=r"refers to 'other\.json' but does not list it"):
            opener(folder)


def climbing_names() -> st.SearchStrategy[str]:
    part = st.sampled_from(["a", "b.onnx", "..", ".", "", "...", ".. ", "a\\b", "..\\b", "C:", "C:x", "x\0"])
    return st.lists(part, min_size=1, max_size=4).map("/".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(name=climbing_names())
def test_names_never_leave_the_folder(folder: Path, name: str) -> None:
    plain = all(part in ("a", "b.onnx") for part in name.split("/"))
    manifest = inspect_bundle(folder).manifest
    entry = FileEntry(path=name, bytes=1, sha256="")
    other = folder.parent / "climber"
    other.mkdir(exist_ok=True)
    write_manifest(other, msgspec.structs.replace(manifest, files=(entry,)))
    with pytest.raises(BundleError) as caught:
        inspect_bundle(other)
    assert ("not a plain path" in str(caught.value)) is not plain


@pytest.mark.parametrize("name", ["/etc/passwd", "../bundle/voices.npz", "C:\\windows\\win.ini", "\\\\host\\share", ""])
def test_escapes_are_refused_though_the_file_exists(folder: Path, name: str) -> None:
    with pytest.raises(BundleError, match="not a plain path"):
        describe_files(folder, [name])


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
        before = sorted(folder.iterdir())
        open_bundle(folder)
        assert sorted(folder.iterdir()) == before

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
        assert {Path(path).parent for path in remembered} == {second}

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


class TestWriting:
    def test_files_are_described(self, folder: Path) -> None:
        (entry,) = describe_files(folder, ["voices.npz"])
        content = (folder / "voices.npz").read_bytes()
        assert entry == FileEntry(path="voices.npz", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    def test_names_may_come_from_a_generator_and_from_subfolders(self, folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub" / "x").write_bytes(b"")
        assert [entry.path for entry in describe_files(folder, (name for name in ["sub/x"]))] == ["sub/x"]

    def test_a_missing_file_cannot_be_described(self, folder: Path) -> None:
        with pytest.raises(BundleError, match=r"other\.onnx is missing"):
            describe_files(folder, ["other.onnx"])

    def test_a_failed_write_keeps_the_old_manifest(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        manifest: Manifest = inspect_bundle(folder).manifest
        before = (folder / "manifest.json").read_bytes()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(BundleError, match=r"manifest\.json cannot be written: No space left"):
            write_manifest(folder, msgspec.structs.replace(manifest, name="other"))
        assert (folder / "manifest.json").read_bytes() == before

    def test_no_folder_to_write_to(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="cannot be written"):
            write_manifest(tmp_path / "nowhere", inspect_bundle(folder).manifest)


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
