"""Frames of a clip to thinker rows while they come."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Clock, VisionFrontEnd
from .encoders import Encoder
from .pixels import Patches, clip_patches, clip_size, fit_frame, smart_resize


class Seeing:
    """The pictures of a clip that is still going on.

    Frames come at the manifest's rate. A budget that they exceed is met, in this order, by a lower rate (every k-th
    frame is kept, as long as each chunk of the clock still gets a temporal step) and by smaller pictures (down to the
    model's smallest); both are settled with the first frame. When the clip has as many frames as the model takes at
    that size, the pictures end there. What was kept is exactly the clip that the model is given: `frames` at `fps`.

    Args:
        encoder: of pictures.
        front: from the manifest.
        clock: from the manifest.
        budget: most tokens a second; None is no limit.
    """

    def __init__(self, encoder: Encoder[Patches], front: VisionFrontEnd, clock: Clock, budget: float | None) -> None:
        self._encoder = encoder
        self._front = front
        self._clock = clock
        self._budget = budget
        self.reset()

    def reset(self) -> None:
        """Forget all frames, and what was settled with the first."""
        self.seen = 0
        """Frames that came."""
        self.is_over = False
        """Whether no further frame is kept."""
        self._every = 1
        self._frames: list[NDArray[np.uint8]] = []
        self._rows: list[NDArray[np.float32]] = []
        self._size = (0, 0)

    @property
    def fps(self) -> float:
        """Frames a second of those that are kept."""
        return self._front.video_fps / self._every

    @property
    def step_seconds(self) -> float:
        """From one temporal step to the next."""
        return self._front.temporal_patch / self.fps

    @property
    def frames(self) -> NDArray[np.uint8]:
        """Kept so far: [n, height, width, 3], in the size in which they are encoded."""
        return np.stack(self._frames) if self._frames else np.zeros((0, 0, 0, 3), np.uint8)

    @property
    def kept(self) -> int:
        """How many frames that is."""
        return len(self._frames)

    @property
    def steps(self) -> int:
        """Temporal steps encoded so far."""
        return len(self._rows)

    @property
    def frames_a_step(self) -> int:
        """Frames of a temporal step."""
        return self._front.temporal_patch

    def rows(self, steps: int) -> NDArray[np.float32]:
        """Of the first so many steps, [tokens, hidden]."""
        return np.concatenate(self._rows[:steps])

    def grid(self, steps: int) -> tuple[int, int, int]:
        """Patches of a clip of so many steps: time, height, width."""
        return steps, self._size[0] // self._front.patch, self._size[1] // self._front.patch

    def see(self, frame: NDArray[np.uint8]) -> None:
        """The next frame, uint8 [H, W, 3] in RGB; later ones are brought to the size of the first.

        Raises:
            MediaError: one side is over 200 times the other.
        """
        if not self.seen:
            self._settle(*frame.shape[:2])
        index, self.seen = self.seen, self.seen + 1
        if index % self._every or self.is_over:
            return
        if len(self._frames) == self._front.video_max_frames or self._size != clip_size(
            len(self._frames) + 1, *self._size, self._front
        ):
            self.is_over = True
            return
        self._frames.append(fit_frame(frame, *self._size))

    def stop(self) -> None:
        """No further frame is kept; an odd last one is repeated."""
        self.is_over = True

    def step(self) -> bool:
        """Encode the next temporal step, if its frames have come. Returns whether there was one."""
        time = self._front.temporal_patch
        frames = self._frames[self.steps * time : (self.steps + 1) * time]
        if not frames or (len(frames) < time and not self.is_over):
            return False
        patches = clip_patches(np.stack(frames), self.fps, self._front)
        self._rows.append(self._encoder.rows(patches))
        return True

    def _settle(self, height: int, width: int) -> None:
        """Size and rate, from the first frame."""
        front = self._front
        self._size = self._stable(height, width)
        if self._budget is None:
            return
        side, step = front.patch * front.merge, self.step_seconds
        area = self._size[0] * self._size[1]
        lowest = max(1, int(self._clock.seconds_per_chunk / step))
        self._every = min(lowest, math.ceil(area / side**2 / step / self._budget))
        most = max(front.video_min_pixels, int(self._budget * self.step_seconds) * side**2)
        if area > most:
            self._size = self._stable(*smart_resize(*self._size, side, front.video_min_pixels, most))

    def _stable(self, height: int, width: int) -> tuple[int, int]:
        """A size that a clip's frames have and, given to the model again, keep."""
        size = (height, width)
        while (again := clip_size(self._front.temporal_patch, *size, self._front)) != size:
            size = again
        return size
