"""How many threads the operators of each stage use."""

from __future__ import annotations

import os

from ..models.manifest import SubnetworkName


def threads_of(name: SubnetworkName, wanted: int) -> int:
    """Of one subnetwork.

    Args:
        name: of it.
        wanted: by the user; 0 leaves the choice to the rule.
    """
    return wanted or cores()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
