"""Opening sound and video files, so that whatever is wrong with one becomes a MediaError of one line."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError

from ..models.errors import MediaError
from .messages import File

# Formats that carry their own data. Playlists and concat lists are left out: they make FFmpeg open other
# files and addresses, which a file from somewhere else must not be able to do.
FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,flac,flv,gif,matroska,mov,mp3,mp4,mpeg,mpegts,mxf,ogg,w64,wav,webm,wv"


def name_of(source: File) -> str:
    """What messages call the source."""
    return "the given data" if isinstance(source, bytes) else str(source)


def check_source(source: File) -> None:
    """Refuse what cannot be a media file before any decoder looks at it.

    Raises:
        MediaError: nothing is there, it is not a regular file, may not be read, or is empty.
    """
    name = name_of(source)
    if isinstance(source, bytes):
        size = len(source)
    else:
        path = Path(source)
        if not path.exists():
            raise MediaError(f"{name} does not exist. Check the path")
        if not path.is_file():
            raise MediaError(f"{name} is a folder or a device, not a file. Name one file in it")
        try:
            with path.open("rb"):
                size = path.stat().st_size
        except OSError as error:
            raise MediaError(f"{name} cannot be read ({error.strerror}). Check its permissions") from error
    if size == 0:
        raise MediaError(f"{name} is empty (0 bytes). Record or download it again")


@contextmanager
def open_media(source: File) -> Iterator[InputContainer]:
    """Open a sound or video file for decoding inside a `with` block.

    PyAV leaves FFmpeg's log off unless the program turns it on, so nothing is written to stderr.

    Raises:
        MediaError: as `check_source`, or FFmpeg fails to open the file or, inside the block, to decode it.
    """
    check_source(source)
    # "file:" keeps FFmpeg from reading a path such as "a:b.wav" as an address.
    target = io.BytesIO(source) if isinstance(source, bytes) else f"file:{source}"
    try:
        # Tags need not be UTF-8 in old files, and nobody reads them here.
        with av.open(target, "r", options={"format_whitelist": FORMATS}, metadata_errors="replace") as container:
            yield container
    except FFmpegError as error:
        raise MediaError(
            f"{name_of(source)} is damaged, or not a sound or video file ({error.strerror}). "
            "Play it in another program, then export or download it again"
        ) from error
