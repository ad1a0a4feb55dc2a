"""Checkpoints and bundles of the Hugging Face hub: fetched, found and dropped through its own cache.

huggingface_hub is imported inside the functions: a session on a bundle that is already here never pays for
it. Its own switches hold: HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN.
"""

from __future__ import annotations

import errno
import glob
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from .errors import ModelNotFound, OmniError
from .manifest import MANIFEST, decode

CHECKPOINT_FILES = ("*.json", "*.safetensors", "spk_dict.pt", "*.jinja", "*.txt", "LICENSE*")
_CONFIG = "config.json"
_INDEX = "model.safetensors.index.json"
_MODEL_TYPE = "qwen2_5_omni"


class _Config(msgspec.Struct):
    model_type: str = ""


class _Index(msgspec.Struct):
    weight_map: dict[str, str]


@dataclass(frozen=True)
class CachedRepo:
    """A bundle or a Qwen2.5-Omni checkpoint in the hub's cache."""

    repo: str
    root: Path
    """Everything the cache holds of it."""
    folder: Path
    """Its newest snapshot."""
    bytes: int
    """What `root` takes on disk."""


def download(repo: str, *, offline: bool = False) -> Path:
    """Fetch what is needed of a repository and return its snapshot folder; a stopped download is resumed.

    The two small files that say what the repository is come first, so that the weights of another model are
    never fetched.

    Args:
        repo: its id, "org/name".
        offline: use only what is in the cache already.

    Raises:
        ModelNotFound: no such repository, or not one for us, or offline and not in the cache.
        OmniError: gated, no network, no space, or the hub answers with an error.
    """
    first = _snapshot(repo, None, (MANIFEST, _CONFIG), offline)
    what = kind(first)
    if what is None:
        raise ModelNotFound(f"{repo} holds neither a bundle nor a Qwen2.5-Omni checkpoint; check the name")
    patterns: Iterable[str] = CHECKPOINT_FILES
    if what == "bundle":
        manifest = decode((first / MANIFEST).read_bytes(), first / MANIFEST)
        patterns = (MANIFEST, "LICENSE*", *(glob.escape(entry.path) for entry in manifest.files))
    # The snapshot is named after its commit: both steps see the same one, whatever is pushed in between.
    folder = _snapshot(repo, first.name, patterns, offline)
    if what == "checkpoint" and (missing := missing_weights(folder)):
        raise OmniError(
            f"the download of {repo} is incomplete: {missing[0]} is missing ({len(missing)} in all). "
            "Run it again with a network connection"
        )
    return folder


def cached_snapshot(repo: str) -> Path | None:
    """Folder of the repository's newest snapshot in the cache, complete or not; None if there is none."""
    from huggingface_hub import constants, try_to_load_from_cache

    for name in (MANIFEST, _CONFIG):
        found = try_to_load_from_cache(repo, name, cache_dir=constants.HF_HUB_CACHE)
        if isinstance(found, str):
            return Path(found).parent
    return None


def cached_repos() -> tuple[CachedRepo, ...]:
    """All bundles and Qwen2.5-Omni checkpoints in the hub's cache, complete or not."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return ()
    found: list[CachedRepo] = []
    for repo in cache.repos:
        newest = max(
            repo.revisions,
            key=lambda revision: ("main" in revision.refs, revision.last_modified),
            default=None,
        )
        if repo.repo_type == "model" and newest is not None and kind(newest.snapshot_path) is not None:
            found.append(CachedRepo(repo.repo_id, repo.repo_path, newest.snapshot_path, repo.size_on_disk))
    return tuple(sorted(found, key=lambda repo: repo.repo))


def forget(repo: str) -> None:
    """Delete all snapshots of a repository from the cache.

    Raises:
        OmniError: something of it could not be deleted.
    """
    from huggingface_hub import constants, scan_cache_dir

    cache = scan_cache_dir(constants.HF_HUB_CACHE)
    for cached in cache.repos:
        if cached.repo_type == "model" and cached.repo_id == repo:
            # delete_revisions goes by commit alone, and a copied repository shares its commits with the original.
            alone = replace(cache, repos=frozenset({cached}))
            alone.delete_revisions(*(revision.commit_hash for revision in cached.revisions)).execute()
            # huggingface_hub only logs what it could not delete.
            if cached.repo_path.exists():
                raise OmniError(f"{cached.repo_path} could not be deleted; check its permissions")


def kind(folder: Path) -> Literal["bundle", "checkpoint"] | None:
    """What a snapshot is, by its manifest.json or config.json."""
    if holds(folder, MANIFEST):
        return "bundle"
    try:
        config = msgspec.json.decode((folder / _CONFIG).read_bytes(), type=_Config)
    except (OSError, msgspec.MsgspecError):
        return None
    return "checkpoint" if config.model_type == _MODEL_TYPE else None


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder looks like a checkpoint of any model: a config.json beside safetensors."""
    return holds(folder, _CONFIG) and any(folder.glob("*.safetensors"))


