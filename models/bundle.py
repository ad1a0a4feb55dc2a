"""A bundle on disk. It opens only when every file its manifest lists is there, whole and unaltered.

Sizes are compared at each opening. A digest costs a read of the file, so it is computed when the file is
first seen or has changed in size or time, and remembered in the user's cache folder: not in the bundle,
which may be read-only. `verify` reads everything again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from .errors import BundleError, OmniError
from .manifest import MANIFEST, FileEntry, Manifest, decode, encode

Progress = Callable[[str, int, int], None]
"""Called while files are read: name of the file, bytes read so far of all files, bytes to read in all."""

_AGAIN = "Export the checkpoint again, or run omni-edge pull again if the bundle was downloaded"
_BLOCK = 4 << 20
_PLACES = {
    ("win32", "cache"): ("LOCALAPPDATA", "AppData/Local", "omni-edge/Cache"),
    ("win32", "data"): ("LOCALAPPDATA", "AppData/Local", "omni-edge"),
    ("darwin", "cache"): ("", "Library/Caches", "omni-edge"),
    ("darwin", "data"): ("", "Library/Application Support", "omni-edge"),
    ("linux", "cache"): ("XDG_CACHE_HOME", ".cache", "omni-edge"),
    ("linux", "data"): ("XDG_DATA_HOME", ".local/share", "omni-edge"),
}
"""(platform, kind): environment variable of the base folder, where it is below home without it, our name."""
_log = logging.getLogger(__name__)


class _Digest(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a file: its digest, and the size and time at which that digest was right."""

    bytes: int
    mtime_ns: int
    sha256: str


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
            raise BundleError(f"{self.folder / MANIFEST} lists no file {name!r}. {_AGAIN}")
        return self.folder / name


def open_bundle(folder: Path, progress: Progress | None = None) -> Bundle:
    """Check a bundle completely, digests included, before anything of it is loaded.

    Raises:
        BundleError: see `inspect_bundle`; or the content of a file differs from the manifest.
    """
    bundle = inspect_bundle(folder)
    _check_digests(bundle, _recall(), progress)
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
            raise _unreadable(MANIFEST, folder, error) from error
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
            raise BundleError(f"{origin} refers to {name!r} but does not list it in files. {_AGAIN}")
    for entry in manifest.files:
        _stat(folder, entry.path, entry.bytes)
    return Bundle(folder, manifest)


def verify(bundle: Bundle, progress: Progress | None = None) -> None:
    """Read all files of the bundle and compare their digests, whatever is remembered of them.

    Raises:
        BundleError: a file is missing, has another size or another content.
    """
    _check_digests(bundle, {}, progress)


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
    sizes = {name: _stat(folder, name).st_size for name in names}
    digests = _sha256(folder, sizes, progress)
    return tuple(FileEntry(path=name, bytes=sizes[name], sha256=digests[name]) for name in names)


def user_folder(kind: Literal["cache", "data"], override: str) -> Path:
    """The folder of omni-edge among the user's caches or data, by the custom of the platform.

    Args:
        kind: "cache" may be deleted at any time, "data" may not.
        override: environment variable that names the folder instead.

    Raises:
        OmniError: the user has no home folder and the variable is not set.
    """
    variable, usual, name = _PLACES.get((sys.platform, kind)) or _PLACES["linux", kind]
    try:
        if named := os.environ.get(override):
            return Path(named).expanduser().absolute()
        base = Path(os.environ.get(variable, ""))
        # The XDG specification has relative paths ignored; this also covers an empty variable.
        return (base if base.is_absolute() else Path.home() / usual) / name
    except RuntimeError as error:
        raise OmniError(f"this user has no home folder; set {override} to a folder for omni-edge") from error


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
    yield from (manifest.embeddings, manifest.codec_embeddings)
    for network in manifest.subnetworks.values():
        yield from (network.graph, *network.files)


