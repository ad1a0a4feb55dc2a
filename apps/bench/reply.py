"""A whole spoken reply, all stages at once, timed from the end of the input."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...runtime.events import AudioDelta, Done, Statistics
from ...runtime.messages import Part
from ...runtime.playout import Expected, Playout
from ...runtime.session import Session
from .workload import Workload


@dataclass(frozen=True)
class Spoken:
    """One reply. Times in seconds from the end of the input."""

    stats: Statistics
    seconds: float
    cpu_s: float
    """Of all cores together."""
    tokens: int
    codes: int
    arrivals: tuple[tuple[int, float], ...]
    """(samples, when) of each piece of sound."""

    @property
    def speed(self) -> float:
        """Seconds of speech made in a second, once its sound had begun."""
        (head, begin), (_, end) = self.arrivals[0], self.arrivals[-1]
        made = self.stats.audio_s - head * self.stats.audio_s / sum(size for size, _ in self.arrivals)
        return made / (end - begin) if end > begin else self.stats.audio_s / self.seconds


def spoken(session: Session, work: Workload, *parts: Part | str) -> Spoken:
    """Ask, in a conversation that is new, and note when what came."""
    session.reset()
    start, begun = time.perf_counter(), time.process_time()
    arrivals, done = [], None
    for event in session.respond(*parts, options=work.options(session.manifest)):
        match event:
            case AudioDelta():
                arrivals.append((event.samples.size, time.perf_counter() - start))
            case Done():
                done = event
    assert done is not None
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - begun
    return Spoken(done.stats, seconds, cpu_s, len(done.ids), len(done.codes), tuple(arrivals))


def planned(reply: Spoken, rate: int, expected: Expected) -> Playout:
    """The playout of a reply at a loudspeaker that starts when the planner says."""
    playout = Playout(rate, expected)
    for size, at in reply.arrivals:
        playout.add(size, at)
    playout.end(reply.arrivals[-1][1])
    return playout


def underruns_at_once(reply: Spoken, rate: int) -> int:
    """Gaps at a loudspeaker that starts with the first piece."""
    dry_at, count = reply.arrivals[0][1], 0
    for size, at in reply.arrivals:
        count += at > dry_at
        dry_at = max(at, dry_at) + size / rate
    return count
