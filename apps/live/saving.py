"""A conversation on disk: both sides as sound, and what happened."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ...models.errors import RequestError
from ...runtime.events import AudioDelta
from ...runtime.live.events import LiveEvent, ReplyStarted, TurnDone
from ...runtime.live.sources import HEARD_RATE
from ...runtime.wav import WavWriter
from .as_json import as_data

USER, MODEL, EVENTS = "user.wav", "model.wav", "events.jsonl"


class Saving:
    """Writes `user.wav`, `model.wav` and `events.jsonl` of one conversation into a folder. Both sounds begin together.

    Of a reply that was stopped, as much is written as was played.

    Args:
        folder: made if it is not there.
        rate: of the model's sound.

    Raises:
        RequestError: a conversation is there already.
    """

    def __init__(self, folder: Path, rate: int) -> None:
        if any((folder / name).exists() for name in (USER, MODEL, EVENTS)):
            raise RequestError(f"{folder} holds a conversation already; give another folder to --save")
        self._folder = folder
        self._rate = rate
        self._files = ExitStack()
        self._reply: list[NDArray[np.float32]] = []
        self._start = self._written = 0

    def __enter__(self) -> Saving:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._user = self._files.enter_context(WavWriter(self._folder / USER, HEARD_RATE))
        self._model = self._files.enter_context(WavWriter(self._folder / MODEL, self._rate))
        self._events = self._files.enter_context((self._folder / EVENTS).open("w", encoding="utf-8"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # What was said until something went wrong is worth keeping, so the files are told of no error.
        self._files.close()

    def hear(self, samples: NDArray[np.float32]) -> None:
        """What the user said."""
        self._user.write(samples)

    def note(self, event: LiveEvent) -> None:
        """What happened."""
        print(json.dumps(as_data(event)), file=self._events)
        match event:
            case ReplyStarted(at, _):
                self._start, self._reply = at, []
            case AudioDelta(samples, _):
                self._reply.append(samples)
            case TurnDone() if event.first_sound_s is not None:
                self._write(np.concatenate([np.zeros(0, np.float32), *self._reply])[: event.played])
            case _:
                pass

    def _write(self, reply: NDArray[np.float32]) -> None:
        gap = max(0, self._start * self._rate // HEARD_RATE - self._written)
        self._model.write(np.zeros(gap, np.float32))
        self._model.write(reply)
        self._written += gap + reply.size
