"""The figures of several evaluations side by side, as a Markdown table."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from .figures import Figure, shown
from .nano import WANTED


def figures_table(files: Sequence[tuple[str, Path]]) -> list[str]:
    """Lines of Markdown.

    Args:
        files: a title and what `omni-edge eval --json` printed, for each column.
    """
    columns = [(title, _read(path)) for title, path in files]
    titles = [title for title, _ in columns]
    lines = [f"| line | {' | '.join(titles)} | wanted | items |", "|---|" + "---|" * (len(columns) + 2)]
    first = columns[0][1]
    for name, figure in first.items():
        cells = [shown(column[name].metric, column[name].value) if name in column else "" for _, column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} | {wanted(name, figure)} | {figure.items} |")
    return [*lines, "", f"Measured on {machine()}."]


def wanted(name: str, figure: Figure) -> str:
    """What a line is meant to reach, empty where nothing is."""
    if name not in WANTED:
        return ""
    return f"{'≥' if figure.metric == 'accuracy' else '≤'} {shown(figure.metric, WANTED[name])}"


def machine() -> str:
    """Processor and cores of this machine."""
    names = Path("/proc/cpuinfo")
    models = [line.split(":", 1)[1].strip() for line in _lines(names) if line.startswith("model name")]
    return f"{models[0] if models else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _read(path: Path) -> Mapping[str, Figure]:
    return {name: Figure(**values) for name, values in json.loads(path.read_text(encoding="utf-8")).items()}
