"""Digests of a bundle's files, and the memory of those that were computed before.

A digest costs a read of the file, so it is computed when the file is first seen or has changed in size or time, and
remembered in the user's cache folder: not in the bundle, which may be read-only.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from .errors import BundleError, OmniError
from .manifest import FileEntry
from .places import user_folder

Progress = Callable[[str, int, int], None]
"""Called while files are read: name of the file, bytes read so far of all files, bytes to read in all."""

AGAIN = "Export the checkpoint again, or run omni-edge pull again if the bundle was downloaded"
_BLOCK = 4 << 20
_log = logging.getLogger(__name__)


class _Digest(msgspec.Struct, frozen=True, array_like=True):
    """What is remembered of a file: its digest, and the size and time at which that digest was right."""

    bytes: int
    mtime_ns: int
    sha256: str


def check_digests(folder: Path, files: Sequence[FileEntry], progress: Progress | None, *, everything: bool) -> None:
    """Compare files with the digests a manifest lists.

    Args:
        folder: of the bundle, absolute.
        files: what the manifest lists.
        progress: told about the reading.
        everything: read all files, whatever is remembered of them.

    Raises:
        BundleError: a file is missing, has another size or another content.
    """
    known = {} if everything else _recall()
    unread: dict[str, os.stat_result] = {}
    digests: dict[str, str] = {}
    for entry in files:
        found = file_status(folder, entry.path, entry.bytes)
        past = known.get(str(folder / entry.path))
        if past is not None and (past.bytes, past.mtime_ns) == (found.st_size, found.st_mtime_ns):
            digests[entry.path] = past.sha256
        else:
            unread[entry.path] = found
    read = sha256(folder, {name: found.st_size for name, found in unread.items()}, progress)
    # The status is from before the read: a file written to meanwhile has another time and is read again.
    new = {name: _Digest(found.st_size, found.st_mtime_ns, read[name]) for name, found in unread.items()}
    _remember({str(folder / name): digest for name, digest in new.items()})
    digests.update(read)
    altered = [entry.path for entry in files if digests[entry.path] != entry.sha256]
    if altered:
        raise BundleError(f"{', '.join(altered)} of bundle {folder}: content differs from the manifest. {AGAIN}")


def sha256(folder: Path, sizes: Mapping[str, int], progress: Progress | None) -> dict[str, str]:
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
            raise unreadable(name, folder, error) from error
        digests[name] = digest.hexdigest()
    return digests


def file_status(folder: Path, name: str, size: int | None = None) -> os.stat_result:
    """Status of a file that must be there, and have `size` bytes where that is given."""
    try:
        found = (folder / name).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{name} is missing from bundle {folder}. {AGAIN}") from error
    except OSError as error:
        raise unreadable(name, folder, error) from error
    if not stat.S_ISREG(found.st_mode):
        raise BundleError(f"{name} of bundle {folder} is not a file. {AGAIN}")
    if size is not None and found.st_size != size:
        raise BundleError(f"{name} of bundle {folder} has {found.st_size} bytes instead of {size}. {AGAIN}")
    return found


def unreadable(name: str, folder: Path, error: OSError) -> BundleError:
    """The error for a file that is there but cannot be read."""
    return BundleError(f"{name} of bundle {folder} cannot be read: {error.strerror}. Check disk and permissions")


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
