"""omni-edge bench: how fast a model is on this machine."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .engines import ENGINE_HELP, EngineOption
from .progress import progress, waiting
from .terminal import on_terminal

if TYPE_CHECKING:
    from .bench.result import Result


class PeerOption(str, Enum):
    """Programs there is a comparison with."""

    TRANSFORMERS = "transformers"
    LLAMA_CPP = "llama.cpp"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("bench")(bench)


def bench(  # noqa: PLR0913, PLR0917  (typer makes options of parameters)
    bundle: Annotated[str, typer.Argument(help="Folder of a bundle, or a name from omni-edge list.")] = "nano",
    against: Annotated[PeerOption | None, typer.Option(help="Measure another program in turns with this one.")] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="Its weights: folder or name; without, the one the bundle was exported from.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="Length of the reply's text.")] = 60,
    codes: Annotated[
        int | None, typer.Option(min=2, help="Length of its speech, 20 ms each; without, 15 a token.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; one more before them warms up.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of all inputs and draws.")] = 1,
    engine: Annotated[EngineOption, typer.Option(help=ENGINE_HELP)] = EngineOption.AUTO,
    threads: Annotated[int, typer.Option(help="Threads of each operator; 0: as the cores allow.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a model here: each stage alone, a whole spoken reply, its first sound, memory and gaps.

    Replies have the same length for every model: what would end them is never drawn.

        omni-edge bench 3b --against llama.cpp
    """
    from ..models.bundle import open_bundle
    from ..models.store import notice_of, resolve
    from ..runtime.loading import load_stages
    from .bench.measure import Setup, measured
    from .bench.peers import Wanted, check, opened
    from .bench.workload import fitted
    from .suite.table import machine

    chosen = open_bundle(resolve(bundle))
    work = fitted(chosen, tokens, codes, seed)
    wanted = None if against is None else Wanted(against.value, checkpoint, threads)
    if wanted is not None:
        check(wanted)
    with waiting(f"loading {Path(bundle).name or bundle}"):
        stages = load_stages(chosen, threads=threads, engine=engine.value)
    for note in (notice_of(chosen.manifest), *stages.notes):
        if note:
            typer.echo(f"notice: {note}", err=True)
    setup = Setup(work, repeats, engine.value, threads, machine())
    with progress() as tick, nullcontext() if wanted is None else opened(wanted, stages, work) as peer:
        result = measured(stages, setup, peer, tick)
    _show(result, as_json)


def _show(result: Result, as_json: bool) -> None:
    import msgspec

    from .bench import table

    if as_json:
        typer.echo(msgspec.json.encode(result))
    elif on_terminal(sys.stdout):
        table.print_tables(result)
    else:
        typer.echo("\n".join(table.as_lines(result)))
