"""Opening a device again and again until it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from ...models.errors import DeviceError

EVERY = 1.5
"""Seconds between two attempts."""


class _Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=_Closable)


class Reopening(Generic[T]):
    """Tries in a thread of its own, because opening may take a second, until it works or `cancel`.

    Args:
        attempt: opens the device, or raises DeviceError.
        gone: what was lost; it is closed first, here too because drivers take their time with a device that is gone.
        every: seconds between two attempts; the first waits as long.
    """

    def __init__(self, attempt: Callable[[], T], gone: T | None, every: float = EVERY) -> None:
        self._attempt = attempt
        self._gone = gone
        self._every = every
        self._cancelled = threading.Event()
        self._opened: T | None = None
        self._thread = threading.Thread(target=self._run, name="reopening", daemon=True)
        self._thread.start()

    def take(self) -> T | None:
        """The device, once it is open."""
        return self._opened

    def cancel(self) -> None:
        """Stop trying, and close what may be open."""
        self._cancelled.set()
        self._thread.join()
        if self._opened is not None:
            self._opened.close()

    def _run(self) -> None:
        if self._gone is not None:
            self._gone.close()
        while not self._cancelled.wait(self._every):
            try:
                opened = self._attempt()
            except DeviceError:
                continue
            self._opened = opened
            return
