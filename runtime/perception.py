"""Media parts of a message to features, and features to thinker rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..models.errors import MediaError, RequestError
from ..models.manifest import AudioFrontEnd, VisionFrontEnd
from .audio_file import read_audio
from .clip import read_clip
from .encoders import AudioEncoder, VisionEncoder
from .mel import audio_tokens, log_mel
from .messages import Audio, File, Image, Media, Video
from .picture import read_picture
from .pixels import Patches, clip_patches, picture_patches
from .positions import AudioSize, ImageSize, MediaSize, VideoSize, VideoWithAudioSize
from .remembering import Remembering


@dataclass(frozen=True, eq=False)
class Features:
    """A decoded part: how many tokens it takes, and the encoders' inputs until they have been encoded."""

    size: MediaSize
    mel: NDArray[np.float32] | None = None
    """[mels, F]"""
    patches: Patches | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """An encoded part, in thinker width; None for the sense it does not use."""

    audio: NDArray[np.float32] | None
    vision: NDArray[np.float32] | None
    audio_marks: NDArray[np.int64]
    """[audio rows], what tells these rows from those of other parts: numbers above 0."""
    vision_marks: NDArray[np.int64]
    """[vision rows], likewise."""


class Perception:
    """Decodes and encodes each part once, however many turns it is part of.

    Args:
        hear: the audio encoder.
        see: the vision encoder.
        audio: front-end settings.
        vision: front-end settings.
        max_pixels: largest area of a picture; larger ones are scaled down. None keeps the model's own limit.
    """

    def __init__(
        self,
        hear: AudioEncoder,
        see: VisionEncoder,
        audio: AudioFrontEnd,
        vision: VisionFrontEnd,
        max_pixels: int | None,
    ) -> None:
        self.hear = hear
        self.see = see
        # Of turns that come bit by bit, and may come again; a part that is given whole is known by itself.
        self.hear_again = Remembering(hear.rows, lambda mel: mel.tobytes())
        self.see_again = Remembering(see.rows, lambda each: repr(each.grid).encode() + each.values.tobytes())
        self._audio = audio
        self._vision = vision
        self._max_pixels = max_pixels
        self._features: dict[Media, Features] = {}
        self._rows: dict[Media, Rows] = {}
        self._marks = itertools.count(1)

    def features(self, part: Media) -> Features:
        """Decode a part and compute its features.

        Raises:
            MediaError: see `read_audio`, `read_picture`, `read_clip`.
        """
        if part not in self._features:
            if isinstance(part, Audio):
                mel = self._mel(part.source)
                self._features[part] = Features(AudioSize(audio_tokens(mel.shape[1])), mel=mel)
            elif isinstance(part, Image):
                rgb = part.source if isinstance(part.source, np.ndarray) else read_picture(part.source)
                patches = picture_patches(rgb, self._vision, self._max_pixels)
                self._features[part] = Features(ImageSize(patches.grid), patches=patches)
            else:
                self._features[part] = self._clip(part)
        return self._features[part]

    def rows(self, part: Media) -> Rows:
        """Encode a part. Of its features only the size is kept then."""
        if part not in self._rows:
            features = self.features(part)
            audio = None if features.mel is None else self.hear.rows(features.mel)
            vision = None if features.patches is None else self.see.rows(features.patches)
            mark = self.mark()
            counts = [0 if rows is None else len(rows) for rows in (audio, vision)]
            self._rows[part] = Rows(audio, vision, *(np.full(count, mark, np.int64) for count in counts))
            self._features[part] = Features(features.size)  # what was encoded is not needed again
        return self._rows[part]

    def remember(self, part: Media, size: MediaSize, rows: Rows) -> None:
        """Take this for what `features` and `rows` would make of a part: it was made bit by bit while it came."""
        self._features[part], self._rows[part] = Features(size), rows

    def mark(self) -> int:
        """A number that marks no row yet."""
        return next(self._marks)

    def forget(self, kept: set[Media]) -> None:
        """Drop what is remembered of all other parts."""
        for memory in (self._features, self._rows):
            for part in set(memory) - kept:
                del memory[part]

    def _mel(self, source: File | NDArray[np.float32]) -> NDArray[np.float32]:
        if not isinstance(source, np.ndarray):
            return log_mel(read_audio(source, self._audio.rate, self._audio.max_seconds).samples, self._audio)
        if source.ndim != 1:
            raise RequestError(f"a sound has shape {source.shape}; give mono samples [n] at {self._audio.rate} Hz")
        if audio_tokens(-(-source.size // self._audio.hop)) < 1:
            raise MediaError(f"a sound of {source.size} samples is too short to hear; give more than 20 ms")
        if source.size > self._audio.max_seconds * self._audio.rate:
            raise MediaError(f"a sound is longer than {self._audio.max_seconds} s; cut it")
        if not np.isfinite(source).all():
            raise MediaError("a sound holds samples that are not numbers; give values in [-1, 1]")
        return log_mel(np.asarray(source, np.float32), self._audio)

    def _clip(self, part: Video) -> Features:
        # The reference's processor always places a file's frames as if they were video_fps apart, whatever the
        # loader's choice of frames came to (FACTS §3.3).
        fps = self._vision.video_fps
        sound: File | NDArray[np.float32] | None
        if isinstance(part.source, np.ndarray):
            frames, sound, fps = part.source, part.sound, fps if part.fps is None else part.fps
            if part.use_audio and sound is None:
                raise RequestError("frames have no sound of their own; give it as Video(frames, sound=samples)")
        elif part.sound is not None or part.fps is not None:
            raise RequestError("a file has its own sound and rate; sound and fps go with frames given as an array")
        else:
            clip = read_clip(part.source, self._vision)
            frames, sound = clip.frames, part.source if part.use_audio and clip.has_sound else None
        if not (np.isfinite(fps) and fps > 0):
            raise RequestError(f"a clip of {fps:g} frames a second cannot be; use more than 0")
        patches = clip_patches(frames, fps, self._vision)
        if sound is None:
            return Features(VideoSize(patches.grid, patches.step_seconds), patches=patches)
        mel = self._mel(sound)
        size = VideoWithAudioSize(patches.grid, patches.step_seconds, audio_tokens(mel.shape[1]))
        return Features(size, mel=mel, patches=patches)
