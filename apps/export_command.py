"""omni-edge export: checkpoint to bundle. The exporter and torch are imported only when the command runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..models import hub, store
from ..models.errors import MissingExtra, ModelNotFound, RequestError
from .terminal import on_terminal

if TYPE_CHECKING:
    from ..export.bundle import Listen
    from ..export.progress import Progress


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("export")(export)


def export(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a checkpoint, or a name that was pulled (3b, 7b).")],
    bundle: Annotated[
        Path | None, typer.Argument(help="Folder to write; for a pulled name it may be left out.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SUBNETWORK=]KIND",
            help="Of all weights, or of one subnetwork's; may be repeated, the later wins. ONNX: fp32, int8, int4 and "
            "others; llama.cpp (thinker and talker): q8_0, q4_0, q4_k_m and others. Both: the bundle holds both.",
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            metavar="built-in|FOLDER",
            help="Fit thinker and talker to conversations: the built-in ones, or a folder of questions (.txt), sounds, "
            "pictures and clips. ONNX is rounded with error correction, llama.cpp's kinds by an importance matrix. "
            "Better four bits, and many times slower.",
        ),
    ] = None,
    mmproj: Annotated[
        str | None,
        typer.Option(
            metavar="f16|f32|bf16",
            help="Also write both encoders as llama.cpp's mmproj.gguf, for other programs; ours keeps to ONNX.",
        ),
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle of ONNX and GGUF graphs.

    Every graph is compared with the checkpoint before the bundle is put in its place. An export that was interrupted
    goes on where it stopped when the same command is run again.

        omni-edge export 3b --precision int4

        omni-edge export FOLDER BUNDLE --precision int8 --precision thinker=int4 --precision thinker=q4_k_m
    """
    source, target = _places(checkpoint, bundle)
    try:
        from ..export.bundle import export_bundle
        from ..export.precisions import choose
        from ..export.progress import by_step
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "torch", "export", "export checkpoints") from error
    choice = choose(precision or ())
    listen = _listener(calibration)
    if on_terminal(sys.stderr):
        with _bar() as advance:
            manifest = export_bundle(source, target, advance, choice, listen, mmproj)
    else:
        by_line = by_step(partial(typer.echo, err=True))
        manifest = export_bundle(source, target, by_line, choice, listen, mmproj)
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


def _listener(calibration: str | None) -> Listen | None:
    if calibration is None:
        return None
    from .calibration import listener

    return listener(calibration)


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A progress bar with the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), TextColumn("{task.description:24}"), BarColumn(), TaskProgressColumn())
    left = TimeRemainingColumn(elapsed_when_finished=True)
    with Bars(*columns, left, console=Console(stderr=True), transient=True, speed_estimate_period=600) as bars:
        task = bars.add_task("starting", total=1.0)
        yield lambda progress: bars.update(task, description=progress.step, completed=progress.share)
