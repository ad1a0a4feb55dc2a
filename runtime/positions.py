"""TMRoPE: which time, row and column each token of a sequence stands at (FACTS §3.4), numpy only.

Thinker and talker count by the same rules. A sequence is text with media blocks in it, so it is described
by its length and by where the media are; the ids themselves say nothing that this does not. A sequence of
text and audio only comes out as 0, 1, 2, … on all three axes, which is the reference's separate first case.

Written for one unpadded sequence. Wider than the reference in two places where that one fails: a silent
clip may stand beside a clip with audio, and a medium may have no audio tokens at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..models.manifest import Clock

Grid: TypeAlias = tuple[int, int, int]
"""Patches in time, height and width, before merging; height and width are multiples of `merge`."""


@dataclass(frozen=True)
class AudioSize:
    """A sound of `tokens` encoder rows (FACTS §3.3: 25 a second)."""

    tokens: int


@dataclass(frozen=True)
class ImageSize:
    """A picture."""

    grid: Grid


@dataclass(frozen=True)
class VideoSize:
    """A silent clip; its temporal patches are `seconds_per_grid` apart."""

    grid: Grid
    seconds_per_grid: float


@dataclass(frozen=True)
class VideoWithAudioSize:
    """A clip whose own sound is interleaved with its pictures."""

    grid: Grid
    seconds_per_grid: float
    audio_tokens: int


MediaSize: TypeAlias = AudioSize | ImageSize | VideoSize | VideoWithAudioSize


@dataclass(frozen=True)
class Span:
    """The tokens that the template's one placeholder became, from index `start` on.

    The placeholder stands between a bos and an eos token, which are not part of the span. A clip with audio
    brings a second pair, the audio's bos and eos, and these two are part of it.
    """

    start: int
    size: MediaSize


@dataclass(frozen=True, eq=False)
class Positions:
    """Where the tokens are, and where generation goes on.

    Args:
        rows: int64 [3, n]: time, height, width.
        next_position: position, on all axes, of the first generated token; the k-th after it is at +k. This
            is n plus the reference's delta.
    """

    rows: NDArray[np.int64]
    next_position: int


def mrope(length: int, spans: Sequence[Span], clock: Clock, merge: int) -> Positions:
    """Positions of a sequence (FACTS §3.4, case B; equal to case A where nothing is seen).

    Text counts up by one on all axes. A medium starts at the value that text would have had, and text goes on
    one above the highest value of what was appended last: of the whole medium, but for a clip with audio of
    its last chunk only. So when the sound ends well before the pictures, what follows stands at lower times
    than the last frames, while generation starts above everything.

    Args:
        length: tokens in the sequence, n.
        spans: its media, in order; each has at least its bos token before it.
        clock: the manifest's time base.
        merge: side, in patches, of the square that becomes one token.

    Raises:
        ValueError: spans overlap, touch, run past the end, or have a grid that cannot be merged.
    """
    rows = np.empty((3, length), dtype=np.int64)
    done = following = 0
    for span in spans:
        block, advance = _block(span.size, clock, merge)
        stop = span.start + block.shape[1]
        if span.start <= done or stop > length:
            raise ValueError(f"{span} does not fit between token {done} and the end at {length}")
        rows[:, done : span.start] = following + np.arange(span.start - done)
        following += span.start - done
        rows[:, span.start : stop] = following + block
        following += advance
        done = stop
    rows[:, done:] = following + np.arange(length - done)
    return Positions(rows, int(rows.max(initial=-1)) + 1)


def span_length(size: MediaSize, merge: int) -> int:
    """Tokens of a span, the inner bos and eos of a clip with audio included (FACTS §3.3)."""
    if isinstance(size, AudioSize):
        return size.tokens
    tokens = int(np.prod(_merged(size.grid, merge)))
    return tokens + size.audio_tokens + 2 if isinstance(size, VideoWithAudioSize) else tokens


def interleaving(size: VideoWithAudioSize, clock: Clock, merge: int) -> NDArray[np.bool_]:
    """Order of a clip's picture and sound tokens: bool [video tokens + audio tokens], True for a picture.

    This is the order in which the reference's *processor* writes the placeholders (FACTS §3.3). It cuts on
    real-valued times in float64, whereas the *model*, and so `mrope`, cuts on times truncated after float32
    arithmetic. A cut lies on a whole number, so truncating alone changes nothing, but where τ · seconds ·
    ids per second falls on a cut the two roundings can disagree (41 · 2/10.25 · 25 is 200.0 or 199.99998),
    and then a few sound tokens get the positions of pictures and the other way round. The reference runs
    so; both roundings are kept.
    """
    time, height, width = _merged(size.grid, merge)
    frames = np.repeat(np.arange(time), height * width)
    times = frames * size.seconds_per_grid * clock.ids_per_second
    order = [
        np.full(tokens.stop - tokens.start, seen)
        for chunk in _chunk_pairs(times, np.arange(size.audio_tokens), clock)
        for tokens, seen in zip(chunk, (True, False), strict=True)
    ]
    return np.concatenate(order)


def _block(size: MediaSize, clock: Clock, merge: int) -> tuple[NDArray[np.int64], int]:
    """A span's positions [3, tokens] and those of what follows, both relative to the first free position."""
    if isinstance(size, AudioSize):
        return _line(0, size.tokens), size.tokens
    if isinstance(size, ImageSize):
        # A picture ticks once a second in the reference too; it has one tick.
        pictures = _pictures(size.grid, 1.0, clock, merge)
    else:
        pictures = _pictures(size.grid, size.seconds_per_grid, clock, merge)
    if not isinstance(size, VideoWithAudioSize):
        return pictures, int(pictures.max()) + 1
    sounds = _line(0, size.audio_tokens)
    chunks = [
        block
        for picture, sound in _chunk_pairs(pictures[0], sounds[0], clock)
        for block in (pictures[:, picture], sounds[:, sound])
        if block.size
    ]
    end = int(chunks[-1].max()) + 1
    # Both bos tokens share the position before the block, and both eos tokens the one after it.
    return np.concatenate([_line(-1, 1), *chunks, _line(end, 1)], axis=1), end