def _stat(folder: Path, name: str, size: int | None = None) -> os.stat_result:
    """Status of a file that must be there, and have `size` bytes where that is given."""
    try:
        found = (folder / name).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{name} is missing from bundle {folder}. {_AGAIN}") from error
    except OSError as error:
        raise _unreadable(name, folder, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{name} of bundle {folder} is not a file. {_AGAIN}")
    if size is not None and found.st_size != size:
        raise BundleError(f"{name} of bundle {folder} has {found.st_size} bytes instead of {size}. {_AGAIN}")
    return found


def _unreadable(name: str, folder: Path, error: OSError) -> BundleError:
    return BundleError(f"{name} of bundle {folder} cannot be read: {error.strerror}. Check disk and permissions")


def _check_digests(bundle: Bundle, known: Mapping[str, _Digest], progress: Progress | None) -> None:
    """Compare digests with the manifest, reading only files that are not `known` as they are now."""
    unread: dict[str, os.stat_result] = {}
    digests: dict[str, str] = {}
    for entry in bundle.manifest.files:
        found = _stat(bundle.folder, entry.path, entry.bytes)
        past = known.get(str(bundle.folder / entry.path))
        if past is not None and (past.bytes, past.mtime_ns) == (found.st_size, found.st_mtime_ns):
            digests[entry.path] = past.sha256
        else:
            unread[entry.path] = found
    read = _sha256(bundle.folder, {name: found.st_size for name, found in unread.items()}, progress)
    # The status is from before the read: a file written to meanwhile has another time and is read again.
    new = {name: _Digest(found.st_size, found.st_mtime_ns, read[name]) for name, found in unread.items()}
    _remember({str(bundle.folder / name): digest for name, digest in new.items()})
    digests.update(read)
    altered = [entry.path for entry in bundle.manifest.files if digests[entry.path] != entry.sha256]
    if altered:
        raise BundleError(
            f"{', '.join(altered)} of bundle {bundle.folder}: content differs from the manifest. {_AGAIN}"
        )


def _sha256(folder: Path, sizes: Mapping[str, int], progress: Progress | None) -> dict[str, str]:
    """Digest of each file named in `sizes`."""
    digests: dict[str, str] = {}
    buffer = memoryview(bytearray(_BLOCK))
    done, total = 0, sum(sizes.values())
    for name in sizes:
        digest = hashlib.sha256()
        try:
            with (folder / name).open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    digest.update(buffer[:count])
                    done += count
                    if progress is not None:
                        progress(name, done, total)
        except OSError as error:
            raise _unreadable(name, folder, error) from error
        digests[name] = digest.hexdigest()
    return digests


def _memory_file() -> Path:
    return user_folder("cache", "OMNI_EDGE_CACHE") / "digests.json"


def _recall() -> dict[str, _Digest]:
    """Remembered digests by path. What cannot be read counts as nothing remembered: files are read again."""
    try:
        return msgspec.json.decode(_memory_file().read_bytes(), type=dict[str, _Digest])
    except FileNotFoundError:
        return {}
    except (OSError, OmniError, msgspec.MsgspecError) as error:
        _log.info("no remembered digests: %s", error)
        return {}


def _remember(new: Mapping[str, _Digest]) -> None:
    """Add digests to the memory, and drop those of files that are gone."""
    if not new:
        return
    try:
        memory = _memory_file()
        kept = {path: digest for path, digest in _recall().items() if os.access(path, os.F_OK)}
        memory.parent.mkdir(parents=True, exist_ok=True)
        beside = memory.with_name(f"{memory.name}.{os.getpid()}")
        beside.write_bytes(msgspec.json.encode({**kept, **new}))
        beside.replace(memory)
    except (OSError, OmniError) as error:
        _log.warning(
            "cannot remember that this bundle was checked, so the next start reads it again (%s); "
            "set OMNI_EDGE_CACHE to a folder that can be written",
            error,
        )
