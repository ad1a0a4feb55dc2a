"""Plots as inline SVG. Colours are the page's CSS variables, so that they follow its light or dark look."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 860
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 14, 46
"""Room for the axes, in units of the drawing."""


OUTSIDE_SLOT, OUTSIDE_BAR = 120, 16
"""Room for a group that is named in words instead of by a number, and the least width of its bars."""
LETTER = 7
"""Width of a letter of a label, a little more than most have."""


@dataclass(frozen=True)
class Bar:
    """One bar of a group."""

    group: str
    kind: str
    """Bars of one kind have one colour."""
    value: float
    title: str
    """Shown when pointed at."""


@dataclass(frozen=True)
class Point:
    """One point of a scatter."""

    x: float
    y: float
    label: str
    title: str


def bar_plot(bars: Sequence[Bar], kinds: Sequence[str], x_label: str, y_label: str, alt: str) -> str:
    """Bars by group, in the order given, with a legend.

    Args:
        bars: values are shares, shown in percent. Groups named by a number stand close together.
        kinds: all there are, in the order of their colours.
        x_label, y_label: of the axes.
        alt: what the plot says, in words.
    """
    height = 270
    groups = list(dict.fromkeys(bar.group for bar in bars))
    top, ticks = _linear(max(bar.value for bar in bars))
    floor = height - BOTTOM
    rise = (floor - TOP) / top
    lines = [_horizontal(floor - tick * rise, _percent(tick)) for tick in ticks]
    numbered = [group for group in groups if group.isdigit()]
    room = WIDTH - LEFT - RIGHT - OUTSIDE_SLOT * (len(groups) - len(numbered))
    slot = room / max(1, len(numbered))
    width = min(0.8 * slot / max(sum(bar.group == group for bar in bars) for group in groups), 30)
    every = math.ceil(20 / slot)
    place = float(LEFT)
    for group in groups:
        mine = [bar for bar in bars if bar.group == group]
        share, wide = (slot, width) if group.isdigit() else (OUTSIDE_SLOT, max(width, OUTSIDE_BAR))
        left = place + (share - wide * len(mine)) / 2
        lines += [_bar(left + index * wide, wide, floor, rise, bar, kinds) for index, bar in enumerate(mine)]
        if not group.isdigit() or int(group) % every == 0:
            lines.append(_text(place + share / 2, floor + 18, group, "middle"))
        place += share
    lines += [_text(WIDTH / 2, height - 6, x_label, "middle"), _vertical_title(y_label, height)]
    return _drawing(height, lines, alt) + _legend(kinds)


def scatter(points: Sequence[Point], x_label: str, y_label: str, alt: str) -> str:
    """Points on two logarithmic axes, each named beside it. Both values are above 0."""
    height = 340
    floor, room = height - BOTTOM, WIDTH - LEFT - RIGHT - 120  # names stand to the right of their points
    marks = _marks(min(point.x for point in points), max(point.x for point in points))
    low_y, high_y = _decades([point.y for point in points])

    def across(x: float) -> float:
        return LEFT + room * math.log(x / marks[0]) / math.log(marks[-1] / marks[0])

    def up(y: float) -> float:
        return floor - (floor - TOP) * (math.log10(y) - low_y) / (high_y - low_y)

    lines = [_horizontal(up(10.0**power), _power(power)) for power in range(low_y, high_y + 1)]
    for mark in marks:
        x = across(mark)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}" class="grid"/>')
        lines.append(_text(x, floor + 18, _bytes(mark), "middle"))
    spots = [(across(point.x), up(point.y)) for point in points]
    heights = _apart(spots, [point.label for point in points])
    for point, (x, y), height_of_label in zip(points, spots, heights, strict=True):
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" class="c0"><title>{escape(point.title)}</title></circle>'
        )
        lines.append(_text(x + 12, height_of_label + 4, point.label, "start"))
    lines += [_text(LEFT + room / 2, height - 6, x_label, "middle"), _vertical_title(y_label, height)]
    return _drawing(height, lines, alt)


def _drawing(height: int, lines: Sequence[str], alt: str) -> str:
    inner = "\n".join(lines)
    return (
        f'<div class="plot"><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(alt)}">\n{inner}\n'
        "</svg></div>"
    )


def _legend(kinds: Sequence[str]) -> str:
    items = "".join(
        f'<li><span class="key k{index % 6}"></span>{escape(kind)}</li>' for index, kind in enumerate(kinds)
    )
    return f'<ul class="legend">{items}</ul>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _vertical_title(text: str, height: int) -> str:
    middle = (TOP + height - BOTTOM) / 2
    return f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(text)}</text>'


def _horizontal(y: float, label: str) -> str:
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
    return line + _text(LEFT - 8, y + 4, label, "end")


def _bar(x: float, width: float, floor: float, rise: float, bar: Bar, kinds: Sequence[str]) -> str:
    size = max(bar.value * rise, 0.5)
    return (
        f'<rect x="{x:.2f}" y="{floor - size:.2f}" width="{max(0.9 * width, 0.5):.2f}" height="{size:.2f}" '
        f'class="c{kinds.index(bar.kind) % 6}"><title>{escape(bar.title)}</title></rect>'
    )


def _marks(low: float, high: float) -> list[float]:
    """Numbers that begin with 1, 2 or 5: from the last one below all values to the first one above."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [lead * 10.0**power for power in powers for lead in (1, 2, 5)]
    first = max(index for index, step in enumerate(steps) if step < low)
    return steps[first : next(index for index, step in enumerate(steps) if step > high) + 1]


def _apart(spots: Sequence[tuple[float, float]], labels: Sequence[str]) -> list[float]:
    """Heights of labels to the right of their spots, moved as little as keeps them off each other and other spots."""
    taken = [(x - 8, x + 8, y) for x, y in spots]
    heights = []
    for (x, y), label in zip(spots, labels, strict=True):
        left, right = x + 10, x + 14 + LETTER * len(label)
        beside = [other for low, high, other in taken if low < right and left < high]
        # Beside the spot if that is free, else above, below, further above, ...
        tried = [y + 15 * ((step + 1) // 2) * (1 - 2 * (step % 2)) for step in range(2 * len(labels) + 1)]
        height = next((place for place in tried if all(abs(place - other) >= 14 for other in beside)), y)
        heights.append(height)
        taken.append((left, right, height))
    return heights


def _linear(highest: float) -> tuple[float, list[float]]:
    """The top of an axis from 0, and its ticks, at 1, 2 or 5 of some decade."""
    least = max(highest, 1e-6) / 4
    decade = 10.0 ** math.floor(math.log10(least))
    step = next(lead * decade for lead in (1, 2, 5, 10) if lead * decade >= least)
    count = max(1, math.ceil(highest / step))
    return count * step, [index * step for index in range(count + 1)]


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return (low, high) if low < high else (low, low + 1)


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _power(power: int) -> str:
    raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}"


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:g} {unit}"
        value /= 1000
    return f"{value:g} TB"