def _pictures(grid: Grid, seconds: float, clock: Clock, merge: int) -> NDArray[np.int64]:
    """Frame-major raster [3, tokens]: trunc(τ · seconds · ids per second), row, column."""
    block = np.indices(_merged(grid, merge)).reshape(3, -1).astype(np.int64)
    # float32, product by product: the reference multiplies tensors of that type, and truncation shows it.
    times = block[0].astype(np.float32) * np.float32(seconds) * np.float32(clock.ids_per_second)
    block[0] = times.astype(np.int64)
    return block


def _line(start: int, count: int) -> NDArray[np.int64]:
    return np.broadcast_to(np.arange(start, start + count, dtype=np.int64), (3, count))


def _chunk_pairs(
    pictures: NDArray[np.integer] | NDArray[np.floating], sounds: NDArray[np.int64], clock: Clock
) -> list[tuple[slice, slice]]:
    """Chunk j of both, for rising times; the one with fewer chunks ends in empty slices."""
    step = int(clock.ids_per_second * clock.seconds_per_chunk)
    nothing = slice(0, 0)
    return list(zip_longest(_chunks(pictures, step), _chunks(sounds, step), fillvalue=nothing))


def _chunks(times: NDArray[np.integer] | NDArray[np.floating], step: int) -> list[slice]:
    """Cut at the first token at or past each multiple of `step` (FACTS §3.3).

    At most one cut a token: over a gap of several multiples the next tokens each become a chunk of one.
    """
    cuts = [0]
    while (cut := max(int(np.searchsorted(times, len(cuts) * step)), cuts[-1] + 1)) < len(times):
        cuts.append(cut)
    return [slice(start, stop) for start, stop in zip(cuts, [*cuts[1:], len(times)], strict=True)]


def _merged(grid: Grid, merge: int) -> Grid:
    time, height, width = grid
    if height % merge or width % merge:
        raise ValueError(f"grid {grid} cannot be merged in squares of {merge}")
    return time, height // merge, width // merge
