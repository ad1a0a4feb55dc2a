"""Graphs to a vocoder: which kind of part each graph is made for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..models import manifest
from ..models.errors import DeviceError
from .vocoder import Vocoder
from .vocoder_part import Part
from .window_part import WindowPart

BLOCKS_AT_ONCE = 2
"""Threads that the residual blocks of a stage keep busy: the longest of the three is half of their work."""


def product_threads(session: Any, threads: int) -> int:
    """For one product of bytes. The blocks of a stage run side by side; where there are more threads than they keep
    busy, their products share those. Parts that are windows take one: there are as many windows as threads.

    Args:
        session: of one of the graphs, which are all of a kind.
        threads: for the vocoder.
    """
    return 1 if _is_window(session) else max(1, threads // BLOCKS_AT_ONCE)


def vocoder_of(sessions: Sequence[Any], settings: manifest.Vocoder, threads: int) -> Vocoder:
    """A vocoder of graphs.

    Args:
        sessions: of the graphs in order, `product_threads` each.
        settings: from the manifest, with a part for each of them.
        threads: that a part's work is spread over.

    Raises:
        DeviceError: there is no folder for compiled code.
    """
    pool = ThreadPoolExecutor(threads, "vocoder") if threads > 1 else None
    density, parts = 1, list[Part]()
    for session, part in zip(sessions, settings.parts, strict=True):
        if _is_window(session):
            parts.append(WindowPart(session, part, density, pool, threads))
        else:
            parts.append(_byte_part(session, part.rate, settings.dilations, pool))
        density *= part.rate
    return Vocoder(parts)


def _is_window(session: Any) -> bool:
    return session.get_inputs()[0].name == "rows"


def _byte_part(
    session: Any, rate: int, dilations: tuple[tuple[int, ...], ...], pool: ThreadPoolExecutor | None
) -> Part:
    try:
        # Compiled code takes half a second and 60 MB to load, which only those pay who use it.
        from .byte_part import BytePart
    except RuntimeError as error:
        raise DeviceError(
            "There is no folder for the code that is compiled for this processor. Set NUMBA_CACHE_DIR to one that can "
            f"be written ({error})"
        ) from error
    return BytePart(session, rate, dilations, pool)
