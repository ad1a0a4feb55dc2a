"""The conversation on a terminal that can move its cursor: a transcript that grows, and two lines of status below."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ...runtime.events import Notice, TextDelta
from ...runtime.live.events import LiveEvent, Totals, TurnDone, UserEnded
from ...runtime.live.sources import HEARD_RATE, Trouble
from ..level import share
from ..terminal import printable
from .face import Status, summary, total

BARS = 20
EVERY = 0.1
"""Seconds between two drawings: a slow line by ssh bears it."""
KEYS = "space talk/stop  m mute  v voice  c camera  q quit"


class ScreenFace:
    """Draws in the thread that calls, at most ten times a second.

    Args:
        console: a terminal; rich leaves colours out where it has none or NO_COLOR is set.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._status: Status | None = None
        self._last = ""
        self._drawn = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(self, event: LiveEvent) -> None:
        """See Face."""
        match event:
            case UserEnded(_, samples):
                self._print(Text.assemble(("you        ", "bold cyan"), f"({samples / HEARD_RATE:.1f} s)"))
            case TextDelta(text):
                self._text += printable(text)
            case TurnDone():
                if self._text:
                    self._print(self._reply())
                self._text = ""
                self._last = summary(event)
                self._print(Text(f"           {self._last}", "dim"))
            case Notice(text) | Trouble(text):
                self.notice(text)
            case _:
                pass

    def status(self, status: Status) -> None:
        """See Face."""
        changed = self._status is None or status.who != self._status.who
        self._status = status
        if changed or time.monotonic() - self._drawn >= EVERY:
            self._draw()

    def notice(self, text: str) -> None:
        """See Face."""
        self._print(Text(f"notice: {text}", "yellow"))

    def end(self, totals: Totals, lost: int, wav: Path | None) -> None:
        """See Face."""
        self._live.stop()
        self._console.print(Text(total(totals, lost, wav), "bold"))

    def _print(self, line: Text) -> None:
        self._live.console.print(line)

    def _reply(self) -> Text:
        return Text.assemble(("omni-edge  ", "bold green"), self._text)

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        status = self._status
        if status is None:
            return
        full = 0 if status.muted else round(BARS * share(status.level))
        meter = Text("#" * full, "green") + Text("·" * (BARS - full), "dim")
        camera = f"  camera {status.camera}" if status.camera else ""
        state = Text.assemble((f"{status.who:<12}", "bold"), "[", meter, "]", "  muted" if status.muted else "")
        line = Text.assemble(f"voice {status.voice}{camera}   ", (KEYS, "dim"))
        reply = [self._reply()] if self._text else []
        self._live.update(Group(*reply, state, line), refresh=True)
