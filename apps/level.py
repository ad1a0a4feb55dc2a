"""A level meter: how loud a microphone hears."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import typer
from numpy.typing import NDArray

from ..runtime.live.clock import RealClock
from ..runtime.live.opening import open_microphone
from ..runtime.live.sources import HEARD_RATE, Heard, Microphone, Trouble
from .terminal import on_terminal

FLOOR = -60.0
"""dB below full scale at which the bar is empty."""
WIDTH = 40
"""Characters of the bar."""


def show_level(which: str | None, seconds: float, *, as_json: bool) -> None:
    """Watch a microphone: a bar that moves on a terminal, a line a second in a pipe.

    Args:
        which: as in `open_microphone`.
        seconds: of sound to watch; 0 is until Ctrl-C, or the end of a file.
        as_json: lines are JSON objects.

    Raises:
        OmniError: the microphone cannot be used.
    """
    with closing(open_microphone(which, RealClock())) as microphone:
        if on_terminal(sys.stdout) and not as_json:
            _bar(microphone, seconds)
        else:
            _lines(microphone, seconds, as_json=as_json)


class Level:
    """Loudness of what was heard lately.

    Args:
        seconds: how much of it counts.
    """

    def __init__(self, seconds: float) -> None:
        self._size = round(seconds * HEARD_RATE)
        self._sound = np.zeros(0, np.float32)

    def step(self, samples: NDArray[np.float32]) -> None:
        """Take in more, [n]."""
        self._sound = np.concatenate([self._sound, samples])[-self._size :]

    @property
    def mean(self) -> float:
        """Root of the mean square, in dB below full scale; -inf for silence."""
        return loudness(self._sound)

    @property
    def peak(self) -> float:
        """Largest sample, likewise."""
        return _decibels(float(np.abs(self._sound).max(initial=0)))


def loudness(samples: NDArray[np.float32]) -> float:
    """Root of the mean square of a sound [n], in dB below full scale; -inf for silence."""
    if not samples.size:
        return -math.inf
    return _decibels(math.sqrt(float(np.square(samples, dtype=np.float64).mean())))


def share(decibels: float) -> float:
    """Of a bar that is full: 1 at 0 dB, 0 at the floor."""
    return min(max((decibels - FLOOR) / -FLOOR, 0), 1)


def drawn(decibels: float, width: int = WIDTH) -> str:
    """The bar."""
    filled = round(width * share(decibels))
    return "#" * filled + "-" * (width - filled)


def _bar(microphone: Microphone, seconds: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    level = Level(0.1)
    with Live(console=Console(), auto_refresh=False) as live:
        for event in _events(microphone, seconds):
            if isinstance(event, Trouble):
                live.console.print(Text(event.text))
                continue
            level.step(event.samples)
            live.update(Text(f"{drawn(level.mean)} {_shown(level.mean)}, peak {_shown(level.peak)}"), refresh=True)


def _lines(microphone: Microphone, seconds: float, *, as_json: bool) -> None:
    level = Level(1)
    printed = 0
    for event in _events(microphone, seconds):
        if isinstance(event, Trouble):
            typer.echo(f"notice: {event.text}", err=True)
            continue
        level.step(event.samples)
        second = (event.start + event.samples.size) // HEARD_RATE
        if second > printed:
            printed = second
            mean, peak = (round(value, 1) if value > -math.inf else None for value in (level.mean, level.peak))
            if as_json:
                print(json.dumps({"second": second, "mean_db": mean, "peak_db": peak}), flush=True)
            else:
                print(f"{_shown(level.mean)}, peak {_shown(level.peak)}", flush=True)


def _events(microphone: Microphone, seconds: float) -> Iterator[Heard | Trouble]:
    while not microphone.ended:
        for event in microphone.read(0.1):
            yield event
            if seconds and isinstance(event, Heard) and event.start + event.samples.size >= seconds * HEARD_RATE:
                return


def _decibels(value: float) -> float:
    return 20 * math.log10(value) if value > 0 else -math.inf


def _shown(decibels: float) -> str:
    return f"{decibels:6.1f} dB" if decibels > -math.inf else "silence"
