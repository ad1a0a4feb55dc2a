"""What the commands share about terminals."""

from __future__ import annotations

import unicodedata
from typing import Any


def on_terminal(stream: Any) -> bool:
    """Whether a person reads (or types at) this stream."""
    # Without a console (pythonw, some services) the standard streams are None.
    return stream is not None and stream.isatty()


def size(count: int) -> str:
    """Bytes in decimal units, as the hub shows them."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB"


def printable(text: str) -> str:
    """Text without control characters, which a model may write and a terminal may obey."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")
