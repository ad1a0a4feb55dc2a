"""A file that plays as if it were a camera."""

from __future__ import annotations

from collections.abc import Generator

import av

from ...models.errors import MediaError
from ..clip import upright, video_stream
from ..media import name_of, open_media
from ..messages import File
from ..picture import is_picture, read_picture
from .sources import HEARD_RATE, Position, Seen, Trouble
from .watching import PictureWatch


class FileCamera:
    """A `Camera` that gives the frames of a file: what a viewer would see at each whole frame time. It begins to play
    with the microphone's first sample and goes by its samples, so that sound and pictures of one clip stay together.
    After its end nothing comes; a picture has none.

    A camera cannot know how long it will be looked at. `read_clip` does, and spreads its choice from the first frame to
    the last; the two choose the same frames where `read_clip` takes all: of a clip at this very rate, with as many
    frames as fill temporal patches, and no more than the model takes.

    Args:
        source: any file with video that `read_clip` takes, or with a picture that `read_picture` takes.
        fps: frames a second to give, whatever the file has.
        position: the microphone's.

    Raises:
        MediaError: the file cannot be opened, has no picture, or no frame of it can be decoded.
    """

    def __init__(self, source: File, fps: float, position: Position) -> None:
        self._position = position
        self._fps = fps
        self._video = _still(source) if is_picture(source) else _frames(source)
        self._now: av.VideoFrame | None = next(self._video)[1]
        self._next = self._ahead()
        self._watch = PictureWatch(name_of(source))
        self._given = 0

    def read(self) -> list[Seen | Trouble]:
        """The frames whose time has come. Files are decoded here, as far as the clock is."""
        passed = self._position() / HEARD_RATE
        events: list[Seen | Trouble] = []
        try:
            while self._now is not None and self._given / self._fps <= passed:
                self._decode(self._given / self._fps)
                if self._now is not None:
                    events += self._seen(self._now)
            self._decode(min(self._given / self._fps, passed))  # a little at each call, none of which is long
        except MediaError as error:
            self.close()
            events.append(Trouble(str(error)))
        return events

    def close(self) -> None:
        """Nothing more is given."""
        self._now = self._next = None
        self._video.close()

    def _seen(self, frame: av.VideoFrame) -> list[Seen | Trouble]:
        picture = upright(frame)
        at = round(self._given * HEARD_RATE / self._fps)
        self._given += 1
        return [*self._watch.step(picture), Seen(picture, at)]

    def _decode(self, seconds: float) -> None:
        """Go on to the frame that is shown at a moment of the file."""
        while self._now is not None and self._next is not None and self._next[0] <= seconds:
            self._now, self._next = self._next[1], self._ahead()

    def _ahead(self) -> tuple[float, av.VideoFrame | None] | None:
        return next(self._video, None)


def _still(source: File) -> Generator[tuple[float, av.VideoFrame]]:
    """A picture: a video of one frame that is never over."""
    yield 0.0, av.VideoFrame.from_ndarray(read_picture(source), format="rgb24")


def _frames(source: File) -> Generator[tuple[float, av.VideoFrame | None]]:
    """Each frame and the second at which it is shown; at the end of the last one, None."""
    name = name_of(source)
    with open_media(source) as container:
        stream = video_stream(container, name)
        stream.thread_type = "AUTO"
        rate = stream.average_rate or stream.guessed_rate
        length = 1 / float(rate) if rate else 0.0
        start = stream.start_time or 0
        end = None
        for frame in container.decode(stream):
            # Some files give no times; their frames follow each other at the file's rate.
            if frame.pts is None or frame.time_base is None:
                seconds = end or 0.0
            else:
                seconds = float((frame.pts - start) * frame.time_base)
            yield seconds, frame
            end = seconds + length
        if end is None:
            raise MediaError(f"{name} holds no frame. Record or export it again")
        yield end, None
