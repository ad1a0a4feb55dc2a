"""The command `omni-edge`: which subcommands there are, and how they fail."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from ..models.errors import OmniError
from . import bench_command, devices_command, eval_command, export_command, model_commands, report_command, run

app = typer.Typer(
    name="omni-edge",
    help="Qwen2.5-Omni on one small machine, offline: it hears, sees, reads, writes and talks.",
    epilog="""Examples:

    omni-edge run --text "Hello, who are you?"

    omni-edge run --image photo.jpg --audio question.wav --out answer.wav

    omni-edge run --video clip.mp4 --text "What is said here?" --no-speech

    omni-edge pull 7b && omni-edge export 7b && omni-edge run --model 7b --text "Hello"

    omni-edge export 3b --precision int4 --calibration built-in && omni-edge report 3b --against 3b
    """,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"omni-edge {version('omni-edge')}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Qwen2.5-Omni on one small machine, offline: it hears, sees, reads, writes and talks."""


run.register(app)
export_command.register(app)
report_command.register(app)
eval_command.register(app)
bench_command.register(app)
model_commands.register(app)
devices_command.register(app)


def main() -> None:
    """Run the command line; what the user can act on becomes one line on stderr and status 1."""
    # Not every terminal can show every character that a model may write.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        app()
    except OmniError as error:
        _fail(str(error))
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); nothing is wrong and nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except MemoryError:
        _fail("there is not enough memory for this model or input; use a smaller model, or shorter media")
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _fail("the disk is full; free some space and run the command again")
        raise


def _fail(message: str) -> None:
    typer.echo(f"omni-edge: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
