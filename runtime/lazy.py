"""Packages that cost next to nothing to import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def names_of(package: str, places: Mapping[str, tuple[str, ...]]) -> Callable[[str], object]:
    """A package's `__getattr__` that imports its public names when they are first used (PEP 562).

    Args:
        package: its `__name__`.
        places: module, relative to the package -> the names that are found there.
    """

    def find(name: str) -> object:
        for module, names in places.items():
            if name in names:
                value = getattr(import_module(module, package), name)
                setattr(sys.modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
