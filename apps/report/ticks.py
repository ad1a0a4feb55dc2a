"""How far the work is."""

from __future__ import annotations

from collections.abc import Callable

Tick = Callable[[str, int, int], None]
"""Called before each piece of work: what it is part of, how many pieces of that are done, how many there are."""
