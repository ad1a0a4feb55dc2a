"""TMRoPE against vectors made by transformers (data/tmrope.json), against a slow restatement of the rules,
and, where transformers is installed, against transformers itself."""

from __future__ import annotations

import importlib.util
import json
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_edge.models.manifest import Clock
from omni_edge.runtime.positions import (
    AudioSize,
    ImageSize,
    MediaSize,
    Span,
    VideoSize,
    VideoWithAudioSize,
    interleaving,
    mrope,
    span_length,
)

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "tmrope.json").read_text(encoding="utf-8"))
CLOCK = Clock(ids_per_second=GOLDEN["ids_per_second"], seconds_per_chunk=GOLDEN["seconds_per_chunk"])
MERGE = GOLDEN["merge"]


def symbols(case: dict[str, Any]) -> list[str]:
    return [symbol for symbol, count in case["ids"] for _ in range(count)]


def spans(case: dict[str, Any]) -> list[Span]:
    """Media of a golden case, found by what follows each bos token."""
    names = symbols(case)
    images = iter(case["image_grids"])
    videos = iter(zip(case["video_grids"], case["seconds_per_grid"], strict=True))
    sounds = iter(((frames - 1) // 2 + 1 - 2) // 2 + 1 for frames in case["audio_frames"])
    found: list[Span] = []
    for at, (name, following) in enumerate(zip(names, [*names[1:], ""], strict=True)):
        if name == "audio_start" and names[at - 1] != "vision_start":
            found.append(Span(at + 1, AudioSize(next(sounds))))
        elif name == "vision_start" and following == "image":
            found.append(Span(at + 1, ImageSize(tuple(next(images)))))
        elif name == "vision_start":
            grid, seconds = next(videos)
            clip = following == "audio_start"
            size = VideoWithAudioSize(tuple(grid), seconds, next(sounds)) if clip else VideoSize(tuple(grid), seconds)
            found.append(Span(at + 1, size))
    return found


def expand(rows: list[list[list[int]]]) -> np.ndarray:
    return np.array([[first + step * k for first, step, count in row for k in range(count)] for row in rows])


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden(case: dict[str, Any]) -> None:
    length = len(symbols(case))
    positions = mrope(length, spans(case), CLOCK, MERGE)
    assert positions.rows.dtype == np.int64
    np.testing.assert_array_equal(positions.rows, expand(case["positions"]))
    assert positions.next_position == length + case["delta"]


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["name"])
def test_golden_placeholder_order(case: dict[str, Any]) -> None:
    names = np.array(symbols(case))
    for span in spans(case):
        stop = span.start + span_length(span.size, MERGE)
        assert names[stop] in ("audio_end", "vision_end")
        if isinstance(span.size, VideoWithAudioSize):
            np.testing.assert_array_equal(
                interleaving(span.size, CLOCK, MERGE), names[span.start + 1 : stop - 1] == "video"
            )


def test_golden_cases_where_model_and_processor_cut_apart() -> None:
    """Such a case must have sound tokens at the pictures' rows, or it tests nothing."""
    for case in GOLDEN["cases"]:
        if "cut apart" in case["name"]:
            heard = np.array(symbols(case)) == "audio"
            time, height, _ = expand(case["positions"])
            assert (time[heard] != height[heard]).any()


# The rules of FACTS §3.4, read aloud: lists and loops, no array arithmetic.


def slow_cut(times: list[float]) -> list[list[int]]:
    """Token numbers, chunk by chunk."""
    chunks: list[list[int]] = [[]]
    for token, time in enumerate(times):
        if time >= 50 * len(chunks):
            chunks.append([])
        chunks[-1].append(token)
    return chunks


def slow_alternate(first: list[list[int]], second: list[list[int]]) -> list[tuple[str, list[int]]]:
    pairs = zip_longest(first, second, fillvalue=[])
    return [entry for a, b in pairs for entry in (("picture", a), ("sound", b)) if entry[1]]


def slow_frames(size: ImageSize | VideoSize | VideoWithAudioSize) -> list[tuple[int, int, int]]:
    time, height, width = size.grid
    seconds = np.float32(1.0 if isinstance(size, ImageSize) else size.seconds_per_grid)
    return [
        (int(np.float32(t) * seconds * np.float32(25)), h, w)
        for t in range(time)
        for h in range(height // 2)
        for w in range(width // 2)
    ]


def slow_positions(parts: list[int | MediaSize]) -> tuple[list[tuple[int, ...]], int]:
    """Positions of text runs (int: how many) and media with one bos and eos each, and the next one."""
    rows: list[tuple[int, ...]] = []
    last: list[tuple[int, ...]] = []

    def following() -> int:
        return 1 + max((max(row) for row in last), default=-1)

    def append(block: list[tuple[int, ...]]) -> None:
        nonlocal last
        rows.extend(block)
        last = block or last

    def line(count: int, base: int) -> list[tuple[int, ...]]:
        return [(base + k,) * 3 for k in range(count)]

    for part in parts:
        if isinstance(part, int):
            append(line(part, following()))
            continue
        brackets = 2 if isinstance(part, VideoWithAudioSize) else 1
        append(line(1, following()) * brackets)
        base = following()
        if isinstance(part, AudioSize):
            append(line(part.tokens, base))
        elif isinstance(part, VideoWithAudioSize):
            pictures, sounds = slow_frames(part), line(part.audio_tokens, 0)
            cuts = slow_alternate(slow_cut([t for t, _, _ in pictures]), slow_cut([t for t, _, _ in sounds]))
            for kind, chunk in cuts:
                source = pictures if kind == "picture" else sounds
                append([tuple(base + axis for axis in source[token]) for token in chunk])
        else:
            append([tuple(base + axis for axis in row) for row in slow_frames(part)])
        append(line(1, following()) * brackets)
    return rows, 1 + max(max(row) for row in rows)


def sequence(parts: list[int | MediaSize]) -> tuple[int, list[Span]]:
    """The same parts as `mrope` takes them: length and spans."""
    at, found = 0, []
    for part in parts:
        if isinstance(part, int):
            at += part
        else:
            found.append(Span(at + 1, part))
            at += span_length(part, MERGE) + 2
    return at, found


GRIDS = st.tuples(st.integers(1, 12), st.sampled_from([2, 4, 6, 14]), st.sampled_from([2, 4, 10]))
SECONDS = st.one_of(
    st.sampled_from([0.25, 0.4, 0.5, 1 / 1.5, 1.0, 2.0, 2 / 30, 2 / 10.25, 2 / 0.52]),
    st.floats(0.04, 6.0),
)
COUNTS = st.integers(1, 180)
AUDIOS = st.builds(AudioSize, COUNTS)
IMAGES = st.builds(lambda grid: ImageSize((1, *grid[1:])), GRIDS)
VIDEOS = st.builds(VideoSize, GRIDS, SECONDS)
CLIPS = st.builds(VideoWithAudioSize, GRIDS, SECONDS, COUNTS)
TEXTS = st.integers(1, 9)
SILENT = st.lists(st.one_of(TEXTS, AUDIOS, IMAGES, VIDEOS), min_size=1, max_size=6)
SOUNDING = st.lists(st.one_of(TEXTS, AUDIOS, IMAGES, CLIPS), min_size=1, max_size=6)
MIXED = st.lists(st.one_of(TEXTS, AUDIOS, IMAGES, VIDEOS, CLIPS), min_size=1, max_size=6)


@given(MIXED)
def test_slow_restatement(parts: list[int | MediaSize]) -> None:
    length, media = sequence(parts)
    rows, following = slow_positions(parts)
    positions = mrope(length, media, CLOCK, MERGE)
    np.testing.assert_array_equal(positions.rows.T, rows)
    assert positions.next_position == following


@given(CLIPS)
def test_order_slow_restatement(clip: VideoWithAudioSize) -> None:
    time, height, width = clip.grid
    frames = [t * clip.seconds_per_grid * 25 for t in range(time) for _ in range(height * width // 4)]
    cuts = slow_alternate(slow_cut(frames), slow_cut([float(k) for k in range(clip.audio_tokens)]))
    expected = [kind == "picture" for kind, chunk in cuts for _ in chunk]
    assert interleaving(clip, CLOCK, MERGE).tolist() == expected


@given(MIXED, st.data())
def test_a_prefix_keeps_its_positions(parts: list[int | MediaSize], data: st.DataObject) -> None:
    """What a cache already holds stays right when the conversation goes on."""
    kept = data.draw(st.integers(0, len(parts)))
    length, media = sequence(parts)
    short, before = sequence(parts[:kept])
    whole = mrope(length, media, CLOCK, MERGE).rows
    np.testing.assert_array_equal(whole[:, :short], mrope(short, before, CLOCK, MERGE).rows)


@given(st.lists(st.one_of(TEXTS, AUDIOS), min_size=1, max_size=6))
def test_without_pictures_it_counts(parts: list[int | MediaSize]) -> None:
    length, media = sequence(parts)
    positions = mrope(length, media, CLOCK, MERGE)
    np.testing.assert_array_equal(positions.rows, np.broadcast_to(np.arange(length), (3, length)))
    assert positions.next_position == length


def test_wider_than_the_reference() -> None:
    """A silent clip beside a sounding one, a sound of nothing, an empty sequence."""
    assert mrope(0, [], CLOCK, MERGE).next_position == 0
    assert mrope(2, [Span(1, AudioSize(0))], CLOCK, MERGE).rows.tolist() == [[0, 1]] * 3
    mute = VideoWithAudioSize((2, 2, 2), 1.0, 0)
    assert mrope(6, [Span(1, mute)], CLOCK, MERGE).rows[0].tolist() == [0, 0, 1, 26, 27, 27]
    assert interleaving(mute, CLOCK, MERGE).tolist() == [True, True]


@pytest.mark.parametrize(
    ("length", "media"),
    [
        (9, [Span(0, AudioSize(3))]),
        (9, [Span(7, AudioSize(3))]),
        (9, [Span(1, AudioSize(3)), Span(4, AudioSize(2))]),
        (9, [Span(5, AudioSize(1)), Span(1, AudioSize(2))]),
        (9, [Span(1, ImageSize((1, 3, 2)))]),
    ],
    ids=["no bos", "past the end", "touching", "out of order", "odd grid"],
)
def test_impossible_spans(length: int, media: list[Span]) -> None:
    with pytest.raises(ValueError, match=r"fit|merged"):
        mrope(length, media, CLOCK, MERGE)


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    pytest.importorskip("transformers")
    spec = importlib.util.spec_from_file_location("make_tmrope", DATA / "make_tmrope.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.torch
def test_golden_file_is_what_transformers_gives(maker: ModuleType) -> None:
    assert json.loads(maker.encode(maker.build()))["cases"] == GOLDEN["cases"]


@pytest.mark.torch
@settings(max_examples=60, deadline=None)
@given(parts=st.one_of(SILENT, SOUNDING))
def test_transformers(maker: ModuleType, parts: list[int | MediaSize]) -> None:
    described = [described_for(part) for part in parts]
    case = maker.case("drawn", described)
    length, media = sequence(parts)
    assert spans(case) == media
    positions = mrope(length, media, CLOCK, MERGE)
    np.testing.assert_array_equal(positions.rows, expand(case["positions"]))
    assert positions.next_position == length + case["delta"]
    test_golden_placeholder_order(case)


def described_for(part: int | MediaSize) -> tuple[Any, ...]:
    """A part as make_tmrope.py describes it; four mel frames make one token."""
    if isinstance(part, int):
        return ("text", part)
    if isinstance(part, AudioSize):
        return ("audio", 4 * part.tokens)
    if isinstance(part, ImageSize):
        return ("image", part.grid)
    if isinstance(part, VideoSize):
        return ("video", part.grid, part.seconds_per_grid)
    return ("clip", part.grid, part.seconds_per_grid, 4 * part.audio_tokens)
