"""Features to thinker rows: the audio and the vision encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import AudioFrontEnd, VisionFrontEnd
from ..models.windows import window_layout
from .mel import audio_tokens, filled
from .pixels import Patches

T_contra = TypeVar("T_contra", contravariant=True)


class Encoder(Protocol[T_contra]):
    """One of these, or one that remembers."""

    def rows(self, inputs: T_contra, /) -> NDArray[np.float32]:
        """Features -> [tokens, hidden]."""
        ...


class Graph(Protocol):
    """What the encoders need of a session of ONNX Runtime."""

    def run(self, output_names: None, input_feed: dict[str, Any]) -> Sequence[Any]:
        """All outputs for inputs by name."""
        ...


class AudioEncoder:
    """Log-mel to rows, chunk by independent chunk, so stepping by whole chunks equals the whole (FACTS §4.2).

    Args:
        session: of the bundle's audio encoder.
        front: from the manifest.
    """

    def __init__(self, session: Graph, front: AudioFrontEnd) -> None:
        self._session = session
        self._front = front

    def rows(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """[mels, F] -> [audio_tokens(F), hidden], F at least 3. Cuts at multiples of `chunk_frames` change nothing.

        Not the last bit, therefore each chunk is a run of its own: a kernel may sum in another order when there is more
        to work on. A last chunk of one or two frames makes no token and is not run.
        """
        step = self._front.chunk_frames
        chunks = (mel[:, start : start + step] for start in range(0, mel.shape[1], step))
        return np.concatenate([self._chunk(chunk) for chunk in chunks if audio_tokens(chunk.shape[1])])

    def _chunk(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        chunk, frames = filled(mel)
        rows = np.asarray(self._session.run(None, {"mel": chunk, "frames": frames})[0])
        return rows[0, : audio_tokens(mel.shape[1])]


class VisionEncoder:
    """Patches to rows in raster order, one picture or clip a call (FACTS §4.4).

    Args:
        session: of the bundle's vision encoder.
        front: from the manifest.
    """

    def __init__(self, session: Graph, front: VisionFrontEnd) -> None:
        self._session = session
        self._front = front

    def rows(self, patches: Patches) -> NDArray[np.float32]:
        """Patches of a (t, h, w) grid -> [t·h·w / merge², hidden]. Frames do not see each other."""
        front = self._front
        time, height, width = patches.grid
        # One temporal step at a time: attention over whole frames is what takes memory, and frames are independent.
        layout = window_layout((1, height, width), front.merge, front.window // (front.patch * front.merge))
        index = {
            name: getattr(layout, name) for name in ("places", "windows", "window_sizes", "window_slots", "frames")
        }
        parts = []
        for frame in patches.values.reshape(time, height * width, -1):
            rows = self._session.run(None, {"patches": frame[layout.order], **index})[0]
            parts.append(np.asarray(rows)[layout.units])
        return np.concatenate(parts)
