"""Opening a bundle: whatever is missing, altered or out of place is refused by name."""

import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omni_edge.models.bundle import (
    describe_files,
    inspect_bundle,
    open_bundle,
    write_manifest,
)
from omni_edge.models.errors import BundleError
from omni_edge.models.manifest import FileEntry, Manifest

VICTIM = "thinker.onnx.data"


@pytest.fixture
def folder(make_bundle, tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def rewrite(folder: Path, change) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_a_whole_bundle_opens(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.folder == folder
    assert bundle.path("voices.npz").read_bytes() == b"voices.npz" * 3
    assert bundle.bytes == sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"
    )


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
            lambda content: content["subnetworks"]["flow"]["graphs"][0].update(graph="other.json"),
            lambda content: content["subnetworks"]["flow"]["graphs"][0].update(files=["other.json"]),
            lambda content: content.update(extras=[{"path": "other.json", "purpose": "none"}]),
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
