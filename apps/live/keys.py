"""Keys that are pressed while something else goes on."""

from __future__ import annotations

import os
import select
import sys
from types import TracebackType
from typing import Any, Protocol

from ..terminal import on_terminal


class Keys(Protocol):
    """Give a key at a time, without waiting and without echo, inside their `with` block."""

    def pressed(self) -> str:
        """The next key that was pressed, or nothing."""
        ...

    def __enter__(self) -> Keys: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None, /
    ) -> None:
        """The terminal is as before."""
        ...


class NoKeys:
    """Where nobody types."""

    def pressed(self) -> str:
        """Nothing, ever."""
        return ""

    def __enter__(self) -> NoKeys:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class PosixKeys:
    """A terminal in cbreak mode: Ctrl-C works as always.

    Args:
        stream: the terminal.
    """

    def __init__(self, stream: Any) -> None:
        self._number = stream.fileno()
        self._before: Any = None

    def pressed(self) -> str:
        """See Keys."""
        ready, _, _ = select.select([self._number], [], [], 0)
        return os.read(self._number, 1).decode("ascii", "ignore") if ready else ""

    def __enter__(self) -> PosixKeys:
        import termios
        import tty

        self._before = termios.tcgetattr(self._number)
        tty.setcbreak(self._number)
        return self

    def __exit__(self, *_: object) -> None:
        import termios

        termios.tcsetattr(self._number, termios.TCSADRAIN, self._before)


class WindowsKeys:
    """The console of Windows, whose keys come without a mode."""

    def pressed(self) -> str:
        """See Keys."""
        import msvcrt

        console: Any = msvcrt  # its functions are known to type checkers on Windows alone
        return console.getwch() if console.kbhit() else ""

    def __enter__(self) -> WindowsKeys:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def keys() -> Keys:
    """Those of standard input; none where it is no terminal."""
    if not on_terminal(sys.stdin):
        return NoKeys()
    return WindowsKeys() if sys.platform == "win32" else PosixKeys(sys.stdin)