def missing_weights(folder: Path) -> tuple[str, ...]:
    """Weight files that a checkpoint's index names and the folder lacks; the index itself if damaged."""
    if not holds(folder, _INDEX):
        return () if any(folder.glob("*.safetensors")) else ("model.safetensors",)
    try:
        index = msgspec.json.decode((folder / _INDEX).read_bytes(), type=_Index)
    except (OSError, msgspec.MsgspecError):
        return (_INDEX,)
    return tuple(sorted(name for name in set(index.weight_map.values()) if not holds(folder, name)))


def holds(folder: Path, name: str) -> bool:
    """Whether a folder has a file of this name; a folder that may not be entered has none."""
    try:
        return (folder / name).is_file()
    except OSError:
        return False


def _snapshot(repo: str, revision: str | None, patterns: Iterable[str], offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # What the installed huggingface_hub speaks HTTP with (requests, httpx, ...) is the base of its own error.
    transport = tuple(
        base
        for base in HfHubHTTPError.__mro__
        if issubclass(base, Exception) and base.__module__.partition(".")[0] not in ("builtins", "huggingface_hub")
    )
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=list(patterns), local_files_only=offline))
    # RuntimeError is what hf_xet, the hub's transfer library, raises for all of its failures.
    except (OSError, RuntimeError, HFValidationError, *transport) as error:
        raise _translated(error, repo, offline) from error


def _translated(error: Exception, repo: str, offline: bool) -> OmniError:
    from huggingface_hub import constants, errors

    reason = _first_line(error)
    cache = constants.HF_HUB_CACHE
    match error:
        case errors.HFValidationError():
            return ModelNotFound(f"{repo!r} is not the name of a repository; give it as org/name")
        case errors.GatedRepoError():
            return OmniError(
                f"{repo} is gated: ask for access on its page on the hub, run hf auth login, then try again"
            )
        case errors.RepositoryNotFoundError() | errors.RevisionNotFoundError():
            return ModelNotFound(f"the hub has no model {repo}; check the name, or if it is private, run hf auth login")
        case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled() if offline or constants.HF_HUB_OFFLINE:
            return ModelNotFound(
                f"{repo} is not complete in {cache}, and this is offline (--offline or HF_HUB_OFFLINE). "
                f"Run omni-edge pull {repo} once with a network connection"
            )
        case errors.LocalEntryNotFoundError():
            cause = _first_line(error.__cause__ or error)
            return OmniError(f"the hub cannot be reached for {repo}: {cause}. Check the network, then try again")
        case errors.HfHubHTTPError():
            return OmniError(f"the hub refused {repo}: {reason}. Try again later")
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "os error 28" in reason:
        return OmniError(
            f"no space left in {cache} for {repo}. Free some, or set HF_HOME to a folder on a bigger disk, "
            "then run the command again: it resumes"
        )
    return OmniError(
        f"the download of {repo} failed: {reason}. Check the network and {cache}, then run the command "
        "again: it resumes"
    )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
