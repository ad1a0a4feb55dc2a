"""A report as one HTML file that needs nothing beside it: table, plots, spectrograms, sounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ...models.manifest import Manifest
from ..suite.figures import Figure, shown
from ..suite.table import wanted
from ..terminal import size
from .compare import Compared, Pair
from .pictures import DEPTH, heat, levels, sound
from .style import STYLE
from .svg import ERROR_AXIS, SIZE_AXIS, Bar, Point, bar_plot, scatter
from .table import COLUMNS, TITLES, cells

if TYPE_CHECKING:
    from ...quant.report import MatrixError

LEAST_ERROR = 1e-8
"""Where smaller errors, and none at all, are drawn on the logarithmic axis."""
OUTSIDE = "outside the layers"
TOP_HZ = 8000
"""Highest frequency of a spectrogram: what a voice has."""
HOW = (
    ("Encoders", "cosine between each row of the bundle and the same row in full precision; 1 is no loss."),
    (
        "Thinker and talker",
        "Kullback-Leibler divergence from the full precision's next-token distribution to the bundle's, and how often "
        "both find the same token likeliest. Both read the same rows: those of the reply that the bundle gave.",
    ),
    (
        "Flow",
        "mean absolute difference of the log-mels made from the same codes, voice, noise and solver; beside it, as a "
        "share of their standard deviation.",
    ),
    (
        "Vocoder",
        "multi-resolution STFT distance on the same mels (Yamamoto et al., Parallel WaveGAN, 2020, section 2.2): "
        "spectral convergence and log magnitude over FFTs of 512, 1024 and 2048; and the waveform's signal-to-noise "
        "ratio, which counts phase as well.",
    ),
)


def page(manifest: Manifest, compared: Sequence[Compared], scores: Mapping[str, Figure], conversations: int) -> str:
    """The whole file.

    Args:
        manifest: of the bundle.
        compared: all graphs.
        scores: of the suite; empty leaves that part out.
        conversations: on how many the comparison was made.
    """
    name = escape(manifest.name)
    total = size(sum(each.report.bytes for each in compared))
    parts = [
        f"<h1>{name}: what quantising cost</h1>",
        f"<p>The bundle's {len(compared)} graphs, {total} in all, beside the checkpoint "
        f"<b>{escape(manifest.source.checkpoint)}</b> in full precision, on {conversations} conversations. Each graph "
        "and its full-precision network were given the same inputs, so every error is the subnetwork's own.</p>",
        _table(COLUMNS, [cells(each) for each in compared]),
        "<details><summary>How to read this</summary><dl>",
        *(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in HOW),
        "</dl></details>",
        *_section("Size against error", _scatter(compared)),
        *_section("Matrix by matrix", *_matrices(compared)),
        *_section("Speech", *_speech(manifest, compared)),
        *_section("End to end", *_suite(scores)),
    ]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: what quantising cost</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, *parts: str) -> list[str]:
    """Nothing without content."""
    content = [part for part in parts if part]
    return [f"<h2>{title}</h2>", *content] if content else []


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    lines = [
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    ]
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _scatter(compared: Sequence[Compared]) -> str:
    several = len(compared) > len({each.subnetwork for each in compared})
    points = []
    for each in compared:
        report = each.report
        if report.error is not None:
            title, _, precision, amount, bits, what = cells(each)
            label = f"{title} ({report.engine})" if several else title
            hover = f"{label}, {precision}: {amount}, {bits} bits a weight; {what}"
            points.append(Point(report.bytes, max(report.error.size, LEAST_ERROR), label, hover))
    if not points:
        return ""
    alt = "Size of each graph against its error: " + "; ".join(
        f"{point.label} {size(int(point.x))}, {point.y:.2g}" for point in points
    )
    plot = scatter(points, SIZE_AXIS, ERROR_AXIS, alt)
    return (
        f"<figure>{plot}<figcaption>Lower is better. The errors are of different kinds: 1 − cosine of the encoders, "
        "KL divergence in nats of the decoders, relative mel distance of the flow, spectral convergence of the "
        f"vocoder. Errors below {LEAST_ERROR:g} are drawn there.</figcaption></figure>"
    )


def _matrices(compared: Sequence[Compared]) -> Iterator[str]:
    from ...quant.report import DecoderError

    for each in compared:
        error = each.report.error
        if isinstance(error, DecoderError):
            name = f"{TITLES[each.subnetwork]}, {each.report.engine} {each.report.precision}"
            if not error.matrices:
                yield f"<p>{escape(name)}: matrices of this kind cannot be read back.</p>"
                continue
            worst = max(error.matrices, key=lambda matrix: matrix.error)
            alt = (
                f"Relative error of {len(error.matrices)} matrices of the {name}, at most {100 * worst.error:.2g} % "
                f"({worst.name})"
            )
            kinds = [*dict.fromkeys(matrix.part for matrix in error.matrices if matrix.layer is not None), OUTSIDE]
            plot = bar_plot([_bar(matrix) for matrix in error.matrices], kinds, "layer", "relative rms error", alt)
            yield (
                f"<figure>{plot}<figcaption>{escape(name)}, by layer: root mean square of what rounding changed, over "
                f"that of the matrix. Largest: {escape(worst.name)}.</figcaption></figure>"
            )


def _bar(matrix: MatrixError) -> Bar:
    title = f"{matrix.name}: {100 * matrix.error:.3g} %"
    if matrix.layer is None:
        return Bar(matrix.part.replace("_", " "), OUTSIDE, matrix.error, title)
    return Bar(str(matrix.layer), matrix.part, matrix.error, title)


def _speech(manifest: Manifest, compared: Sequence[Compared]) -> Iterator[str]:
    for each in compared:
        if each.pair is not None:
            yield _mels(each.pair) if each.subnetwork == "flow" else _sounds(each.pair, manifest.vocoder.rate)


def _mels(pair: Pair) -> str:
    title = f"Mel of the flow, {pair.full.shape[1]} bins of log amplitude"
    return _trio(title, pair, float(pair.full.min()), float(pair.full.max()), "")


def _sounds(pair: Pair, rate: int) -> str:
    full, bundle = levels(pair.full, rate, TOP_HZ), levels(pair.bundle, rate, TOP_HZ)
    top = float(full.max())
    # What is not shown is not compared either: the level of silence is rounding.
    clipped = Pair(np.maximum(full, top - DEPTH), np.maximum(bundle, top - DEPTH))
    title = f"Sound of the vocoder, {len(pair.full) / rate:.1f} s, up to {min(TOP_HZ, rate // 2) / 1000:g} kHz"
    players = (
        f'<label>{name}<audio controls src="{sound(samples, rate)}"></audio></label>'
        for name, samples in (("full precision", pair.full), ("bundle", pair.bundle))
    )
    return f'{_trio(title, clipped, top - DEPTH, top, " dB")}<p class="players">{"".join(players)}</p>'


def _trio(title: str, pair: Pair, low: float, high: float, unit: str) -> str:
    """Both sides and what differs, each with its own range."""
    difference = np.abs(pair.full - pair.bundle)
    # A few single bins lie so far apart that nothing else would show beside them.
    most = float(np.percentile(difference, 99.5))
    panels = (
        ("full precision", heat(pair.full, low, high)),
        ("bundle", heat(pair.bundle, low, high)),
        (f"difference, lightest at {most:.2g}{unit} and more", heat(difference, 0, most)),
    )
    figures = "".join(
        f'<figure><img src="{data}" alt="{escape(title)}: {name}"><figcaption>{name}</figcaption></figure>'
        for name, data in panels
    )
    return f'<h3>{escape(title)}</h3><div class="trio">{figures}</div>'


def _suite(scores: Mapping[str, Figure]) -> Iterator[str]:
    if scores:
        rows = [
            (name, shown(figure.metric, figure.value), wanted(name, figure), str(figure.items))
            for name, figure in scores.items()
        ]
        yield _table(("line of the suite", "bundle", "wanted", "items"), rows)
