"""Where omni-edge keeps its own files, by the custom of the platform."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from .errors import OmniError

_PLACES = {
    ("win32", "cache"): ("LOCALAPPDATA", "AppData/Local", "omni-edge/Cache"),
    ("win32", "data"): ("LOCALAPPDATA", "AppData/Local", "omni-edge"),
    ("darwin", "cache"): ("", "Library/Caches", "omni-edge"),
    ("darwin", "data"): ("", "Library/Application Support", "omni-edge"),
    ("linux", "cache"): ("XDG_CACHE_HOME", ".cache", "omni-edge"),
    ("linux", "data"): ("XDG_DATA_HOME", ".local/share", "omni-edge"),
}
"""(platform, kind): environment variable of the base folder, where it is below home without it, our name."""


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
