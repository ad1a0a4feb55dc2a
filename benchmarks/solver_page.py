"""The measurements of solvers as a table and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

import msgspec
import numpy as np

from omni_edge.apps.report.svg import Axis, Point, power_of_ten, scatter
from omni_edge.models.manifest import SolverName

from .lookahead import Off
from .page import panels

LETTERS: Mapping[SolverName, str] = {"euler": "E", "midpoint": "M", "rk4": "R"}
GUIDED = {"off": "", "early": "e", "on": "g"}
LEGEND = "E Euler, M midpoint, R 3/8 rule; g guided, e early; default underlined"
NEAR = 1.2
PANEL = 480
"""Height of a drawing."""
KINDS = {"off": 0, "early": 1, "on": 2}


class Rate(msgspec.Struct, frozen=True):
    """Words wrong, or how many more there are, over all words, with its standard error."""

    value: float
    error: float


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that was measured."""

    name: str
    solver: SolverName
    points: int
    """Time points: intervals and one."""
    guidance: str
    """off, early or on."""
    evaluations: int
    rows: int
    """Rows that the network computes for a frame: a guided evaluation has two."""
    judged: Rate
    judged_more: Rate
    """Than with the reference's setting, sentence by sentence."""
    own: Rate
    own_more: Rate
    mel_distance: float
    is_default: bool
    seconds: float = math.nan
    """For a second of speech."""
    shape_seconds: float | None = None
    """Likewise, for the published models' shape."""


class Yardstick(msgspec.Struct, frozen=True):
    """The reference's setting with something else changed."""

    what: str
    mel_distance: float


class Page(msgspec.Struct, frozen=True):
    """All that is written."""

    about: dict[str, str]
    rows: list[Row]
    yardsticks: list[Yardstick]
    lookahead: dict[str, list[Off]]


def rate(errors: Sequence[int], words: Sequence[int]) -> Rate:
    """Errors over words of sentences, and the standard error of that ratio of two sums.

    Source of the latter: Cochran, Sampling Techniques, 1977, equation 6.13, without the correction for a finite
    population: sqrt(n / (n - 1) · sum (e - r·w)²) / sum w.
    """
    e, w = np.array(errors, np.float64), np.array(words, np.float64)
    ratio = e.sum() / w.sum()
    count = len(e)
    spread = math.sqrt(count / max(1, count - 1) * float(np.square(e - ratio * w).sum())) / w.sum()
    return Rate(float(ratio), float(spread))


def difference(errors: Sequence[int], others: Sequence[int], words: Sequence[int]) -> Rate:
    """The same for how many more errors than others there are in the same sentences."""
    return rate([a - b for a, b in zip(errors, others, strict=True)], words)


def choose(rows: Sequence[Row]) -> Row:
    """The default: the cheapest setting that is as clear as the reference's and near what no guidance comes to.

    As clear: words wrong, by the judge and by nano, within one standard error of the reference's. Near: at most NEAR
    times as far from its mels as those of the same equation without guidance, solved with the most evaluations.
    """
    good = [row for row in rows if _is_clear(row) and row.mel_distance <= NEAR * _exact(rows).mel_distance]
    return min(good, key=lambda row: (row.rows, row.mel_distance))


def _is_clear(row: Row) -> bool:
    return all(more.value <= more.error for more in (row.judged_more, row.own_more))


def _exact(rows: Sequence[Row]) -> Row:
    return max((row for row in rows if row.guidance == "off"), key=lambda row: row.evaluations)


def markdown(page: Page) -> str:
    """The page."""
    return "\n".join(_lines(page)) + "\n"


