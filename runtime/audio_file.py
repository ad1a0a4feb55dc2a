"""Any sound file to the mono samples the audio encoder hears."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
import soxr
from av.container import InputContainer

from ..models.errors import MediaError
from .media import name_of, open_media
from .messages import File

SHORTEST = 0.02
"""Seconds. A sound of no more than two mel frames of 10 ms gives no token at all (FACTS §4.1)."""


@dataclass(frozen=True)
class AudioClip:
    """A decoded sound."""

    samples: npt.NDArray[np.float32]
    """Mono, [N], full scale is -1..1."""
    rate: int
    """Samples per second."""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.size / self.rate


def read_audio(source: File, rate: int, max_seconds: float) -> AudioClip:
    """Decode the first sound track of a file: wav, flac, mp3, m4a, ogg, or the sound of an mp4, mkv or webm.

    Channels are averaged, then resampled with soxr at its high quality, in that order, as librosa does
    for the reference. Integer samples are scaled by their full range; floats stay as they are.

    Args:
        source: path, or the content of a file.
        rate: samples per second wanted.
        max_seconds: longest sound accepted.

    Raises:
        MediaError: the file cannot be read or decoded, has no sound, at most 20 ms of it or more than
            `max_seconds`, or holds samples that are not numbers.
    """
    name = name_of(source)
    with open_media(source) as container:
        mono, native = _whole(container, name, max_seconds)
    samples = mono if native == rate else soxr.resample(mono, native, rate, quality="HQ")
    if samples.size <= SHORTEST * rate:
        raise MediaError(
            f"{name} lasts {1000 * samples.size / rate:.0f} ms; more than {1000 * SHORTEST:.0f} ms are needed. "
            "Record a longer sound"
        )
    return AudioClip(samples, rate)


def decode_audio(container: InputContainer, name: str) -> Iterator[AudioClip]:
    """The first sound track of an opened file, piece by piece as it is stored: its own rate, channels averaged.

    Args:
        container: of `open_media`.
        name: what messages call the file.

    Raises:
        MediaError: there is no sound track or no sample in it, samples are not numbers, or the format changes midway.
    """
    if not container.streams.audio:
        raise MediaError(f"{name} has no sound track. Choose a file with sound")
    planar = av.AudioResampler(format="fltp")  # changes the sample format alone, exactly
    layout = None
    native = 0
    for frame in container.decode(container.streams.audio[0]):
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        layout, native = layout or found, frame.sample_rate
        if found != layout:
            raise MediaError(f"{name} changes its sample format midway. Convert it: ffmpeg -i INPUT -ac 1 output.wav")
        yield from (_mono(part, name) for part in planar.resample(frame))
    if not native:
        raise MediaError(f"{name} holds no samples. Record or export it again")
    yield from (_mono(part, name) for part in planar.resample(None))


def _whole(container: InputContainer, name: str, max_seconds: float) -> tuple[npt.NDArray[np.float32], int]:
    """The track's samples as float32 [N], and their rate."""
    pieces: list[npt.NDArray[np.float32]] = []
    native = total = 0
    for piece in decode_audio(container, name):
        native = piece.rate
        total += piece.samples.size
        if total > max_seconds * native:
            raise MediaError(_too_long(container, name, max_seconds))
        pieces.append(piece.samples)
    return np.concatenate(pieces), native


def _mono(frame: av.AudioFrame, name: str) -> AudioClip:
    samples = frame.to_ndarray().mean(axis=0, dtype=np.float32)
    if not np.isfinite(samples).all():
        raise MediaError(f"{name} holds samples that are not numbers. Export it again, as 16-bit wav for example")
    return AudioClip(samples, frame.sample_rate)


def _too_long(container: InputContainer, name: str, max_seconds: float) -> str:
    # A file may state no length, or too short a one when its bit rate varies.
    stated = (container.duration or 0) / av.time_base
    length = f"{stated:.0f} s ({stated / 60:.1f} min)" if stated >= max_seconds + 1 else "longer"
    return (
        f"{name} lasts {length}; at most {max_seconds:g} s can be heard at once. "
        f"Cut it: ffmpeg -ss 0 -t {max_seconds:g} -i INPUT part.wav"
    )
