"""Where a checkpoint came from and under which licence: what the bundle has to say about itself."""

from __future__ import annotations

import re
from pathlib import Path

from ..models.catalogue import CATALOGUE, find
from ..models.manifest import Source


def source_of(folder: Path, own_name: str = "") -> Source:
    """Name, revision, licence and notice of a checkpoint folder.

    A folder of the Hugging Face cache names its repository and revision; elsewhere the name that the checkpoint gives
    itself counts, or else the folder's.
    """
    folder = folder.resolve()
    name, revision = _from_cache(folder) or (own_name or folder.name, "")
    known = find(name) or next((row for row in CATALOGUE if row.checkpoint.rpartition("/")[2] == name), None)
    if known is not None and known.checkpoint:
        return Source(checkpoint=known.checkpoint, revision=revision, licence=known.licence, notice=known.notice)
    return Source(checkpoint=name, revision=revision, licence=_licence(folder))


def _from_cache(folder: Path) -> tuple[str, str] | None:
    """(org/name, revision) for .../models--org--name/snapshots/<revision>."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/"), folder.name
    return None


def _licence(folder: Path) -> str:
    """The licence in the front matter of the checkpoint's README.md, else "unknown"."""
    readme = folder / "README.md"
    if readme.exists():
        head = readme.read_text(encoding="utf-8", errors="replace")[:4000]
        found = re.search(r"^license(?:_name)?:\s*(\S+)", head, re.MULTILINE)
        if found:
            return found.group(1)
    return "unknown"
