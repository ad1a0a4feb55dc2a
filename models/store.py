"""Where models lie on this machine, and which bundle a name stands for. Nothing here uses the network.

nano               ships in the package
3b, 7b, org/name   exported: bundles/<short name or org--name> in the user's data folder (OMNI_EDGE_HOME);
                   downloaded: the hub's cache, where a repository that is a bundle is used in place
any folder         a bundle the user made
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import hub
from .bundle import inspect_bundle
from .catalogue import CATALOGUE, KnownModel, find
from .errors import BundleError, ModelNotFound, OmniError
from .manifest import MANIFEST, Manifest
from .places import user_folder

NANO = Path(__file__).parent / "nano" / "bundle"
State = Literal["ready", "downloaded", "incomplete", "available"]
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


@dataclass(frozen=True)
class StoredModel:
    """One thing that `omni-edge list` shows."""

    name: str
    state: State
    """ready: a bundle; downloaded: a checkpoint to be exported; incomplete: part of either; available: to pull."""
    path: Path | None
    bytes: int
    """On disk, or to download if it is only available."""
    precision: str
    licence: str
    notice: str


@dataclass(frozen=True)
class Removal:
    """What removing a model deletes: a bundle in the store, snapshots in the hub's cache, or both."""

    name: str
    bundle: Path | None
    cached: hub.CachedRepo | None
    bytes: int

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders that will be gone."""
        return tuple(path for path in (self.bundle, self.cached and self.cached.root) if path is not None)


def store_folder() -> Path:
    """The folder that holds exported bundles; it may not exist yet.

    Raises:
        OmniError: the user has no home folder and OMNI_EDGE_HOME is not set.
    """
    return user_folder("data", "OMNI_EDGE_HOME") / "bundles"


def bundle_folder(name: str) -> Path:
    """Where the bundle of a model belongs: `omni-edge export` writes it there and `resolve` finds it there.

    Raises:
        ModelNotFound: not a short name, a Hugging Face id or a plain name.
        OmniError: as `store_folder`.
    """
    if not _NAME.fullmatch(name):
        raise _unknown(name)
    known = find(name)
    return store_folder() / (known.short if known else name.replace("/", "--"))


def repository(name: str) -> str:
    """The Hugging Face id that a name stands for.

    Raises:
        ModelNotFound: neither in the catalogue nor of the form org/name.
    """
    known = find(name)
    if known is not None and not known.built_in:
        return known.checkpoint
    if known is None and "/" in name and _NAME.fullmatch(name):
        return name
    raise _unknown(name)


def resolve(model: str) -> Path:
    """The bundle folder that a `--model` argument stands for. It is not opened yet.

    Raises:
        BundleError: the folder of a checkpoint, or another folder that is no bundle.
        ModelNotFound: an unknown name, or a known one that has to be pulled or exported first.
    """
    folder = Path(model)
    if model and hub.holds(folder, MANIFEST):
        return folder.absolute()
    if model and hub.is_checkpoint(folder):
        raise BundleError(f'{folder} is a checkpoint, not a bundle. Export it: omni-edge export "{folder}" BUNDLE')
    known = find(model)
    if known is not None and known.built_in:
        if not hub.holds(NANO, MANIFEST):
            raise BundleError(f"the built-in {known.short} is missing at {NANO}; install omni-edge again")
        return NANO
    if _NAME.fullmatch(model) and hub.holds(bundle_folder(model), MANIFEST):
        return bundle_folder(model)
    if known is None and os.access(model, os.F_OK):
        raise BundleError(f"{folder} has no {MANIFEST}, so it is not the folder of a bundle")
    snapshot = hub.cached_snapshot(repository(model))
    if snapshot is not None and hub.kind(snapshot) == "bundle":
        return snapshot
    raise _not_ready(known.short if known else model, known, snapshot, bundle_folder(model))


def notice_of(manifest: Manifest) -> str:
    """What has to be told to whoever uses this bundle; empty if nothing."""
    known = find(manifest.source.checkpoint)
    return manifest.source.notice or (known.notice if known else "")


def stored() -> tuple[StoredModel, ...]:
    """What is on disk, and what the catalogue offers beyond it; catalogue first, then by name.

    Raises:
        OmniError: as `store_folder`.
    """
    rows = [_bundle_row("nano", NANO), *_store_rows(), *_cache_rows()]
    present = {row.name for row in rows}
    rows += [
        StoredModel(known.short, "available", None, known.download_bytes, "", known.licence, known.notice)
        for known in CATALOGUE
        if known.short not in present
    ]
    order = {known.short: index for index, known in enumerate(CATALOGUE)}
    return tuple(sorted(rows, key=lambda row: (order.get(row.name, len(order)), row.name)))


def removal(name: str) -> Removal:
    """What `remove` would delete.

    Raises:
        ModelNotFound: nothing of that name is on this machine.
        OmniError: the built-in model.
    """
    known = find(name)
    if known is not None and known.built_in:
        raise OmniError(f"{known.short} ships in the package and cannot be removed")
    bundle = bundle_folder(name)
    repo = known.checkpoint if known else name
    cached = next((found for found in hub.cached_repos() if found.repo.casefold() == repo.casefold()), None)
    kept = bundle if bundle.is_dir() else None
    if kept is None and cached is None:
        raise ModelNotFound(f"nothing of {name} is on this machine; omni-edge list shows what is")
    size = (_disk_bytes(kept) if kept else 0) + (cached.bytes if cached else 0)
    return Removal(known.short if known else name, kept, cached, size)


def remove(name: str) -> Removal:
    """Delete a model's bundle from the store and its snapshots from the hub's cache, whichever are there.

    Raises:
        ModelNotFound, OmniError: as `removal`; or something could not be deleted.
    """
    plan = removal(name)
    try:
        if plan.bundle is not None and plan.bundle.is_symlink():
            plan.bundle.unlink()
        elif plan.bundle is not None:
            shutil.rmtree(plan.bundle)
    except OSError as error:
        raise OmniError(f"{plan.bundle} could not be deleted: {error.strerror}. Check its permissions") from error
    if plan.cached is not None:
        hub.forget(plan.cached.repo)
    return plan


def _store_rows() -> Iterator[StoredModel]:
    folder = store_folder()
    for bundle in sorted(folder.iterdir()) if folder.is_dir() else ():
        if bundle.is_dir() and _NAME.fullmatch(bundle.name):
            yield _bundle_row(bundle.name.replace("--", "/", 1), bundle)


def _cache_rows() -> Iterator[StoredModel]:
    for cached in hub.cached_repos():
        known = find(cached.repo)
        name = known.short if known else cached.repo
        if hub.kind(cached.folder) == "bundle":
            yield _bundle_row(name, cached.folder)
            continue
        state: State = "incomplete" if hub.missing_weights(cached.folder) else "downloaded"
        licence, notice = (known.licence, known.notice) if known else ("", "")
        yield StoredModel(name, state, cached.folder, cached.bytes, "", licence, notice)


def _bundle_row(name: str, folder: Path) -> StoredModel:
    try:
        bundle = inspect_bundle(folder)
    except BundleError:
        return StoredModel(name, "incomplete", folder, _disk_bytes(folder), "", "", "")
    manifest = bundle.manifest
    precision = ", ".join(
        dict.fromkeys(graph.precision for network in manifest.subnetworks.values() for graph in network.graphs)
    )
    return StoredModel(name, "ready", folder, bundle.bytes, precision, manifest.source.licence, notice_of(manifest))


def _disk_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _not_ready(name: str, known: KnownModel | None, snapshot: Path | None, bundle: Path) -> ModelNotFound:
    if snapshot is not None and hub.kind(snapshot) == "checkpoint":
        if hub.missing_weights(snapshot):
            return ModelNotFound(f"the download of {name} is incomplete. Resume it: omni-edge pull {name}")
        return ModelNotFound(f'{name} is downloaded but not exported. Run: omni-edge export "{snapshot}" "{bundle}"')
    size = f" ({known.download_bytes / 1e9:.3g} GB)" if known else ""
    return ModelNotFound(
        f"{name} is not on this machine. Run: omni-edge pull {name}{size}, then, with the folder it prints: "
        f'omni-edge export FOLDER "{bundle}"{_suggestion(name) if known is None else ""}'
    )


def _unknown(name: str) -> ModelNotFound:
    names = ", ".join(known.short for known in CATALOGUE)
    return ModelNotFound(
        f"there is no model {name!r}. Known are {names}; or give a Hugging Face id (org/name) or the folder "
        f"of a bundle{_suggestion(name)}"
    )


def _suggestion(name: str) -> str:
    names = [name for known in CATALOGUE for name in (known.short, known.checkpoint) if name]
    close = difflib.get_close_matches(name.casefold(), {each.casefold(): each for each in names}, n=1)
    spelled = next((each for each in names if close and each.casefold() == close[0]), "")
    return f". Did you mean {spelled}?" if spelled else ""
