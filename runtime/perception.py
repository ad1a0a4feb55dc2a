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


@dataclass(frozen=True, eq=False)
class Features:
    """A decoded part: how many tokens it takes, and the encoders' inputs."""

    size: MediaSize
    mel: NDArray[np.float32] | None = None
    """[mels, F]"""
    patches: Patches | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """An encoded part, in thinker width; None for the sense it does not use."""

    audio: NDArray[np.float32] | None
    vision: NDArray[np.float32] | None
    mark: int
    """A number above 0 that no other part of this conversation has."""


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
        self._hear = hear
        self._see = see
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
        """Encode a part."""
        if part not in self._rows:
            features = self.features(part)
            self._rows[part] = Rows(
                None if features.mel is None else self._hear.rows(features.mel),
                None if features.patches is None else self._see.rows(features.patches),
                next(self._marks),
            )
        return self._rows[part]

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
        # The reference's processor always places frames as if they were video_fps apart, whatever the loader's
        # choice of frames came to (FACTS §3.3).
        fps = self._vision.video_fps
        if isinstance(part.source, np.ndarray):
            patches = clip_patches(part.source, fps, self._vision)
            return Features(VideoSize(patches.grid, patches.step_seconds), patches=patches)
        clip = read_clip(part.source, self._vision)
        patches = clip_patches(clip.frames, fps, self._vision)
        if not (part.use_audio and clip.has_sound):
            return Features(VideoSize(patches.grid, patches.step_seconds), patches=patches)
        mel = self._mel(part.source)
        size = VideoWithAudioSize(patches.grid, patches.step_seconds, audio_tokens(mel.shape[1]))
        return Features(size, mel=mel, patches=patches)
