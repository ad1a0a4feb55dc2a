"""Any video file to the frames the vision encoder sees, sampled as the reference's loader does (FACTS §4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from ..models.errors import MediaError
from ..models.manifest import VisionFrontEnd
from .media import name_of, open_media
from .messages import File
from .pixels import clip_size, fit_frame

LOST = 0.1
"""Part of the stated length that may be missing at the end before a file counts as cut short."""


@dataclass(frozen=True)
class Clip:
    """The chosen frames of a video."""

    frames: npt.NDArray[np.uint8]
    """[N, H, W, 3], RGB, already of the size `clip_size` gives."""
    fps: float
    """Frames per second after the choice: N over the video's length."""
    duration: float
    """Length of the video in seconds: frames in the file over its frame rate."""
    has_sound: bool
    """Whether `read_audio` would find a sound track in the same file."""


@dataclass(frozen=True)
class _Stated:
    """What the file says about itself; `seconds` is 0 when it does not say."""

    frames: int
    fps: float
    seconds: float
    has_sound: bool


@dataclass(frozen=True)
class _Decoded:
    """One pass over the video. `chosen` is complete only if the video had as many frames as was believed."""

    chosen: npt.NDArray[np.uint8]
    frames: int
    """Frames there really were."""
    end: float
    """Seconds at which the last one ends."""


def read_clip(source: File, vision: VisionFrontEnd) -> Clip:
    """Decode a video, keeping an even choice of its frames, each resized at once so that memory stays bounded.

    Args:
        source: path, or the content of a file.
        vision: frame rate, frame limits and pixel limits.

    Raises:
        MediaError: the file cannot be read or decoded, has no video, no frame rate or too few frames, is
            cut short, or its frames are over 200 times as long as wide.
    """
    name = name_of(source)
    stated = _probe(source)
    total = stated.frames or _count(source)
    indices = choose_frames(total, stated.fps, vision, name)
    decoded = _decode(source, indices, vision)
    if decoded.frames != total:
        if decoded.end < (1 - LOST) * stated.seconds:
            raise MediaError(
                f"{name} is cut short: it should last {stated.seconds:.1f} s and ends after {decoded.end:.1f} s. "
                "Download or export it again"
            )
        # Edit lists and careless writers make the stated count differ from the frames that are shown.
        total = decoded.frames
        indices = choose_frames(total, stated.fps, vision, name)
        decoded = _decode(source, indices, vision)
    duration = total / stated.fps
    return Clip(decoded.chosen, len(indices) / duration, duration, stated.has_sound)


def choose_frames(total: int, source_fps: float, vision: VisionFrontEnd, name: str) -> npt.NDArray[np.int64]:
    """Which frames to keep: about `video_fps` a second, a whole number of temporal patches, evenly spread.

    Past some 10,000 frames the reference, which counts in float32, may take the frame next to one of these.

    Args:
        total: frames in the video.
        source_fps: its frames per second.
        vision: wanted frames per second, and the least and most frames.
        name: what the message calls the video.

    Returns:
        int64 [N], rising.

    Raises:
        MediaError: the video has fewer frames than one temporal patch.
    """
    step = vision.temporal_patch
    if total < step:
        raise MediaError(f"{name} has {total} video frame(s); at least {step} are needed. Give it as a picture")
    least = math.ceil(vision.video_min_frames / step) * step
    most = math.floor(min(vision.video_max_frames, total) / step) * step
    count = min(max(total / source_fps * vision.video_fps, least), most)
    return np.rint(np.linspace(0, total - 1, math.floor(count / step) * step)).astype(np.int64)


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first video track of an opened file.

    Raises:
        MediaError: there is none.
    """
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song is no video
            return stream
    raise MediaError(f"{name} has no video track. Choose a video, or give it as sound")


def _probe(source: File) -> _Stated:
    name = name_of(source)
    with open_media(source) as container:
        stream = video_stream(container, name)
        rate = stream.average_rate or stream.guessed_rate
        if not rate:
            raise MediaError(f"{name} states no frame rate. Convert it: ffmpeg -i INPUT output.mp4")
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
        return _Stated(stream.frames, float(rate), seconds, bool(container.streams.audio))


def _count(source: File) -> int:
    """Frames in a file that does not say: the whole of it is decoded once for this."""
    with open_media(source) as container:
        stream = video_stream(container, name_of(source))
        stream.thread_type = "AUTO"
        return sum(1 for _ in container.decode(stream))


def _decode(source: File, indices: npt.NDArray[np.int64], vision: VisionFrontEnd) -> _Decoded:
    name = name_of(source)
    chosen = np.zeros((0, 0, 0, 3), np.uint8)
    kept = count = 0
    end = 0.0
    with open_media(source) as container:
        stream = video_stream(container, name)
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if kept < len(indices) and count == indices[kept]:
                rgb = upright(frame)
                if kept == 0:
                    size = clip_size(len(indices), rgb.shape[0], rgb.shape[1], vision, name)
                    chosen = np.empty((len(indices), *size, 3), np.uint8)
                chosen[kept] = fit_frame(rgb, chosen.shape[1], chosen.shape[2])
                kept += 1
            count += 1
            end = _end_of(frame, stream)
    return _Decoded(chosen, count, end)


def _end_of(frame: av.VideoFrame, stream: VideoStream) -> float:
    """Seconds from the start of the track to the end of this frame; infinite when the file gives no times."""
    if frame.pts is None or frame.time_base is None:
        return math.inf
    return float((frame.pts - (stream.start_time or 0) + frame.duration) * frame.time_base)


def upright(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """The frame as a viewer would show it: uint8 [H, W, 3], turned as the file's display matrix asks."""
    rgb = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    # frame.rotation counts degrees counter-clockwise, as np.rot90 does.
    return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90)))
