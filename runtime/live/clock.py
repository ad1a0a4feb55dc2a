"""The time that files are played by: real, or as fast as the work allows.

In virtual time a moment lasts as long as the work that falls into it, and none passes otherwise: when every thread
that takes part waits, time jumps to the earliest moment that one of them waits for. An hour of microphone takes minutes
then, and a run gives the same every time. For that, a thread holds the clock while it works:

    with clock.hold():          # no time passes in this block, except while the thread waits for a moment
        ...                     # (clock.wait_until) or at a queue (clock.queue)

    Thread(target=work, args=(clock.hold(), ...))   # held from here on, so that no time passes while it starts,
    with hold: ...                                  # and until the block in `work` ends

Whoever starts threads holds the clock before it does. A thread that holds must not block on anything else that needs
time to pass. In real time a hold does nothing.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


Hold = AbstractContextManager[None]
"""Keeps virtual time still, from its making to the end of its `with` block; the thread that enters is the one that
holds from then on."""


class Queue(Protocol[T]):
    """As `queue.Queue`; a thread that waits at one does not hold the clock, and holds it again from the moment that
    the other side lets it go on."""

    def put(self, item: T) -> None:
        """Append; waits while the queue is full."""
        ...

    def get(self) -> T:
        """Take the first; waits while there is none."""
        ...

    def get_nowait(self) -> T:
        """Take the first, or raise `queue.Empty`."""
        ...


class Clock(Protocol):
    """Seconds since the clock was made."""

    def now(self) -> float:
        """The time."""
        ...

    def wait_until(self, when: float, order: int = 0) -> None:
        """Wait for a moment; returns at once if it has passed. Of those who wait in virtual time for the same
        moment, the lowest `order` goes on first."""
        ...

    def hold(self) -> Hold:
        """Somebody works, or will: virtual time stands still."""
        ...

    def queue(self, limit: int = 0) -> Queue:
        """A queue between threads that hold, of at most `limit` items (0: any number)."""
        ...


class RealClock:
    """Time as it passes."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def now(self) -> float:
        """Seconds since this was made."""
        return time.monotonic() - self._start

    def wait_until(self, when: float, order: int = 0) -> None:
        """Sleep."""
        left = when - self.now()
        if left > 0:
            time.sleep(left)

    def hold(self) -> Hold:
        """Time passes all the same."""
        return nullcontext()

    def queue(self, limit: int = 0) -> Queue:
        """The standard library's."""
        return queue.Queue(limit)


class VirtualClock:
    """Time that passes only while all who hold it wait."""

    def __init__(self) -> None:
        self._time = 0.0
        self._holds = 0
        self._moments: list[tuple[float, int, int]] = []  # moment, order, arrival: a heap
        self._arrival = itertools.count()
        self._turn = threading.Condition()
        self._own = threading.local()

    def now(self) -> float:
        """Seconds since this was made."""
        return self._time

    def wait_until(self, when: float, order: int = 0) -> None:
        """Let the others work until the moment has come; moments are whole nanoseconds, so that sums of the same steps
        are the same moment."""
        when = round(when, 9)
        with self._turn:
            if when <= self._time:
                return
            moment = (when, order, next(self._arrival))
            heapq.heappush(self._moments, moment)
            given = self._give_up()
            self._turn.wait_for(lambda: self._holds == 0 and self._moments[0] == moment)
            heapq.heappop(self._moments)
            self._time = when
            self._own.holds = given
            self._count(given)

    def hold(self) -> Hold:
        """Stop the time."""
        with self._turn:
            self._holds += 1
        return _VirtualHold(self)

    def queue(self, limit: int = 0) -> Queue:
        """One whose waiting threads let time pass."""
        return _VirtualQueue(self, limit)

    def _give_up(self) -> int:
        """This thread's holds, which count no longer."""
        given, self._own.holds = getattr(self._own, "holds", 0), 0
        self._count(-given)
        return given

    def _count(self, holds: int) -> None:
        self._holds += holds
        if self._holds == 0:
            self._turn.notify_all()


class _VirtualHold(Hold):
    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        own = self._clock._own
        own.holds = getattr(own, "holds", 0) + 1

    def __exit__(self, *_: object) -> None:
        with self._clock._turn:
            self._clock._own.holds -= 1
            self._clock._count(-1)


@dataclass
class _Waiting:
    """A thread at a queue."""

    holds: int
    called: bool = False


class _VirtualQueue(Generic[T]):
    def __init__(self, clock: VirtualClock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._items: deque[T] = deque()
        self._getters: deque[_Waiting] = deque()
        self._putters: deque[_Waiting] = deque()

    def put(self, item: T) -> None:
        with self._clock._turn:
            while self._limit and len(self._items) >= self._limit:
                self._wait(self._putters)
            self._items.append(item)
            self._call(self._getters)

    def get(self) -> T:
        with self._clock._turn:
            while not self._items:
                self._wait(self._getters)
            return self._first()

    def get_nowait(self) -> T:
        with self._clock._turn:
            if not self._items:
                raise queue.Empty
            return self._first()

    def _first(self) -> T:
        item = self._items.popleft()
        self._call(self._putters)
        return item

    def _wait(self, line: deque[_Waiting]) -> None:
        waiting = _Waiting(self._clock._give_up())
        line.append(waiting)
        self._clock._turn.wait_for(lambda: waiting.called)
        self._clock._own.holds = waiting.holds

    def _call(self, line: deque[_Waiting]) -> None:
        """The first in line holds again from now on, not from when its thread happens to run."""
        if line:
            waiting = line.popleft()
            waiting.called = True
            self._clock._holds += waiting.holds
            self._clock._turn.notify_all()
