"""A bundle on disk. It opens only when every file its manifest lists is there, whole and unaltered.

Sizes are compared at each opening, digests when a file is new or has changed (digests.py); `verify` reads everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .digests import AGAIN, Progress, check_digests, file_status, sha256, unreadable
from .errors import BundleError
from .manifest import MANIFEST, FileEntry, Manifest, decode, encode


@dataclass(frozen=True)
class Bundle:
    """A bundle that has been checked."""

    folder: Path
    manifest: Manifest

    @property
    def bytes(self) -> int:
        """Size of all files the manifest lists."""
        return sum(entry.bytes for entry in self.manifest.files)

    def path(self, name: str) -> Path:
        """Where the file lies that the manifest lists as `name`.

        Raises:
            BundleError: the manifest does not list it.
        """
        if all(entry.path != name for entry in self.manifest.files):
            raise BundleError(f"{self.folder / MANIFEST} lists no file {name!r}. {AGAIN}")
        return self.folder / name


def open_bundle(folder: Path, progress: Progress | None = None) -> Bundle:
    """Check a bundle completely, digests included, before anything of it is loaded.

    Raises:
        BundleError: see `inspect_bundle`; or the content of a file differs from the manifest.
    """
    bundle = inspect_bundle(folder)
    check_digests(bundle.folder, bundle.manifest.files, progress, everything=False)
    return bundle


def inspect_bundle(folder: Path) -> Bundle:
    """Check a bundle as far as that goes without reading its big files: enough to list it, not to run it.

    Raises:
        BundleError: not a folder, no manifest or one of another schema, a name that leaves the folder or is
            not listed, a file that is missing or has another size.
    """
    folder = folder.absolute()
    origin = folder / MANIFEST
    try:
        manifest = decode(origin.read_bytes(), origin)
    except OSError as error:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise unreadable(MANIFEST, folder, error) from error
        if not folder.is_dir():
            raise BundleError(f"{folder} is not a folder; give the folder of a bundle") from error
        raise BundleError(
            f"{folder} has no {MANIFEST}, so it is not a bundle. If it is a checkpoint, run: "
            f'omni-edge export "{folder}" BUNDLE'
        ) from error
    for entry in manifest.files:
        _check_name(entry.path, origin)
    listed = {entry.path for entry in manifest.files}
    for name in _referenced(manifest):
        if name not in listed:
            raise BundleError(f"{origin} refers to {name!r} but does not list it in files. {AGAIN}")
    for entry in manifest.files:
        file_status(folder, entry.path, entry.bytes)
    return Bundle(folder, manifest)


def verify(bundle: Bundle, progress: Progress | None = None) -> None:
    """Read all files of the bundle and compare their digests, whatever is remembered of them.

    Raises:
        BundleError: a file is missing, has another size or another content.
    """
    check_digests(bundle.folder, bundle.manifest.files, progress, everything=True)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json beside its place, then rename it there, so that no half of it is ever read.

    Raises:
        BundleError: the folder cannot be written.
    """
    target = folder / MANIFEST
    beside = folder / f"{MANIFEST}.tmp"
    try:
        with beside.open("wb") as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise BundleError(f"{target} cannot be written: {error.strerror}. Check disk and permissions") from error


def describe_files(folder: Path, names: Iterable[str], progress: Progress | None = None) -> tuple[FileEntry, ...]:
    """Sizes and digests of files, as a manifest lists them.

    Raises:
        BundleError: a name leaves the folder, or its file is missing or cannot be read.
    """
    names = tuple(names)
    for name in names:
        _check_name(name, folder)
    sizes = {name: file_status(folder, name).st_size for name in names}
    digests = sha256(folder, sizes, progress)
    return tuple(FileEntry(path=name, bytes=sizes[name], sha256=digests[name]) for name in names)


def _check_name(name: str, origin: Path) -> None:
    """Refuse names that could lead out of the folder on any platform.

    Only names are judged. A file may well be a link to elsewhere: in the hub's cache all of them are.
    Windows drops dots and spaces at the end of a name, so ".. " is as bad as "..".
    """
    parts = name.split("/")
    if any(not part.strip(" .") for part in parts) or any(mark in name for mark in "\\:\0"):
        raise BundleError(
            f"{origin} lists {name!r}, which is not a plain path inside the bundle. Do not use this bundle; "
            "get it from a source you trust"
        )


def _referenced(manifest: Manifest) -> Iterator[str]:
    yield from (manifest.tokenizer, manifest.chat_template, manifest.voices.file)
    yield from (manifest.embeddings, manifest.codec_embeddings, manifest.flow.tables)
    for network in manifest.subnetworks.values():
        for graph in network.graphs:
            yield from (graph.graph, *graph.files)
    yield from (extra.path for extra in manifest.extras)
