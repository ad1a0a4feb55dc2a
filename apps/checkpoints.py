"""Checkpoints that commands are told by folder or by name."""

from __future__ import annotations

from pathlib import Path

from ..models import hub, store
from ..models.catalogue import find
from ..models.errors import ModelNotFound, RequestError


def checkpoint_folder(text: str) -> Path:
    """A folder, or what a name was pulled to.

    Raises:
        RequestError: the built-in model, which ships without its checkpoint.
        ModelNotFound: an unknown name, or one that has not been pulled.
    """
    folder = Path(text)
    if folder.exists():
        return folder
    known = find(text)
    if known is not None and known.built_in:
        raise RequestError(f"{text} is built in without what it was exported from; give the folder of its checkpoint")
    repo = store.repository(text)
    snapshot = hub.cached_snapshot(repo)
    if snapshot is None:
        raise ModelNotFound(f"{repo} is not on this machine. Run: omni-edge pull {text}")
    return snapshot
