"""omni-edge report: what quantising cost, subnetwork by subnetwork."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..models import store
from ..models.bundle import Bundle, open_bundle
from ..models.errors import MissingExtra, RequestError
from .checkpoints import checkpoint_folder
from .progress import progress
from .terminal import on_terminal

if TYPE_CHECKING:
    from ..export.full_precision import FullPrecision
    from .material import Conversation
    from .progress import Tick
    from .report.compare import Compared
    from .suite.figures import Figure

SUITE_SEED = 7
"""As `omni-edge eval` has it."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("report")(report)


def report(
    bundle: Annotated[str, typer.Argument(help="Folder of a bundle, or a name from omni-edge list.")],
    against: Annotated[str, typer.Option(metavar="CHECKPOINT", help="Checkpoint it was exported from.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of questions (.txt) and media to compare on; built-in ones without.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Conversations at most.")] = 10,
    suite_limit: Annotated[
        int, typer.Option(min=0, help="Items a line of the suite that a nano bundle is put to; 0 leaves it out.")
    ] = 0,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with tables and pictures.")] = None,
    threads: Annotated[int, typer.Option(help="Threads; 0 is one a core.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare a bundle with its checkpoint: what quantising cost each subnetwork, and what it saved.

    The bundle answers a few questions; then each of its graphs and the checkpoint's own network are given the very
    same inputs, so that every error is the subnetwork's own.
    """
    if html is not None:
        _check_writable(html)
    opened = open_bundle(store.resolve(bundle))
    if suite_limit:
        _check_suite(opened)
    notice = store.notice_of(opened.manifest)
    if notice:
        _notify(notice)
    conversations = _conversations(opened, data, limit)
    full = _full_precision(against, opened)
    with progress() as tick:
        compared = _compared(opened, full, conversations, threads, tick)
        scores = _scores(opened, suite_limit, threads, tick)
    _show(compared, scores, as_json)
    if html is not None:
        _write_page(html, opened, compared, scores, len(conversations))
        typer.echo(f"written: {html}", err=True)


def _notify(note: str) -> None:
    typer.echo(f"notice: {note}", err=True)


def _compared(
    bundle: Bundle, full: FullPrecision, conversations: list[Conversation], threads: int, tick: Tick
) -> list[Compared]:
    from .report.compare import Comparison
    from .report.recording import Recorder

    recorder = Recorder(bundle, threads)
    recordings = []
    for index, conversation in enumerate(conversations):
        tick("answers", index, len(conversations))
        recording = recorder.record(conversation)
        recordings += [] if recording is None else [recording]
    # The bundle's six graphs go before the checkpoint's networks come.
    del recorder
    return list(Comparison(bundle, full, recordings, threads, tick).graphs())


def _scores(bundle: Bundle, limit: int, threads: int, tick: Tick) -> dict[str, Figure]:
    """The suite's figures; none for a limit of 0."""
    if not limit:
        return {}
    from .suite.figures import measured
    from .suite.nano import nano_lines

    figures: dict[str, Figure] = {}
    for line in nano_lines(str(bundle.folder), limit, SUITE_SEED, threads, speech=True):
        done = iter(range(1, line.items + 1))
        tick(line.name, 0, line.items)
        figures |= measured(line, lambda line=line, done=done: tick(line.name, next(done), line.items), _notify)
    return figures


def _conversations(bundle: Bundle, data: Path | None, limit: int) -> list[Conversation]:
    from .material import built_in, conversations

    return built_in(bundle.manifest.name, "report", limit) if data is None else conversations(data)[:limit]


def _full_precision(against: str, bundle: Bundle) -> FullPrecision:
    try:
        from ..export.full_precision import FullPrecision
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "export", "compare with checkpoints") from error
    full = FullPrecision(checkpoint_folder(against))
    full.check(bundle.manifest, bundle.folder)
    return full


def _check_suite(bundle: Bundle) -> None:
    from .material import NANO

    if bundle.manifest.name != NANO:
        raise RequestError(f"the suite asks what {NANO} was trained on, and {bundle.folder} is another; leave it out")
    if find_spec("pocketsphinx") is None:
        raise MissingExtra("pocketsphinx", "judge", "judge speech")


def _check_writable(path: Path) -> None:
    """Said now and not after minutes of work."""
    if path.is_dir():
        raise RequestError(f"{path} is a folder; name a file for the page")
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror}); name another place for the page") from error


def _show(compared: list[Compared], scores: Mapping[str, Figure], as_json: bool) -> None:
    from .report import table

    if as_json:
        typer.echo(table.as_json(compared, scores))
    elif on_terminal(sys.stdout):
        table.print_table(compared, scores)
    else:
        typer.echo("\n".join(table.as_lines(compared, scores)))


def _write_page(
    path: Path, bundle: Bundle, compared: list[Compared], scores: Mapping[str, Figure], conversations: int
) -> None:
    from .report.page import page

    text = page(bundle.manifest, compared, scores, conversations)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{path} cannot be written ({error.strerror}); name another place for the page") from error
