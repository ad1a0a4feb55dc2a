"""Plots as inline SVG. Colours are the page's CSS variables, so that they follow its light or dark look."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
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
    kind: int = 0
    """Of its colour."""
    spread: float = 0.0
    """Half the length of a bar through it, in units of y."""
    marked: bool = False
    """Its label stands out."""


@dataclass(frozen=True)
class Axis:
    """What an axis says; logarithmic unless it is linear, and then from 0 on."""

    title: str
    mark: Callable[[float], str]
    """A number as it is written beside the axis."""
    linear: bool = False


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


def course_plot(
    courses: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str, alt: str, *, height: int = 270
) -> str:
    """How values go on, as dots on two axes that begin at 0; names and colours stand to their right.

    Args:
        courses: (x, y) by name, x rising.
        x_label, y_label: of the axes.
        alt: what the plot says, in words.
        height: of the drawing.
    """
    floor, room = height - BOTTOM, WIDTH - LEFT - RIGHT - 40 - LETTER * max(map(len, courses))
    right, across = _linear(max(x for course in courses.values() for x, _ in course))
    top, up = _linear(max(y for course in courses.values() for _, y in course))
    spots = {
        name: [(LEFT + room * x / right, floor - (floor - TOP) * y / top) for x, y in course]
        for name, course in courses.items()
    }
    lines = [_horizontal(floor - (floor - TOP) * tick / top, f"{tick:g}", LEFT + room) for tick in up]
    lines += [_text(LEFT + room * tick / right, floor + 18, f"{tick:g}", "middle") for tick in across]
    for index, (name, course) in enumerate(spots.items()):
        place = (LEFT + room + 24, TOP + 12 + 20 * index)
        lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" class="c{index % 6}"/>' for x, y in course]
        lines.append(f'<circle cx="{place[0]}" cy="{place[1]}" r="5" class="c{index % 6}"/>')
        lines.append(_text(place[0] + 12, place[1] + 4, name, "start"))
    lines += [_text(LEFT + room / 2, height - 6, x_label, "middle"), _vertical_title(y_label, height)]
    return _drawing(height, lines, alt)


def scatter(points: Sequence[Point], x_axis: Axis, y_axis: Axis, alt: str, height: int = 340) -> str:
    """Points, each with its label, which may be empty, beside it. x is logarithmic; what is so must be above 0."""
    floor, room = height - BOTTOM, WIDTH - LEFT - RIGHT - 120  # names stand to the right of their points
    marks = _marks(min(point.x for point in points), max(point.x for point in points))
    ticks, share = _upward(points, linear=y_axis.linear)

    def across(x: float) -> float:
        return LEFT + room * math.log(x / marks[0]) / math.log(marks[-1] / marks[0])

    def up(y: float) -> float:
        return floor - (floor - TOP) * share(y)

    lines = [_horizontal(up(tick), y_axis.mark(tick)) for tick in ticks]
    for mark in marks:
        x = across(mark)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{floor}" class="grid"/>')
        lines.append(_text(x, floor + 18, x_axis.mark(mark), "middle"))
    spots = [(across(point.x), up(point.y)) for point in points]
    heights = _apart(spots, [point.label for point in points])
    for point, (x, y), height_of_label in zip(points, spots, heights, strict=True):
        if point.spread:
            ends = [up(point.y + side * point.spread) for side in (-1, 1)]
            lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{ends[0]:.1f}" y2="{ends[1]:.1f}" class="spread"/>')
        lines.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" class="c{point.kind % 6}">'
            f"<title>{escape(point.title)}</title></circle>"
        )
        label = _text(x + 12, height_of_label + 4, point.label, "start")
        lines.append(label.replace("<text", '<text class="marked"', 1) if point.marked else label)
    lines += [_text(LEFT + room / 2, height - 6, x_axis.title, "middle"), _vertical_title(y_axis.title, height)]
    return _drawing(height, lines, alt)


def _upward(points: Sequence[Point], *, linear: bool) -> tuple[list[float], Callable[[float], float]]:
    """Ticks of y, and how far up a value stands, 0 to 1."""
    if linear:
        top, ticks = _linear(max(point.y + point.spread for point in points))
        return ticks, lambda y: y / top
    low, high = _decades([point.y for point in points])
    return [10.0**power for power in range(low, high + 1)], lambda y: (math.log10(y) - low) / (high - low)


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


def _horizontal(y: float, label: str, right: float = WIDTH - RIGHT) -> str:
    line = f'<line x1="{LEFT}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
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
        if not label:
            heights.append(y)
            continue
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


def power_of_ten(value: float) -> str:
    """A tick of a logarithmic axis."""
    raised = str(round(math.log10(value))).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}"


def bytes_in_words(value: float) -> str:
    """A round number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:g} {unit}"
        value /= 1000
    return f"{value:g} TB"


SIZE_AXIS = Axis("size on disk", bytes_in_words)
ERROR_AXIS = Axis("error", power_of_ten)
