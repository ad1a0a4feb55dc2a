"""A report as text: a table for a terminal, tab-separated lines for a pipe, one JSON object for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..suite.figures import Figure
from ..terminal import size
from .compare import Compared

if TYPE_CHECKING:
    from ...quant.report import Error

END_TO_END = "end_to_end"
TITLES = {
    "audio_encoder": "audio encoder", "vision_encoder": "vision encoder", "thinker": "thinker", "talker": "talker",
    "flow": "flow", "vocoder": "vocoder",
}  # fmt: skip
COLUMNS = ("subnetwork", "engine", "precision", "size", "bits a weight", "against full precision")


def as_json(compared: Sequence[Compared], scores: Mapping[str, Figure]) -> bytes:
    """{subnetwork: [{engine, precision, bytes, bits_per_weight, and its metrics}], ..., end_to_end: ...}.

    `end_to_end` is left out when the suite was not run. A number that is infinite (no difference at all, in dB) is
    null.
    """
    result: dict[str, Any] = {}
    for each in compared:
        values = msgspec.structs.asdict(each.report)
        error, unmeasured = values.pop("error"), values.pop("unmeasured")
        measured = {"unmeasured": unmeasured} if error is None else msgspec.structs.asdict(error)
        result.setdefault(each.subnetwork, []).append({**values, **measured})
    if scores:
        result[END_TO_END] = dict(scores)
    return msgspec.json.encode(result)


def as_lines(compared: Sequence[Compared], scores: Mapping[str, Figure]) -> list[str]:
    """Tab-separated, one metric a line, under a line of column names."""
    rows: list[tuple[object, ...]] = [
        ("subnetwork", "engine", "precision", "bytes", "bits_per_weight", "metric", "value")
    ]
    for each in compared:
        report = each.report
        bits = "" if report.bits_per_weight is None else f"{report.bits_per_weight:.2f}"
        lead = (each.subnetwork, report.engine, report.precision, report.bytes, bits)
        metrics = [("", report.unmeasured)] if report.error is None else list(_metrics(report.error).items())
        rows += [(*lead, name, value) for name, value in metrics]
    rows += [(END_TO_END, "", "", "", "", name, f"{figure.value:.6g}") for name, figure in scores.items()]
    return ["\t".join(map(str, row)) for row in rows]


def cells(each: Compared) -> tuple[str, ...]:
    """A row of the table, by COLUMNS."""
    report = each.report
    bits = "" if report.bits_per_weight is None else f"{report.bits_per_weight:.2f}"
    title, what = TITLES[each.subnetwork], in_words(each)
    return (title, report.engine, report.precision, size(report.bytes), bits, what)


def in_words(each: Compared) -> str:
    """What was lost, for people."""
    from ...quant.report import DecoderError, EncoderError, FlowError

    error = each.report.error
    if error is None:
        return f"not measured: {each.report.unmeasured}"
    if isinstance(error, EncoderError):
        return f"cosine {error.cosine:.6f}, worst {error.worst_cosine:.6f}"
    if isinstance(error, DecoderError):
        what = "code" if each.subnetwork == "talker" else "token"
        text = f"KL {error.kl:.2g} nats, same {what} {100 * error.top1:.1f} %"
        if error.prompt_kl is not None and error.prompt_top1 is not None:
            text += f"; in the prompt {error.prompt_kl:.2g} nats, {100 * error.prompt_top1:.1f} %"
        return text
    if isinstance(error, FlowError):
        return f"mel distance {error.mel_distance:.2g} ({100 * error.relative:.2g} % of its deviation)"
    noise = "no noise at all" if math.isinf(error.snr_db) else f"SNR {error.snr_db:.1f} dB"
    return f"spectral convergence {error.spectral_convergence:.2g}, log magnitude {error.log_magnitude:.2g}, {noise}"


def _metrics(error: Error) -> dict[str, str]:
    values = {name: value for name, value in msgspec.structs.asdict(error).items() if name != "matrices"}
    return {name: f"{value:.6g}" for name, value in values.items() if value is not None}


def print_table(compared: Sequence[Compared], scores: Mapping[str, Figure]) -> None:
    """On the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..suite.figures import shown
    from ..suite.table import wanted

    console = Console()
    table = Table(*COLUMNS)
    for each in compared:
        # Text, because rich would take the brackets of a cell for its own markup.
        table.add_row(*map(Text, cells(each)))
    console.print(table)
    if scores:
        suite = Table("end to end", "figure", "wanted", "items")
        for name, figure in scores.items():
            suite.add_row(name, shown(figure.metric, figure.value), wanted(name, figure), str(figure.items))
        console.print(suite)
