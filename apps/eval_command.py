"""omni-edge eval: a model against a suite of questions whose answers are known."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from ..models.errors import RequestError
from .engines import ENGINE_HELP, EngineOption
from .terminal import on_terminal

if TYPE_CHECKING:
    from .suite.figures import Figure, Line


class Suite(str, Enum):
    """Suites there are."""

    NANO = "nano"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("eval")(evaluate)


def evaluate(
    model: Annotated[str, typer.Option(help="nano, or the folder of a bundle.")] = "nano",
    suite: Annotated[Suite, typer.Option(help="What is asked.")] = Suite.NANO,
    limit: Annotated[int, typer.Option(min=1, help="Items of each line.")] = 200,
    only: Annotated[str, typer.Option(help="Lines whose name begins so.")] = "",
    speech: Annotated[bool, typer.Option("--speech/--no-speech", help="Judge spoken answers as well.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the items; none was trained on whatever it is.")] = 7,
    engine: Annotated[EngineOption, typer.Option(help=ENGINE_HELP)] = EngineOption.AUTO,
    threads: Annotated[int, typer.Option(help="Threads; 0 is one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model: what it hears, sees, knows and remembers, and how well it speaks.

    Questions are spoken by espeak-ng, flite and festival, which have to be installed; its speech is judged by
    pocketsphinx (pip install "omni-edge[judge]").
    """
    from ..models.bundle import open_bundle
    from ..models.store import resolve
    from ..runtime.engine import choose_engines
    from .suite.nano import nano_lines

    bundle = open_bundle(resolve(model))
    for note in choose_engines(bundle, engine.value).notes:
        _notify(note)
    every = nano_lines(str(bundle.folder), limit, seed, threads, speech=speech, engine=engine.value)
    lines = [line for line in every if line.name.startswith(only)]
    if not lines:
        raise RequestError(f"no line of the suite begins with {only!r}; leave --only out to see all")
    figures = dict(_measured(lines))
    if as_json:
        print(json.dumps({name: asdict(figure) for name, figure in figures.items()}))
    else:
        _print_table(figures)


def _notify(note: str) -> None:
    print(f"notice: {note}", file=sys.stderr)


def _measured(lines: list[Line]) -> Iterator[tuple[str, Figure]]:
    """All figures, behind a bar where somebody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from .suite.figures import measured

    columns = (TextColumn("{task.description:24}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    quiet = not on_terminal(sys.stderr)
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bars:
        task = bars.add_task("", total=sum(line.items for line in lines))
        for line in lines:
            bars.update(task, description=line.name)
            yield from measured(line, lambda: bars.advance(task), _notify).items()


def _print_table(figures: dict[str, Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    from .suite.figures import shown as as_text
    from .suite.table import wanted

    table = Table("line", "figure", "wanted", "items")
    for name, figure in figures.items():
        table.add_row(name, as_text(figure.metric, figure.value), wanted(name, figure), str(figure.items))
    Console().print(table)
