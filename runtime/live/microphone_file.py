"""A sound file that plays as if it were a microphone."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from numpy.typing import NDArray

from ...models.errors import MediaError
from ..audio_file import AudioClip, decode_audio
from ..media import name_of, open_media
from ..messages import File
from .clock import Clock
from .resampling import Resampler
from .sources import HEARD_RATE, Heard, Trouble
from .watching import SoundWatch

BLOCK = 320
"""Samples of a piece of `Heard`: 20 ms, as devices give them. The last one of a file may be shorter."""


class FileMicrophone:
    """A `Microphone` that gives a file, then silence until it is closed. It begins to play when it is made.

    The file is decoded while it plays, so its length does not matter. One that turns out to be damaged midway ends
    there, and a Trouble says so.

    Args:
        source: any file with sound that `read_audio` takes.
        clock: what it is played by.

    Raises:
        MediaError: the file cannot be opened, has no sound, or no sample of it can be decoded.
    """

    def __init__(self, source: File, clock: Clock) -> None:
        self._clock = clock
        self._name = name_of(source)
        self._sound = _pieces(source, self._name)
        first = next(self._sound)
        self._resampler = Resampler(first.rate, HEARD_RATE)
        self._waiting = self._resampler.step(first.samples)
        self._watch = SoundWatch(self._name)
        self._decoded = self._ended = self._closed = False
        self._given = 0
        self._start = clock.now()

    @property
    def lost(self) -> int:
        """None: a file waits."""
        return 0

    @property
    def ended(self) -> bool:
        """Whether the last sample of the file has been given."""
        return self._ended

    def position(self) -> int:
        """By the clock."""
        return round((self._clock.now() - self._start) * HEARD_RATE)

    def read(self, timeout: float) -> list[Heard | Trouble]:
        """All blocks whose time has come, but silence apart from the file: whoever reads may act at its end."""
        self._clock.wait_until(min(self._due, self._clock.now() + timeout), order=1)
        now, ended = self._clock.now(), self._ended
        events: list[Heard | Trouble] = []
        while self._due <= now and self._ended == ended and not self._closed:
            events += self._block()
        return events

    def close(self) -> None:
        """Nothing more is given."""
        self._closed = True
        if not self._decoded:
            self._decoded = True
            self._sound.close()

    @property
    def _due(self) -> float:
        """When one more block has been in the air."""
        return self._start + (self._given + BLOCK) / HEARD_RATE

    def _block(self) -> list[Heard | Trouble]:
        troubles = self._decode()
        part, self._waiting = self._waiting[:BLOCK], self._waiting[BLOCK:]
        if part.size:
            troubles += self._watch.step(part)
        self._ended = self._decoded and not self._waiting.size
        heard = Heard(part if part.size else np.zeros(BLOCK, np.float32), self._given)
        self._given += heard.samples.size
        return [*troubles, heard]

    def _decode(self) -> list[Heard | Trouble]:
        """Enough for one block, and to know whether another one follows."""
        pieces: list[NDArray[np.float32]] = [self._waiting]
        size = self._waiting.size
        troubles: list[Heard | Trouble] = []
        while size <= BLOCK and not self._decoded:
            try:
                pieces.append(self._resampler.step(next(self._sound).samples))
            except (StopIteration, MediaError) as error:
                self._decoded = True
                pieces.append(self._resampler.finish())
                if isinstance(error, MediaError):
                    troubles.append(Trouble(str(error)))
            size += pieces[-1].size
        self._waiting = np.concatenate(pieces)
        return troubles


def _pieces(source: File, name: str) -> Generator[AudioClip]:
    with open_media(source) as container:
        yield from decode_audio(container, name)
