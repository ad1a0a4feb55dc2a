"""When to start a loudspeaker, so that speech still being made is heard early and without a gap.

Speech comes in pieces. Played from s on, a piece that comes at t is in time if what came before it lasts until then:
t - s <= p, with p the seconds of speech before the piece. So the earliest start without a gap is the largest t - p
over all pieces (the playout delay of adaptive jitter buffers). Those to come are expected where the pace seen so far
puts them: a machine faster than speech starts as soon as the next piece is sure to be there in time; a slower one
waits until what is still to be made at the end will be done by then.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

CAUTION = 0.15
"""A piece is expected later than the pace says by this part of what a piece of full size takes: other programs want
the processor as well."""
WEIGHT = 1.0
"""Seconds of speech that the pace known beforehand counts as, against what this speech shows."""


@dataclass(frozen=True)
class Expected:
    """What is known of a speech before it is made.

    Args:
        speed: seconds of speech made in a second: of the speech before, of `omni-edge bench`, or from `pace`.
        pieces: samples of its first pieces; the last of them stands for all that follow. See `Speech.pieces`.
        longest: most samples it may come to.
    """

    speed: float
    pieces: Sequence[int]
    longest: int


def pace(codes_per_s: float, code_s: float, sound_s: float) -> float:
    """Seconds of speech made in a second by stages that wait for each other: a careful guess before they have been
    seen side by side.

    Args:
        codes_per_s: of the talker.
        code_s: seconds of speech of a code.
        sound_s: seconds that flow and vocoder take for a second of speech.
    """
    return 1 / (1 / (codes_per_s * code_s) + sound_s)


class Playout:
    """Plans one speech and counts its gaps. Times are readings of any one clock, in seconds.

    Tell it of each piece as it comes; start the loudspeaker at `start_at()`, which each call may move until it has
    passed.

    Args:
        rate: samples per second.
        expected: of this speech.
    """

    def __init__(self, rate: int, expected: Expected) -> None:
        self._rate = rate
        self._expected = expected
        self._sizes = [size / rate for size in expected.pieces]
        self.reset()

    def reset(self) -> None:
        """Begin with another speech of the same kind."""
        self._longest = self._expected.longest / self._rate
        self._made = 0.0  # seconds of speech
        self._head = 0.0  # of it, the first piece
        self._came = self._last = math.inf  # when the first piece came, and the last one
        self._start = math.inf
        self._is_playing = False
        self._dry_at = math.inf
        self.underruns = 0
        self.silent_s = 0.0
        """Seconds of silence inside the speech, of all underruns together."""

    @property
    def speed(self) -> float:
        """Seconds of speech made in a second, by what was expected and what has been seen."""
        if not self._made:
            return self._expected.speed
        return (WEIGHT + self._made - self._head) / (WEIGHT / self._expected.speed + self._last - self._came)

    def start_at(self) -> float:
        """When to start playing; infinity before the first piece."""
        return self._start

    def add(self, samples: int, at: float) -> None:
        """A piece has come. It is an underrun if nothing was left to play before."""
        self._advance(at)
        length = samples / self._rate
        if self._is_playing and at > self._dry_at:
            self.underruns += 1
            self.silent_s += at - self._dry_at
            self._dry_at = at
        if not self._made:
            self._came, self._head = at, length
        self._made += length
        self._dry_at += length
        self._last = at
        self._plan()

    def expect(self, samples: int, at: float) -> None:
        """The whole will come to at most so many samples: better known once its text is."""
        self._advance(at)
        self._longest = samples / self._rate
        self._plan()

    def end(self, at: float) -> None:
        """All pieces have come: what waits is played now."""
        self._advance(at)
        if self._made and not self._is_playing:
            self._start = at

    def notice(self) -> str:
        """A sentence for the listener if speech is made slower than it is spoken; empty otherwise."""
        if not self._made or self.speed >= 1:
            return ""
        wait = self._start - self._came
        return f"this machine makes {self.speed:.2g} s of speech a second; sound starts after {wait:.0f} s"

    def _advance(self, at: float) -> None:
        """Notice that playing has begun."""
        if not self._is_playing and self._start <= at:
            self._is_playing = True
            self._dry_at = self._start + self._made

    def _plan(self) -> None:
        if self._is_playing or not self._made:
            return
        cost, start = 1 / self.speed, self._last
        late = CAUTION * self._sizes[-1] * cost
        for before, end in self._coming():
            start = max(start, self._last + (end - self._made) * cost + late - before)
        self._start = start

    def _coming(self) -> Iterator[tuple[float, float]]:
        """Where the coming pieces that decide begin and end, in seconds of speech: those that grow, the first and the
        last of full size, and what is then left. In between t - p changes by the same amount from each to the next, so
        that it is largest at an end."""
        full = self._sizes[-1]
        grown = [end for end in accumulate(self._sizes) if self._made < end <= self._longest]
        yield from pairwise([self._made, *grown])
        reached = max([self._made, *grown])
        count = max(0, int((self._longest - reached) / full))
        if count:
            yield reached, reached + full
            yield reached + (count - 1) * full, reached + count * full
        if reached + count * full < self._longest:
            yield reached + count * full, self._longest
