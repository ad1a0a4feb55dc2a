"""The measurements as a table, a picture and plain facts."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from omni_edge.apps.report.page import LEAST_ERROR
from omni_edge.apps.report.svg import ERROR_AXIS, SIZE_AXIS, Point, scatter
from omni_edge.apps.report.table import TITLES
from omni_edge.apps.terminal import size
from omni_edge.models.manifest import EngineName, SubnetworkName

EXACT = frozenset({"fp32", "f32", "f16", "bf16"})
FORMATS: dict[EngineName, str] = {"onnx": "ONNX", "llama": "GGUF"}
NAMED = frozenset("q8_0 q5_k_m q4_k_m q4_0 q2_0 iq1_s".split())
"""Kinds of llama.cpp's that the picture names; more names would not stand beside their points any more."""
ERRORS: dict[SubnetworkName, str] = {
    "audio_encoder": "1 − cosine",
    "vision_encoder": "1 − cosine",
    "thinker": "KL divergence in nats",
    "talker": "KL divergence in nats",
    "flow": "relative mel distance",
    "vocoder": "spectral convergence",
}
"""What is drawn of each."""
WIDTH, HEIGHT, HEAD = 860, 340, 30
"""Of a panel and its title; the first is the scatter's own."""
STYLE = """
svg { --card: #ffffff; --faint: #59616b; --line: #d9dde2; --c0: #2f6db3; --c1: #2a8a57; --c2: #b3572f; }
@media (prefers-color-scheme: dark) {
  svg { --card: #1c2026; --faint: #a3abb5; --line: #353c45; --c0: #6ba5e7; --c1: #5cc78e; --c2: #e79a6b; }
}
.card { fill: var(--card); } .grid { stroke: var(--line); stroke-width: 1; } .spread { stroke: var(--faint); }
.c0 { fill: var(--c0); } .c1 { fill: var(--c1); } .c2 { fill: var(--c2); }
text { fill: var(--faint); font: 12px system-ui, sans-serif; } .title { font-size: 14px; font-weight: 600; }
.marked { font-weight: 700; text-decoration: underline; }
"""


class Speed(msgspec.Struct, frozen=True):
    """A median time."""

    unit: str
    value: float
    faster: float
    """How many times as fast as fp32 on ONNX Runtime."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A graph that was measured."""

    subnetwork: SubnetworkName
    engine: EngineName
    precision: str
    calibrated: bool
    bytes: int
    bits_per_weight: float
    size_of_error: float
    error: str
    """In words."""
    metrics: dict[str, Any]
    """As `omni-edge report --json` has them."""
    speeds: tuple[Speed, ...] = ()

    @property
    def kind(self) -> str:
        """The precision, and whether it was fitted."""
        return f"{self.precision}, calibrated" if self.calibrated else self.precision


def facts(checkpoint: Path, limit: int, rounds: int, threads: int) -> dict[str, str]:
    """What the figures depend on."""
    packages = ("omni-edge", "onnxruntime", "llama-cpp-python", "numpy", "torch")
    return {
        "checkpoint": checkpoint.parent.name,
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "threads": str(threads) if threads else "one a core",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
        "conversations": str(limit),
        "timings of each graph": str(rounds),
    }


def processor() -> str:
    """Name of the machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def markdown(rows: list[Row], about: Mapping[str, str]) -> str:
    """The page."""
    return "\n".join(_lines(rows, about)) + "\n"


def _lines(rows: list[Row], about: Mapping[str, str]) -> Iterator[str]:
    yield from (
        "# What precisions cost",
        "",
        "Made by `python -m benchmarks.precisions`; do not edit. Each graph and the checkpoint's own network were",
        "given the same inputs, recorded while the bundle in full precision answered; errors are as `omni-edge report`",
        "has them. *Calibrated* is what `--calibration built-in` makes. Times are medians of interleaved rounds; × is",
        "against the subnetwork's fp32 graph on ONNX Runtime. nano is small: its weights fit a processor's cache, so",
        "fewer bits buy it less time than they buy a large model, whose weights come from memory at each step. It is",
        "narrow, too: where a row is no multiple of 256, llama.cpp takes a kind in blocks of 32 for one in blocks of",
        "256, so that most matrices are finer here than the names of its smaller kinds say.",
        "",
        *(f"- {name}: {value}" for name, value in about.items()),
        "",
        "![Error against size](precisions.svg)",
        "",
        "| subnetwork | format | precision | size | bits a weight | against full precision | speed |",
        "|---|---|---|--:|--:|---|---|",
    )
    for row in rows:
        speeds = "; ".join(map(in_units, row.speeds))
        cells = (TITLES[row.subnetwork], FORMATS[row.engine], row.kind, size(row.bytes), f"{row.bits_per_weight:.2f}")
        yield f"| {' | '.join((*cells, row.error, speeds))} |"


def in_units(speed: Speed) -> str:
    """A time, and how many times as fast that is."""
    return f"{_number(speed.value)} {speed.unit} ({speed.faster:.2f}×)"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def picture(rows: list[Row]) -> str:
    """Error against size, a panel for each subnetwork and format."""
    drawings = []
    for name, error in ERRORS.items():
        for engine, form in FORMATS.items():
            # Where nothing is lost there is nothing to see, and the others would stand on top of each other.
            mine = [
                row for row in rows if (row.subnetwork, row.engine) == (name, engine) and row.precision not in EXACT
            ]
            if mine:
                title = f"{TITLES[name]}, {form}: {error}" + "; + is calibrated" * any(row.calibrated for row in mine)
                drawings.append((title, scatter([_point(row) for row in mine], SIZE_AXIS, ERROR_AXIS, title)))
    return panels(drawings, "Error against size of every graph that is not in floats")


def panels(drawings: Sequence[tuple[str, str]], alt: str, panel: int = HEIGHT) -> str:
    """Drawings one below the other, as a file.

    Args:
        drawings: title and drawing of each.
        alt: what they say, in words.
        panel: height of a drawing.
    """
    height = panel + HEAD
    parts = []
    for index, (title, drawing) in enumerate(drawings):
        inner = drawing[drawing.index("<svg") : drawing.index("</svg>")].replace(
            "<svg", f'<svg x="0" y="{index * height + HEAD}" width="{WIDTH}" height="{panel}" overflow="visible"', 1
        )
        parts.append(f'<text class="title" x="12" y="{index * height + 20}">{escape(title)}</text>\n{inner}</svg>')
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(drawings) * height}" role="img" '
        f'aria-label="{escape(alt)}">\n<style>{STYLE}</style>\n'
        f'<rect class="card" width="100%" height="100%"/>\n{body}\n</svg>\n'
    )


def _point(row: Row) -> Point:
    title = f"{TITLES[row.subnetwork]}, {FORMATS[row.engine]} {row.kind}: {size(row.bytes)}, {row.error}"
    label = f"{row.precision} +" if row.calibrated else row.precision
    if row.engine == "llama" and row.precision not in NAMED:
        label = ""
    return Point(row.bytes, max(row.size_of_error, LEAST_ERROR), label, title, kind=int(row.calibrated))
