"""Speech to a file that everything plays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


def write_flac(path: Path, samples: NDArray[np.float32], rate: int) -> None:
    """16-bit mono flac.

    Args:
        path: replaced when it exists.
        samples: [n] in ±1.
        rate: samples a second.
    """
    pcm = np.clip(samples * 32767, -32768, 32767).astype(np.int16)[None]
    with av.open(path, "w", format="flac") as target:
        stream: Any = target.add_stream("flac", rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="mono")
        frame.sample_rate = rate
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
