"""Command-line options to the parts of a message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from ..models.errors import RequestError
from ..runtime.messages import Audio, Image, Part, Text, Video

STDIN = "-"


def parts_of(options: Sequence[tuple[str, str]], use_audio_in_video: bool, stdin: TextIO) -> tuple[Part, ...]:
    """Parts in the order of the options.

    Args:
        options: (text | image | audio | video, value).
        use_audio_in_video: whether clips are heard as well.
        stdin: read to its end for the text "-".

    Raises:
        RequestError: what was read there is no text.
    """
    return tuple(_part(kind, value, use_audio_in_video, stdin) for kind, value in options)


def _part(kind: str, value: str, use_audio_in_video: bool, stdin: TextIO) -> Part:
    match kind:
        case "text":
            return Text(_read(stdin) if value == STDIN else value)
        case "image":
            return Image(Path(value))
        case "audio":
            return Audio(Path(value))
        case _:
            return Video(Path(value), use_audio_in_video)


def _read(stdin: TextIO) -> str:
    try:
        return stdin.read().rstrip("\n")
    except UnicodeDecodeError as error:
        raise RequestError(f"standard input is no {error.encoding.upper()} text: {error.reason}; convert it") from error