def _lines(page: Page) -> Iterator[str]:
    yield from (
        "# How the flow is solved",
        "",
        "Made by `python -m benchmarks.solvers`; do not edit. nano's talker said the same codes for all settings, the",
        "flow that ships made mels of them from the same noise, each sentence at once, and the vocoder sound. *Words",
        "wrong* are those that pocketsphinx hears otherwise, and those that nano itself does, ± the standard error;",
        "*more* is against the reference's setting (rk4, 10 points, guided), sentence by sentence. *Mel distance* is",
        "the mean absolute difference from it in natural logarithms. *Rows* are what the network computes for a frame:",
        "a guided evaluation counts twice. *Early* guidance lasts until time 0.25. Times are seconds of one processor",
        "core for a second of speech.",
        "",
        *(f"- {name}: {value}" for name, value in page.about.items()),
        "",
        "![Words wrong and mel distance against network rows of every setting](solvers.svg)",
        "",
    )
    shaped = any(row.shape_seconds is not None for row in page.rows)
    last = " | 3B's shape |" if shaped else " |"
    yield (
        "| solver | points | guidance | evaluations | rows | words wrong, judge | more | words wrong, nano | more "
        f"| mel distance | time{last}"
    )
    yield "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|" + ("--:|" if shaped else "")
    for row in page.rows:
        name = f"**{row.solver}**, default" if row.is_default else row.solver
        cells = [
            name, str(row.points), row.guidance, str(row.evaluations), str(row.rows),
            _rate(row.judged), _rate(row.judged_more, "+"), _rate(row.own), _rate(row.own_more, "+"),
            f"{row.mel_distance:.3f}", f"{row.seconds:.3f}",
        ]  # fmt: skip
        cells += [] if row.shape_seconds is None else [f"{row.shape_seconds:.2f}"]
        yield f"| {' | '.join(cells)} |"
    yield from ("", *_choice(page.rows), "", "The reference's setting with something else changed:", "")
    yield from ("| what | mel distance |", "|---|--:|")
    for each in page.yardsticks:
        yield f"| {each.what} | {each.mel_distance:.3f} |"
    yield from ("", "## Look-ahead", "")
    yield "The default, with codes coming a block at a time, against the same sentences at once. In eight bits rows are"
    yield "rounded by what else is in a chunk, so that a stream is not the whole even where its look-ahead is enough."
    yield from ("", "| graph | blocks | mel distance | largest | root mean square over deviation |")
    yield "|---|--:|--:|--:|--:|"
    for graph, found in page.lookahead.items():
        for each in found:
            yield f"| {graph} | {each.blocks} | {each.mean:.4f} | {each.largest:.3f} | {each.relative:.4f} |"


def _choice(rows: Sequence[Row]) -> Iterator[str]:
    chosen, exact, least = choose(rows), _exact(rows), min(rows, key=lambda row: row.rows)
    most = max(rows, key=lambda row: row.rows)
    yield from wrap(
        f"The default is the cheapest setting whose words wrong, by the judge and by nano, are within one standard "
        f"error of the reference's, and whose mels lie at most {NEAR} times as far from the reference's as those of "
        f"{exact.evaluations} evaluations without guidance do ({exact.mel_distance:.3f}): what is left is then the "
        f"guidance, and hardly the integration. That is **{chosen.solver} with {chosen.points} points, guidance "
        f"{chosen.guidance}**: {chosen.rows} rows instead of {most.rows}, at {chosen.mel_distance:.3f}. A single "
        f"evaluation lies at {least.mel_distance:.3f}: it draws the mean of all that the noise could have become, "
        f"which nano was trained for at time 0 and a published flow was not, so that nano's words say little about "
        f"theirs.",
        118,
    )


def _rate(rate: Rate, sign: str = "") -> str:
    return f"{100 * rate.value:{sign}.1f} ± {100 * rate.error:.1f} %"


def picture(rows: Sequence[Row]) -> str:
    """Words wrong and mel distance against network rows."""
    across = Axis("rows that the network computes for a frame", lambda rows: f"{rows:g}")
    share = Axis("words wrong", lambda share: f"{100 * share:.3g} %", linear=True)
    words = [_point(row, row.judged.value, row.judged.error) for row in rows]
    # The reference is at no distance from itself, which no logarithm shows.
    mels = [_point(row, row.mel_distance, 0.0) for row in rows if row.mel_distance]
    drawings = [
        (f"Words wrong ± standard error: {LEGEND}", scatter(words, across, share, "words wrong", PANEL)),
        (
            "Mean absolute difference of mels from the reference's setting, R36g",
            scatter(mels, across, Axis("mel distance", power_of_ten), "mel distance", PANEL),
        ),
    ]
    return panels(drawings, "Words wrong and mel distance against network rows of every setting", PANEL)


def _point(row: Row, value: float, spread: float) -> Point:
    label = f"{LETTERS[row.solver]}{row.evaluations}{GUIDED[row.guidance]}"
    title = f"{row.solver}, {row.points} points, guidance {row.guidance}: {value:.3g}"
    return Point(row.rows, value, label, title, kind=KINDS[row.guidance], spread=spread, marked=row.is_default)
