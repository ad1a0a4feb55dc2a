"""How far long work is, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from .terminal import on_terminal

Tick = Callable[[str, int, int], None]
"""Called before each piece of work: what it is part of, how many pieces of that are done, how many there are."""


@contextmanager
def progress() -> Iterator[Tick]:
    """A bar for a person, a line for each part of the work otherwise."""
    if not on_terminal(sys.stderr):
        yield lambda title, done, total: None if done else typer.echo(f"[{title}]", err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda title, done, total: bars.update(task, description=title, completed=done, total=total)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """While the block runs, says on stderr what a person waits for, and for how long; then it is gone again."""
    if not on_terminal(sys.stderr):
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bars.add_task(what, total=None)
        yield
