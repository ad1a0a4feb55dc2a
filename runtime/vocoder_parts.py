"""Graphs to a vocoder: which kind of part each graph is made for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..models import manifest
from .vocoder import Vocoder
from .vocoder_part import Part
from .window_part import WindowPart


def vocoder_of(sessions: Sequence[Any], settings: manifest.Vocoder, threads: int) -> Vocoder:
    """A vocoder of graphs.

    Args:
        sessions: of the graphs in order, one thread each.
        settings: from the manifest, with a part for each of them.
        threads: that a part's work is spread over.
    """
    pool = ThreadPoolExecutor(threads, "vocoder") if threads > 1 else None
    density, parts = 1, list[Part]()
    for session, part in zip(sessions, settings.parts, strict=True):
        if session.get_inputs()[0].name == "rows":
            parts.append(WindowPart(session, part, density, pool, threads))
        else:
            # Compiled code takes a third of a second and 60 MB to load, which only those pay who use it.
            from .byte_part import BytePart

            parts.append(BytePart(session, part.rate, settings.dilations, pool))
        density *= part.rate
    return Vocoder(parts)
