"""A benchmark's result for people, as tables, and for pipes, as tab-separated lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from .result import Against, Result

if TYPE_CHECKING:
    from rich.table import Table

TITLES = {
    "audio_encoder": "audio encoder", "vision_encoder": "vision encoder", "thinker_prefill": "thinker, prefill",
    "thinker_decode": "thinker, decode", "talker": "talker", "flow": "flow", "vocoder": "vocoder",
    "reply": "spoken reply",
}  # fmt: skip
COLUMNS = ("stage alone", "graph", "threads", "speed", "s", "RTF")
AGAINST = ("against {peer}, {precision}", "omni-edge", "{peer}", "ratio")


def stage_cells(result: Result) -> Iterator[tuple[str, ...]]:
    """Rows by COLUMNS."""
    for name, stage in result.stages.items():
        speed = f"{number(stage.rows_per_s)} {stage.unit}/s"
        graph = f"{stage.engine} {stage.precision}"
        yield TITLES[name], graph, str(stage.threads), speed, number(stage.seconds), number(stage.rtf)


def against_cells(against: Against) -> Iterator[tuple[str, ...]]:
    """Rows by AGAINST."""
    for name, unit in against.unit.items():
        own, other = (f"{number(side[name])} {unit}" for side in (against.own, against.other))
        yield TITLES[name], own, other, f"{against.ratio[name]:.2f} x"


def facts(result: Result) -> Iterator[tuple[str, str]]:
    """What else there is, by name."""
    total = result.total
    yield "spoken reply", f"{total.tokens} tokens, {total.codes} codes: {total.audio_s:.1f} s of speech"
    cores = f"{number(total.cpu_s)} s of all cores together"
    yield "made in", f"{number(total.seconds)} s, RTF {number(total.rtf)}; {cores}"
    yield (
        "at work, side by side",
        f"thinker {number(total.thinker_s)} s, talker {number(total.talker_s)} s, "
        f"flow {number(total.flow_s)} s, vocoder {number(total.vocoder_s)} s",
    )
    yield (
        "first token, code, sound",
        (
            f"{number(result.first_token_s)}, {number(result.first_code_s)}, {number(result.first_audio_s)} s "
            "after the end of the input"
        ),
    )
    yield "loudspeaker starts after", f"{number(result.playback_start_s)} s"
    if result.notice:
        yield "to the listener", result.notice
    yield "underruns", f"{result.underruns}; {result.underruns_at_once} if it started with the first sound"
    yield "peak memory", "unknown here" if result.peak_rss_mb is None else f"{result.peak_rss_mb:,.0f} MB"
    yield "measured", f"medians of {result.repeats} rounds on {result.machine}; seed {result.seed}"


def as_lines(result: Result) -> Iterator[str]:
    """Tab-separated."""
    yield "\t".join(COLUMNS)
    yield from ("\t".join(cells) for cells in stage_cells(result))
    yield from ("\t".join(fact) for fact in facts(result))
    if result.against is not None:
        yield "\t".join(_heads(result.against))
        yield from ("\t".join(cells) for cells in against_cells(result.against))


def print_tables(result: Result) -> None:
    """On the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    rest = Table.grid(padding=(0, 2))
    for name, value in facts(result):
        rest.add_row(Text(name, style="bold"), Text(value))
    console.print(_table(COLUMNS, stage_cells(result)), rest)
    if result.against is not None:
        console.print(_table(_heads(result.against), against_cells(result.against)))


def _table(heads: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index < 2 else "right", no_wrap=True)
    for cells in rows:
        table.add_row(*map(Text, cells))
    return table


def number(value: float) -> str:
    """Three figures that count, no exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    digits = 2 if value >= 1 else 3
    return f"{value:.{digits}f}" if value >= 0.1 else f"{value:.2g}"


def _heads(against: Against) -> list[str]:
    return [head.format(peer=against.peer, precision=against.precision) for head in AGAINST]
