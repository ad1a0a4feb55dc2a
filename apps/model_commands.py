"""omni-edge list, pull, show, rm: the models on this machine.

Data goes to stdout, as tables on a terminal, tab-separated lines in a pipe, or JSON; everything said about it
(notices, progress, what to run next) goes to stderr. OmniError is left to the program's main.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ..models import hub, store
from ..models.bundle import Bundle, inspect_bundle, open_bundle, verify
from ..models.catalogue import find
from ..models.digests import Progress
from ..models.errors import OmniError
from .tables import Table, print_tables
from .terminal import on_terminal, size

_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the four commands to the program."""
    app.command("list")(list_models)
    app.command("pull")(pull)
    app.command("show")(show)
    app.command("rm")(remove)


def list_models(as_json: _Json = False) -> None:
    """List the models on this machine, and those that can be pulled."""
    rows = store.stored()
    _notify(row.notice for row in rows if row.path is not None)
    if as_json:
        _print_json(rows)
        return
    columns = ("name", "state", "size", "precision", "licence", "path")
    cells = tuple(
        (row.name, row.state, size(row.bytes), row.precision, row.licence, str(row.path or "")) for row in rows
    )
    print_tables([Table("", columns, cells)])


def pull(
    name: Annotated[str, typer.Argument(help="3b, 7b or a Hugging Face id (org/name).")],
    offline: Annotated[bool, typer.Option("--offline", help="Use only what is downloaded already.")] = False,
) -> None:
    """Download a checkpoint or a bundle, and print the folder it is in."""
    known = find(name)
    if known is not None and known.built_in:
        typer.echo(f"{known.short} ships in the package; there is nothing to download", err=True)
        return
    repo = store.repository(name)
    # Before the download: whoever may not use the model under its licence can stop here.
    _notify([known.notice if known else ""])
    folder = hub.download(repo, offline=offline)
    if hub.kind(folder) == "bundle":
        with _reading() as progress:
            bundle = open_bundle(folder, progress)
        _notify([store.notice_of(bundle.manifest)])
        typer.echo(f"next: omni-edge run --model {name}", err=True)
    else:
        typer.echo(f'next: omni-edge export "{folder}" "{store.bundle_folder(name)}"', err=True)
    typer.echo(str(folder))


def show(
    model: Annotated[str, typer.Argument(help="A name from omni-edge list, or the folder of a bundle.")],
    as_json: _Json = False,
    check: Annotated[bool, typer.Option("--verify", help="Read all files and compare digests.")] = False,
) -> None:
    """Show what a bundle holds: source, licence, networks, sizes, voices, settings."""
    bundle = inspect_bundle(store.resolve(model))
    _notify([store.notice_of(bundle.manifest)])
    if check:
        with _reading() as progress:
            verify(bundle, progress)
    if as_json:
        _print_json({"path": bundle.folder, "bytes": bundle.bytes, "verified": check, "manifest": bundle.manifest})
        return
    print_tables(_description(bundle, check))


def remove(
    name: Annotated[str, typer.Argument(help="A name from omni-edge list.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a model: its bundle in the store and its download in the hub's cache."""
    plan = store.removal(name)
    _notify(row.notice for row in store.stored() if row.name == plan.name)
    for path in plan.paths:
        typer.echo(f"to be deleted: {path}", err=True)
    if not yes:
        if not on_terminal(sys.stdin):
            raise OmniError("rm asks before it deletes, and there is no terminal to ask on; add --yes")
        typer.confirm(f"Delete {plan.name} ({size(plan.bytes)})?", abort=True, err=True)
    store.remove(name)
    typer.echo(f"deleted {plan.name} ({size(plan.bytes)})", err=True)


def _description(bundle: Bundle, verified: bool) -> Iterator[Table]:
    manifest = bundle.manifest
    facts = (
        ("path", str(bundle.folder)),
        ("checkpoint", manifest.source.checkpoint),
        ("revision", manifest.source.revision),
        ("licence", manifest.source.licence),
        ("notice", store.notice_of(manifest)),
        ("voices", ", ".join(_voices(bundle))),
        ("total size", size(bundle.bytes)),
        ("digests", "verified now" if verified else "not read; --verify reads them"),
    )
    yield Table(manifest.name, ("property", "value"), facts)
    sizes = {entry.path: entry.bytes for entry in manifest.files}
    networks = tuple(
        (
            name,
            graph.engine,
            graph.precision,
            size(sum(sizes[file] for file in graph.files)),
            f"{network.parameters / 1e6:.3g} M",
        )
        for name, network in manifest.subnetworks.items()
        for graph in network.graphs
    )
    yield Table("subnetworks", ("name", "engine", "precision", "size", "parameters"), networks)
    extras = tuple((extra.path, size(sizes[extra.path]), extra.purpose) for extra in manifest.extras)
    if extras:
        yield Table("extras", ("file", "size", "purpose"), extras)
    shapes = zip(_settings(manifest.thinker), _settings(manifest.talker), strict=True)
    yield Table(
        "decoders",
        ("shape", "thinker", "talker"),
        tuple((field, thinker, talker) for (field, thinker), (_, talker) in shapes),
    )
    stages = {
        "audio": manifest.audio,
        "vision": manifest.vision,
        "clock": manifest.clock,
        "flow": manifest.flow,
        "vocoder": manifest.vocoder,
    }
    settings = tuple((stage, *pair) for stage, record in stages.items() for pair in _settings(record))
    yield Table("settings", ("stage", "setting", "value"), settings)


def _voices(bundle: Bundle) -> Iterator[str]:
    voices = bundle.manifest.voices
    for name in voices.names:
        yield f"{name} (default)" if name == voices.default else name


def _settings(record: msgspec.Struct) -> list[tuple[str, str]]:
    return [(field, _setting(value)) for field, value in msgspec.structs.asdict(record).items()]


def _setting(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return " ".join(f"{field} {own}" for field, own in _settings(value))
    if isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
        return ", ".join(map(_setting, value))
    return str(value)


def _notify(notices: Iterable[str]) -> None:
    for notice in dict.fromkeys(notices):
        if notice:
            typer.echo(f"notice: {notice}", err=True)


def _print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain), indent=2))


def _plain(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"no JSON for {type(value)}")


@contextmanager
def _reading() -> Iterator[Progress | None]:
    """A bar on stderr for reading files; nothing when that is not a terminal."""
    if not on_terminal(sys.stderr):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("reading", total=None)

        def advance(name: str, done: int, total: int) -> None:
            bars.update(task, description=name, completed=done, total=total)

        yield advance
