"""Rows for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import typer

from .terminal import on_terminal


@dataclass(frozen=True)
class Table:
    """Cells under columns."""

    title: str
    """May be empty. In a pipe it leads every row."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def print_tables(tables: Iterable[Table]) -> None:
    """Drawn on a terminal, tab-separated lines in a pipe; to stdout."""
    if not on_terminal(sys.stdout):
        for table in tables:
            lead = (table.title,) if table.title else ()
            for row in (table.columns, *table.rows):
                typer.echo("\t".join((*lead, *row)))
        return
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    console = Console()
    for table in tables:
        drawn = Drawn(title=table.title or None, title_justify="left")
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            # Text, because rich would take the brackets of a value for its own markup.
            drawn.add_row(*(Text(cell) for cell in row))
        console.print(drawn)
