"""The folder in which a bundle is written before it takes its place, and what is remembered of an interrupted export.

It lies beside the target as .NAME.partial, so that taking the place is a rename. An export that is killed, interrupted
or out of disk leaves it there, and the next export of the same checkpoint with the same choices goes on in it. Whatever
happens, the older bundle stays until the new one is whole.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from ..models.errors import BundleError
from ..models.manifest import SCHEMA, Graph

JOURNAL = "journal.json"


class Journal(msgspec.Struct):
    """What an export has done."""

    of: str
    """Fingerprint of checkpoint and choices."""
    graphs: dict[str, Graph] = {}
    """By step."""


class Partial:
    """The folder and its journal.

    Args:
        folder: exists.
        of: fingerprint of what is exported.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self.folder = folder
        self._path = folder / JOURNAL
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Journal)
        except (OSError, msgspec.MsgspecError):
            found = Journal("")
        self._journal = found if found.of == of else Journal(of)
        if found.of != of:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def done(self, step: str) -> Graph | None:
        """The graph that a step has written, if it has been taken before."""
        graph = self._journal.graphs.get(step)
        return graph if graph and all((self.folder / name).exists() for name in graph.files) else None

    def note(self, step: str, graph: Graph) -> None:
        """Remember that a step is done."""
        self._journal.graphs[step] = graph
        self._write()

    def _write(self) -> None:
        beside = self._path.with_suffix(".tmp")
        beside.write_bytes(msgspec.json.encode(self._journal))
        beside.replace(self._path)

    def forget(self, step: str) -> None:
        """The step would have to be done again."""
        self._journal.graphs.pop(step, None)
        self._write()

    def close(self) -> None:
        """The bundle is whole: forget how it came about."""
        self._path.unlink(missing_ok=True)


def fingerprint(checkpoint: Path, choices: str) -> str:
    """Of the files of a checkpoint (names, sizes, times), the choices, and the version that exports."""
    facts = [version("omni-edge"), str(SCHEMA), choices]
    for path in sorted(checkpoint.iterdir()):
        status = path.stat()
        facts.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@contextmanager
def beside(target: Path, of: str) -> Iterator[Partial]:
    """A folder beside the target that takes its place when the block ends well.

    Raises:
        BundleError: of the block, after which nothing is left of the folder; or the disk is full or cannot be
            written, and then what is done is kept.
    """
    target = target.absolute()
    folder, old = target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.old")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = Partial(folder, of)
        yield partial
        partial.close()
        _take_place(folder, target, old)
    except BundleError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise BundleError(
                f"the disk of {target.parent} is full; free some space and run the same command again, it goes on "
                f"where it stopped (or remove {folder})"
            ) from error
        raise BundleError(f"{target} cannot be written: {error.strerror or error}") from error


def _take_place(folder: Path, target: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
