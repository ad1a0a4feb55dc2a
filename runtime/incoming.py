"""The sound and the pictures of a turn while they come, as one part of a message."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.errors import MediaError
from ..models.manifest import Manifest
from .hearing import Hearing
from .messages import Audio, Media, Video
from .perception import Perception, Rows
from .positions import AudioSize, MediaSize, VideoWithAudioSize
from .seeing import Seeing

NO_MARKS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Piece:
    """The beginning of a part, or all of it."""

    size: MediaSize
    rows: Rows


class Incoming:
    """A sound, or a clip with its sound, that is still going on.

    Sound and pictures are cut at the chunks of the audio encoder, which are those of the clock. A chunk is certain when
    its sound is encoded and, in a clip, its pictures are. Pictures that are later than one more chunk of sound are not
    waited for: the clip's pictures end there and its sound goes on. A clip of which no picture came is a sound.

    Args:
        perception: of the bundle.
        manifest: of the bundle.
        video: whether pictures come.
        budget: most picture tokens a second, see `Seeing`.
    """

    def __init__(self, perception: Perception, manifest: Manifest, *, video: bool, budget: float | None) -> None:
        self._clock = manifest.clock
        self._video = video
        for encoder in (perception.hear_again, perception.see_again):
            encoder.turn()
        self.hearing = Hearing(perception.hear_again, manifest.audio, perception.mark)
        self.seeing = Seeing(perception.see_again, manifest.vision, manifest.clock, budget)
        self._perception = perception
        self.reset()

    def reset(self) -> None:
        """Forget what came."""
        self.hearing.reset()
        self.seeing.reset()
        self._mark = self._perception.mark()
        if not self._video:
            self.seeing.stop()

    @property
    def is_clip(self) -> bool:
        """Whether there are pictures; while none has come, whether there can be."""
        return bool(self.seeing.kept) or not self.seeing.is_over

    @property
    def part(self) -> Media:
        """What came so far, to be given to a session whole."""
        sound = self.hearing.samples
        return Video(self.seeing.frames, sound=sound, fps=self.seeing.fps) if self.seeing.kept else Audio(sound)

    @property
    def ready(self) -> int:
        """Leading chunks that are certain, as things stand."""
        ready = self.hearing.ready
        if self.is_clip and not self._pictures_end:
            while ready and self.seeing.steps < self._steps(ready):
                ready -= 1
        return ready

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Further sound, [n]."""
        self.hearing.hear(samples)
        late = self._steps(self.hearing.chunks - 1) * self.seeing.frames_a_step
        if self.seeing.kept < late:
            self.seeing.stop()

    def see(self, frame: NDArray[np.uint8]) -> None:
        """The next frame."""
        self.seeing.see(frame)

    def step(self) -> bool:
        """Encode one temporal step of the pictures or one chunk of the sound. Returns whether there was one."""
        return self.seeing.step() or self.hearing.step()

    def finish(self) -> Piece:
        """All of it; nothing more comes.

        Raises:
            MediaError: it is too short to hear.
        """
        self.seeing.stop()
        self.hearing.finish()
        while self.step():
            pass
        if not self.hearing.tokens:
            raise MediaError(
                f"a sound of {self.hearing.samples.size} samples is too short to hear; give more than 20 ms"
            )
        return self._piece(self.hearing.chunks, self.seeing.steps)

    def piece(self, chunks: int) -> Piece:
        """The first chunks, of those that are ready; at least one."""
        return self._piece(chunks, min(self._steps(chunks), self.seeing.steps))

    def _piece(self, chunks: int, steps: int) -> Piece:
        audio, audio_marks = self.hearing.rows(chunks)
        if not self.seeing.kept:
            return Piece(AudioSize(len(audio)), Rows(audio, None, audio_marks, NO_MARKS))
        vision = self.seeing.rows(steps)
        size = VideoWithAudioSize(self.seeing.grid(steps), self.seeing.step_seconds, len(audio))
        return Piece(size, Rows(audio, vision, audio_marks, np.full(len(vision), self._mark)))

    @property
    def _pictures_end(self) -> bool:
        """Whether all pictures there will ever be are encoded."""
        return self.seeing.is_over and self.seeing.steps * self.seeing.frames_a_step >= self.seeing.kept

    def _steps(self, chunks: int) -> int:
        """Temporal steps before the end of so many chunks."""
        return max(0, math.ceil(chunks * self._clock.seconds_per_chunk / self.seeing.step_seconds))
