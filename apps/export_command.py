"""omni-edge export: checkpoint to bundle. The exporter and torch are imported only when the command runs."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..models import hub, store
from ..models.errors import MissingExtra, ModelNotFound, RequestError
from .terminal import on_terminal

if TYPE_CHECKING:
    from ..export.bundle import Progress


class Precision(str, Enum):
    """Precisions a bundle can be exported at."""

    FP32 = "fp32"
    INT8 = "int8"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a checkpoint, or a name that was pulled (3b, 7b).")],
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder to write; for a pulled name it may be left out.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Precision of all weights.")] = Precision.FP32,
) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs.

    Every graph is compared with the checkpoint before the bundle is put in its place.
    """
    source, target = _places(checkpoint, bundle)
    try:
        from ..export.bundle import export_bundle
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "export", "export checkpoints") from error
    manifest = (
        _with_bar(source, target, precision)
        if on_terminal(sys.stderr)
        else export_bundle(source, target, _print_step, precision.value)
    )
    notice = store.notice_of(manifest)
    if notice:
        typer.echo(f"notice: {notice}", err=True)
    typer.echo(f'next: omni-edge run --model "{target}" --text "Hello"', err=True)
    typer.echo(str(target))


def _places(checkpoint: str, bundle: Path | None) -> tuple[Path, Path]:
    """Where to read and where to write."""
    folder = Path(checkpoint)
    if folder.exists() or (bundle is not None and not _is_name(checkpoint)):
        if bundle is None:
            raise RequestError(f'say where to write the bundle: omni-edge export "{folder}" BUNDLE')
        return folder, bundle
    repo = store.repository(checkpoint)
    snapshot = hub.cached_snapshot(repo)
    if snapshot is None:
        raise ModelNotFound(f"{repo} is not on this machine. Run: omni-edge pull {checkpoint}")
    return snapshot, bundle or store.bundle_folder(checkpoint)


def _is_name(text: str) -> bool:
    try:
        store.repository(text)
    except ModelNotFound:
        return False
    return True


def _print_step(progress: Progress) -> None:
    if progress.part == 0 and progress.done < progress.total:
        typer.echo(f"[{progress.done + 1}/{progress.total}] {progress.step}", err=True)


def _with_bar(source: Path, target: Path, precision: Precision):  # noqa: ANN202  (a Manifest; typing it would import msgspec here)
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    from ..export.bundle import export_bundle

    columns = (SpinnerColumn(), TextColumn("{task.description:15}"), BarColumn(), TaskProgressColumn())
    with Bars(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("starting", total=None)

        def advance(progress: Progress) -> None:
            bars.update(task, description=progress.step, completed=progress.done + progress.part, total=progress.total)

        return export_bundle(source, target, advance, precision.value)
