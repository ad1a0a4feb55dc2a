"""The README's own few lines of the table of precisions: what its recipes take, and two kinds of llama.cpp's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from omni_edge.apps.report.table import TITLES
from omni_edge.apps.terminal import size
from omni_edge.export.precisions import DECODERS, RECIPES

from .page import FORMATS, Row, in_units

README = Path(__file__).parents[1] / "README.md"
FIRST, LAST = "<!-- Made by python -m benchmarks.precisions. -->\n", "<!-- To here. -->\n"
LLAMA = ("q8_0", "q4_k_m")


class Measured(msgspec.Struct, frozen=True):
    """A precisions.json."""

    about: dict[str, str]
    rows: list[Row]


def put(measured: Measured, path: Path = README) -> None:
    """Replace what stands between the two marks."""
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(FIRST)
    _, after = rest.split(LAST)
    path.write_text(f"{before}{FIRST}{table(measured)}{LAST}{after}", encoding="utf-8")


def table(measured: Measured) -> str:
    """The lines, calibrated where that was measured."""
    about = measured.about
    head = f"{about['checkpoint']}, {about['processor']}, {about['cores']} cores, threads: {about['threads']}; "
    return "".join(f"{line}\n" for line in (f"{head}× is against fp32.", "", *_lines(measured.rows)))


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    yield "| subnetwork | format | precision | size | against full precision | speed |"
    yield "|---|---|---|--:|---|---|"
    fitted = {(row.subnetwork, row.precision) for row in rows if row.calibrated}
    for row in rows:
        wanted = {"fp32", *(recipe[row.subnetwork] for recipe in RECIPES.values())}
        if row.subnetwork in DECODERS:
            wanted |= {*LLAMA}
        if row.precision not in wanted or (not row.calibrated and (row.subnetwork, row.precision) in fitted):
            continue
        cells = (TITLES[row.subnetwork], FORMATS[row.engine], row.kind, size(row.bytes), row.error)
        yield f"| {' | '.join(cells)} | {in_units(row.speeds[0])} |"
