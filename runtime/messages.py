"""What a conversation is made of: messages of parts, as the caller has them (not decoded, not counted).

Media parts compare by identity, not by value: a source may be an array, which has no single truth value,
and a session that remembers what it has already encoded asks "this very part?", not "equal bytes?".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Role: TypeAlias = Literal["system", "user", "assistant"]

File: TypeAlias = str | Path | bytes
"""A path, or the bytes of a whole file in any format that the media decoders read."""
Waveform: TypeAlias = NDArray[np.float32]
"""Mono samples in [-1, 1], float32 [n], at the manifest's audio rate."""
Pixels: TypeAlias = NDArray[np.uint8]
"""RGB: uint8 [height, width, 3] for an image, [frames, height, width, 3] for a clip."""


@dataclass(frozen=True)
class Text:
    """Words. Always plain: "<|im_start|>" in here is twelve characters, not a control token (prompt.py)."""

    text: str


@dataclass(frozen=True)
class Tokens:
    """What the model generated earlier, kept as the ids it chose.

    Encoding its text again may give other ids, and with them a cache that no longer fits.

    Args:
        ids: generated ids, int, without the closing end-of-turn id (the chat template writes that one).
        text: what `ids` decode to, for people to read.
    """

    ids: tuple[int, ...]
    text: str


@dataclass(frozen=True, eq=False)
class Audio:
    """Something to hear."""

    source: File | Waveform


@dataclass(frozen=True, eq=False)
class Image:
    """A still picture to see."""

    source: File | Pixels


@dataclass(frozen=True, eq=False)
class Video:
    """A clip to see and, if wanted, to hear at the same time."""

    source: File | Pixels
    use_audio: bool = False
    """Of a file: whether its own sound is heard."""
    sound: Waveform | None = None
    """Of frames given as an array: what is heard with them, from the first frame on. Without it they are silent."""
    fps: float | None = None
    """Of frames given as an array: how many are a second; None stands for the manifest's rate."""


Media: TypeAlias = Audio | Image | Video
Part: TypeAlias = Text | Tokens | Media


@dataclass(frozen=True)
class Message:
    """One turn of one side. Parts are read in order, without anything between them."""

    role: Role
    parts: tuple[Part, ...]


def user(*parts: Part | str) -> Message:
    """What the person says or shows; a str stands for `Text`."""
    return Message("user", tuple(_part(part) for part in parts))


def system(text: str) -> Message:
    """Instructions. The first message of a conversation; without it the chat template writes its own."""
    return Message("system", (Text(text),))


def assistant(reply: Tokens | str) -> Message:
    """An earlier answer of the model; `Tokens` if its ids are still known."""
    return Message("assistant", (_part(reply),))


def _part(part: Part | str) -> Part:
    return Text(part) if isinstance(part, str) else part
