"""What a conversation looks like: the interface, and plain lines for pipes and simple terminals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TextIO

from ...runtime.events import Notice, TextDelta
from ...runtime.live.events import LiveEvent, Totals, TurnDone, UserEnded
from ...runtime.live.sources import HEARD_RATE, Trouble
from ..terminal import printable


@dataclass(frozen=True)
class Status:
    """What is so at a moment."""

    who: str
    """Who speaks, or what goes on."""
    level: float
    """Of the microphone, dB below full scale, negative."""
    muted: bool
    voice: str
    camera: str
    """ "on", "off", or nothing where there is none."""


class Face(Protocol):
    """Where a conversation is shown."""

    def show(self, event: LiveEvent) -> None:
        """What happened."""
        ...

    def status(self, status: Status) -> None:
        """What is so now; called many times a second."""
        ...

    def notice(self, text: str) -> None:
        """A sentence that the user should read."""
        ...

    def end(self, totals: Totals, lost: int, wav: Path | None) -> None:
        """It is over; `lost` samples of the microphone were dropped, and `wav` is where the answers are, if written."""
        ...


class PlainFace:
    """Lines without colour: the transcript to `out`, all else to `err`."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._in_line = False

    def show(self, event: LiveEvent) -> None:
        """See Face."""
        match event:
            case UserEnded(_, samples):
                self._line(f"you: ({samples / HEARD_RATE:.1f} s)")
            case TextDelta(text):
                start = "" if self._in_line else "omni-edge: "
                print(start + printable(text), end="", file=self._out, flush=True)
                self._in_line = True
            case TurnDone():
                self._break()
                print(f"[{summary(event)}]", file=self._err, flush=True)
            case Notice(text) | Trouble(text):
                self.notice(text)
            case _:
                pass

    def status(self, status: Status) -> None:
        """See Face; lines have no place for it."""

    def notice(self, text: str) -> None:
        """See Face."""
        self._break()
        print(f"notice: {text}", file=self._err, flush=True)

    def end(self, totals: Totals, lost: int, wav: Path | None) -> None:
        """See Face."""
        self._break()
        print(total(totals, lost, wav), file=self._err, flush=True)

    def _line(self, text: str) -> None:
        self._break()
        print(text, file=self._out, flush=True)

    def _break(self) -> None:
        if self._in_line:
            print(file=self._out, flush=True)
            self._in_line = False


def summary(event: TurnDone) -> str:
    """One turn in a line."""
    parts = []
    if event.first_sound_s is not None:
        own = f"{event.after_decision_s:.2f} s of it made here"
        parts.append(f"first sound {event.first_sound_s:.2f} s after your last word, {own}")
    if event.done is not None:
        stats = event.done.stats
        parts.append(f"{stats.listened_rows} + {stats.prefilled_rows} tokens read, the first while you spoke")
    if event.interrupted:
        parts.append(f"interrupted after “{printable(event.said)}”" if event.said else "interrupted before a word")
    if event.tokens_left is not None:
        parts.append(f"{event.tokens_left} tokens left")
    return "; ".join(parts) or "no answer"


def total(totals: Totals, lost: int, wav: Path | None) -> str:
    """A whole conversation in a line."""
    text = f"turns: {totals.turns} in {totals.heard_s:.0f} s, {totals.interrupted} interrupted, {totals.coughs} coughs"
    where = f" into {wav}" if wav is not None else ""
    return f"{text}, {totals.spoken_s:.1f} s spoken{where}" + (f", {lost} samples lost" if lost else "")
