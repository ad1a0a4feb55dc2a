"""Stages that run side by side: threads joined by short queues, and one word that stops them all.

ONNX Runtime and llama.cpp let go of Python's lock while they compute, so stages in threads really run at once. A stage
is a function that reads lanes and writes lanes. Whoever waits at a lane, for an item or for room, is woken when the
crew is dismissed, and its stage ends there: no stage goes on for more than the item it is at.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Dismissed(Exception):
    """The crew was sent home while a stage waited at a lane."""


class Lane(Generic[T]):
    """A queue of at most `room` items from one stage to another; `Crew.lane` makes it.

    Until it is opened, no more than its `first` items are taken in at all.
    """

    def __init__(self, room: int, first: float, change: threading.Condition, dismissed: Callable[[], bool]) -> None:
        self._room = room
        self._first = first
        self._taken = 0
        self._items: deque[T] = deque()
        self._ended = False
        self._change = change
        self._dismissed = dismissed

    def put(self, item: T) -> None:
        """Hand on an item, as soon as there is room.

        Raises:
            Dismissed: meanwhile the crew was.
        """
        with self._change:
            self._wait(lambda: len(self._items) < self._room and self._taken < self._first)
            self._items.append(item)
            self._taken += 1
            self._change.notify_all()

    def open(self) -> None:
        """Take in more than the first items."""
        with self._change:
            self._first = math.inf
            self._change.notify_all()

    def end(self) -> None:
        """No more items come."""
        with self._change:
            self._ended = True
            self._change.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items in order, until the end; raises Dismissed as `put` does."""
        while True:
            with self._change:
                self._wait(lambda: bool(self._items) or self._ended)
                if not self._items:
                    return
                item = self._items.popleft()
                self._change.notify_all()
            yield item

    def _wait(self, ready: Callable[[], bool]) -> None:
        self._change.wait_for(lambda: ready() or self._dismissed())
        if self._dismissed():
            raise Dismissed


class Crew:
    """The stages of one response. Leave the `with` block and all of them are gone.

    An error in one stage dismisses the others, and `check` raises it in the thread that owns the crew.
    """

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._is_dismissed = False
        self._error: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def lane(self, room: int, first: float = math.inf) -> Lane[Any]:
        """A new queue between two stages, see `Lane`."""
        return Lane(room, first, self._change, lambda: self._is_dismissed)

    def start(self, name: str, stage: Callable[[], None]) -> None:
        """Run a stage in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(stage,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def check(self) -> None:
        """Raise what went wrong in a stage, if anything did."""
        if self._error is not None:
            raise self._error

    def dismiss(self) -> None:
        """End all stages, each at its next lane, and wait until they have ended."""
        with self._change:
            self._is_dismissed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def _run(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except Dismissed:
            pass
        except BaseException as error:  # noqa: BLE001  (it is raised again where the crew is owned)
            with self._change:
                self._error = self._error or error
                self._is_dismissed = True
                self._change.notify_all()
