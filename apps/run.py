"""omni-edge run: one question and its answer, or a live conversation."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .engines import ENGINE_HELP, EngineOption
from .ordered import KEY, OrderedCommand
from .progress import waiting

if TYPE_CHECKING:
    from ..runtime.engine import EngineChoice
    from ..runtime.session import Session

# The values are read from KEY, in order; the declarations are for the help and for click's checks.
_Many = list[str] | None
_TURN = "What you say and show, in the order given"
_ANSWER = "The answer"
_DETAIL = "How it is computed"
_LIVE = "A live conversation (when nothing is asked above)"


class SolverChoice(str, Enum):
    """Solvers of the flow."""

    EULER = "euler"
    MIDPOINT = "midpoint"
    RK4 = "rk4"


class EchoChoice(str, Enum):
    """What keeps a conversation from hearing itself."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    HALF_DUPLEX = "half-duplex"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("run", cls=OrderedCommand)(run)


def run(  # noqa: PLR0913, PLR0917  (typer makes options of parameters)
    context: typer.Context,
    model: Annotated[str, typer.Option(help="nano, 3b, 7b, a Hugging Face id, or the folder of a bundle.")] = "nano",
    system: Annotated[
        str | None, typer.Option(help="System prompt; speech is at its best with the model's own.")
    ] = None,
    text: Annotated[
        _Many, typer.Option(metavar="TEXT", help="Text; - reads standard input.", rich_help_panel=_TURN)
    ] = None,
    image: Annotated[_Many, typer.Option(metavar="FILE", help="A picture.", rich_help_panel=_TURN)] = None,
    audio: Annotated[_Many, typer.Option(metavar="FILE", help="A sound.", rich_help_panel=_TURN)] = None,
    video: Annotated[_Many, typer.Option(metavar="FILE", help="A clip.", rich_help_panel=_TURN)] = None,
    use_audio_in_video: Annotated[bool, typer.Option(help="Hear the clips' own sound.", rich_help_panel=_TURN)] = True,
    voice: Annotated[str | None, typer.Option(help="Who speaks (see show).", rich_help_panel=_ANSWER)] = None,
    speech: Annotated[
        bool, typer.Option("--speech/--no-speech", help="Speak the answer.", rich_help_panel=_ANSWER)
    ] = True,
    out: Annotated[Path, typer.Option(help="Where the speech goes.", rich_help_panel=_ANSWER)] = Path("reply.wav"),
    max_tokens: Annotated[int | None, typer.Option(help="Longest text.", rich_help_panel=_ANSWER)] = None,
    max_codes: Annotated[
        int | None, typer.Option(help="Longest speech, in codes of 20 ms.", rich_help_panel=_ANSWER)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Repeat an answer exactly.", rich_help_panel=_ANSWER)] = None,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Always the likeliest token, in text and speech.", rich_help_panel=_ANSWER)
    ] = False,
    solver: Annotated[SolverChoice | None, typer.Option(help="Solver of the flow.", rich_help_panel=_DETAIL)] = None,
    flow_steps: Annotated[
        int | None,
        typer.Option(help="Time points of the solver; the reference is rk4 with 10.", rich_help_panel=_DETAIL),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(help="Guidance of the flow; 0 halves its cost.", rich_help_panel=_DETAIL)
    ] = None,
    guided_until: Annotated[
        float | None,
        typer.Option(help="Time, 0 to 1, until which the flow is guided.", rich_help_panel=_DETAIL),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Scale larger pictures down to this area.", rich_help_panel=_DETAIL)
    ] = None,
    engine: Annotated[EngineOption, typer.Option(help=ENGINE_HELP, rich_help_panel=_DETAIL)] = EngineOption.AUTO,
    threads: Annotated[int, typer.Option(help="Threads; 0 is one a core.", rich_help_panel=_DETAIL)] = 0,
    mic: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="Microphone, or a file in its place.", rich_help_panel=_LIVE)
    ] = None,
    speaker: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME|none", help="Loudspeaker, or a wav in its place.", rich_help_panel=_LIVE),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="FILE|NAME|default", help="Show what it sees.", rich_help_panel=_LIVE)
    ] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Files play as fast as the work allows.", rich_help_panel=_LIVE)
    ] = False,
    push_to_talk: Annotated[
        bool,
        typer.Option("--push-to-talk", help="Space begins and ends your turns; a file is one.", rich_help_panel=_LIVE),
    ] = False,
    interrupt: Annotated[bool, typer.Option(help="Speaking stops the answer.", rich_help_panel=_LIVE)] = True,
    threshold: Annotated[
        float | None, typer.Option(help="Probability that counts as speech.", rich_help_panel=_LIVE)
    ] = None,
    silence: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Quiet that ends your turn.", rich_help_panel=_LIVE)
    ] = None,
    pause: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Quiet to prepare the answer after.", rich_help_panel=_LIVE)
    ] = None,
    echo: Annotated[
        EchoChoice, typer.Option(help="What keeps the model from hearing itself.", rich_help_panel=_LIVE)
    ] = EchoChoice.AUTO,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep both sides and all events.", rich_help_panel=_LIVE)
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Hear again what you said in a saved one.", rich_help_panel=_LIVE),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON event a line on stdout, nothing else.")] = False,
) -> None:
    """Ask with text, sounds, pictures and clips; the answer is written as it comes, and spoken into a file.

    Text and media keep the order given:

        omni-edge run --image a.jpg --text "and now this:" --image b.jpg --text "What has changed?"

    Without any, talk: a live conversation by microphone and loudspeaker.

        omni-edge run --camera default
    """
    # What is heavy is imported here, so that --help stays quick.
    from ..runtime.options import Options
    from .live.options import LiveOptions
    from .output import JsonOutput, TerminalOutput, show
    from .parts import parts_of

    parts = parts_of(context.meta[KEY], use_audio_in_video, sys.stdin)
    live = LiveOptions(
        mic=mic,
        speaker=speaker,
        camera=camera,
        fast=fast,
        push_to_talk=push_to_talk,
        interrupt=interrupt,
        threshold=threshold,
        silence=silence,
        pause=pause,
        echo=echo.value,
        save=save,
        replay=replay,
        out=out,
        as_json=as_json,
    )
    live.check(asked=bool(parts))
    options = Options(
        speech=speech,
        voice=voice,
        max_tokens=max_tokens,
        max_codes=max_codes,
        greedy=greedy,
        solver=solver.value if solver else None,
        flow_steps=flow_steps,
        guidance=guidance,
        guided_until=guided_until,
        seed=seed,
    )
    session = _loaded(model, system, threads, max_pixels, engine.value)
    notices = _notices(session, system if speech else None)
    if not parts:
        from .live.running import converse

        converse(session, live, options, notices)
        return
    output = JsonOutput(sys.stdout) if as_json else TerminalOutput(sys.stdout, sys.stderr)
    for note in notices:
        output.notice(note)
    show(session.respond(*parts, options=options), output, out if speech else None, session.manifest.vocoder.rate)


def _loaded(model: str, system: str | None, threads: int, max_pixels: int | None, engine: EngineChoice) -> Session:
    from ..runtime.loading import load
    from ..runtime.messages import system as system_message

    history = () if system is None else (system_message(system),)
    with waiting(f"loading {Path(model).name or model}"):
        return load(model, history=history, threads=threads, max_pixels=max_pixels, engine=engine)


def _notices(session: Session, speaking_under: str | None) -> list[str]:
    """What the user should know of a model, and of speaking under another system prompt than its own."""
    from ..models.store import notice_of

    notices = [note for note in (notice_of(session.manifest), *session.notes) if note]
    if speaking_under is not None and speaking_under != session.manifest.speech_prompt:
        notices.append("this model learnt to speak under its own system prompt; with another its speech may suffer")
    return notices
