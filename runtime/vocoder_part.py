"""What the vocoder is made of: parts that each take rows as they come and give rows, some of them later."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class PartStream(Protocol):
    """One utterance in one part."""

    def step(self, rows: F32, *, last: bool) -> F32:
        """Take more rows [n, C], any number, and give those [m, C'] that hang on none that may still come."""
        ...


class Part(Protocol):
    """One graph of the vocoder."""

    def begin(self) -> PartStream:
        """Start an utterance."""
        ...

    def held(self, before: int) -> int:
        """Rows at the end of what it will give that it holds back as long as more may come, if what it takes is
        `before` rows short of its end."""
        ...
