"""Writes tmrope.json: TMRoPE positions as transformers computes them, for any port to test itself against.

    python tests/data/make_tmrope.py

Needs transformers (the export extra) and nothing of omni-edge. The order of a clip's placeholders comes from
the reference's processor, the positions from its model; both run without weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import (
    Qwen2_5OmniPreTrainedModelForConditionalGeneration as Model,
)
from transformers.models.qwen2_5_omni.processing_qwen2_5_omni import (
    Qwen2_5OmniProcessor,
    _get_feat_extract_output_lengths,
)

PATH = Path(__file__).with_name("tmrope.json")
IDS_PER_SECOND, SECONDS_PER_CHUNK, MERGE = 25, 2.0, 2
IDS = {
    "text": 1,
    "audio": 2,
    "audio_start": 3,
    "audio_end": 4,
    "vision_start": 5,
    "vision_end": 6,
    "image": 7,
    "video": 8,
}
FORMAT = [
    "One unpadded sequence a case, with its media in order of appearance.",
    "ids: runs [symbol, count]; `tokens` gives the number that stood for each symbol (any distinct ones do).",
    "image_grids, video_grids: patches [time, height, width] before merging squares of `merge`.",
    "seconds_per_grid: of each video, a float64 (the model casts it to float32).",
    "audio_frames: mel frames of each sound, those of clips included; tokens = ((F-1)//2+1-2)//2+1.",
    "use_audio_in_video: each video holds the next sound, interleaved.",
    "positions: for time, height and width, runs [first, step, count] of an arithmetic progression.",
    "delta: the first generated token stands at (number of ids) + delta on all axes, the next one higher by 1.",
]
Grid = tuple[int, int, int]
Part = tuple[Any, ...]
"""("text", tokens), ("audio", frames), ("image", grid), ("video", grid, seconds) or
("clip", grid, seconds, frames): a video with its sound."""


def text(tokens: int) -> Part:
    return ("text", tokens)


def audio(tokens: int) -> Part:
    return ("audio", 4 * tokens)


def image(*grid: int) -> Part:
    return ("image", (1, *grid))


def video(seconds: float, *grid: int) -> Part:
    return ("video", grid, seconds)


def clip(seconds: float, tokens: int, *grid: int) -> Part:
    return ("clip", grid, seconds, 4 * tokens)


CASES: dict[str, list[Part]] = {
    "FACTS 3.4 example 1: audio": [text(2), audio(5), text(1)],
    "FACTS 3.4 example 2: image": [text(2), image(4, 6), text(2)],
    "FACTS 3.4 example 3: video": [text(2), video(1.0, 3, 4, 4), text(2)],
    "FACTS 3.4 example 4: video with longer audio": [text(5), clip(1.0, 65, 3, 4, 4), text(2)],
    "FACTS 3.4 example 4, variant: audio ends first": [text(1), clip(1.0, 10, 2, 4, 4), text(2)],
    "text": [text(7)],
    "one token": [text(1)],
    "audio first, nothing after": [audio(25)],
    "audio of one token": [text(3), ("audio", 3), text(3)],
    "audio of 321 samples": [text(3), ("audio", 5), text(3)],
    "audio of 100 frames": [text(3), ("audio", 100), text(3)],
    "audio of 101 frames": [text(3), ("audio", 101), text(3)],
    "audio of 36 s": [text(9), audio(900), text(4)],
    "two sounds": [text(4), audio(30), text(6), audio(7), text(5)],
    "two sounds side by side": [text(1), audio(12), audio(13), text(2)],
    "image first, nothing after": [image(2, 2)],
    "wide image": [text(2), image(2, 46), text(3)],
    "tall image": [text(2), image(38, 4), text(3)],
    "image of 480 x 640": [text(14), image(34, 46), text(8)],
    "two images, text between": [text(6), image(10, 6), text(4), image(4, 18), text(5)],
    "two images side by side": [text(1), image(6, 6), image(6, 10), text(1)],
    "image and audio": [text(3), image(6, 14), text(1), audio(40), text(4)],
    "audio and image": [text(3), audio(40), text(1), image(6, 14), text(4)],
    "video, 0.25 s a grid": [text(3), video(0.25, 9, 6, 10), text(3)],
    "video, 0.4 s a grid": [text(3), video(0.4, 7, 6, 6), text(3)],
    "video, 0.5 s a grid": [text(3), video(0.5, 5, 10, 2), text(3)],
    "video, 1/1.5 s a grid": [text(3), video(1 / 1.5, 8, 4, 6), text(3)],
    "video, 2 s a grid": [text(3), video(2.0, 4, 6, 6), text(3)],
    "video, 2/30 s a grid": [text(3), video(2 / 30, 31, 2, 4), text(3)],
    "video, 2/24 s a grid": [text(3), video(2 / 24, 25, 4, 2), text(3)],
    "video, 2/29.97 s a grid": [text(3), video(2 / 29.97, 16, 4, 4), text(3)],
    "video, 2/1.7 s a grid": [text(3), video(2 / 1.7, 12, 2, 6), text(3)],
    "one large frame: rows outrun time": [text(3), video(0.04, 2, 30, 26), text(3)],
    "two videos": [text(3), video(1.0, 2, 4, 4), text(5), video(0.5, 3, 6, 4), text(3)],
    "video, audio and image": [text(3), video(1.0, 3, 4, 6), text(2), audio(33), image(8, 4), text(3)],
    "image, audio, video, audio": [image(4, 4), audio(9), text(2), video(0.4, 4, 2, 8), text(1), audio(70)],
    "clip of just 2 s": [text(4), clip(1.0, 50, 2, 4, 4), text(3)],
    "clip of 2 s and one token": [text(4), clip(1.0, 51, 2, 4, 4), text(3)],
    "clip, 0.25 s a grid, audio longer": [text(4), clip(0.25, 130, 9, 4, 6), text(3)],
    "clip, 0.4 s a grid, audio shorter": [text(4), clip(0.4, 60, 13, 4, 4), text(3)],
    "clip, 0.5 s a grid, equal": [text(4), clip(0.5, 100, 8, 6, 6), text(3)],
    "clip, 1/1.5 s a grid": [text(4), clip(1 / 1.5, 190, 12, 4, 6), text(3)],
    "clip, 2 s a grid": [text(4), clip(2.0, 240, 5, 4, 6), text(3)],
    "clip, 2/30 s a grid": [text(4), clip(2 / 30, 101, 61, 2, 2), text(3)],
    "clip, 2/23.976 s a grid": [text(4), clip(2 / 23.976, 99, 50, 2, 4), text(3)],
    "clip, 5 s a grid: several cuts at once": [text(4), clip(5.0, 260, 3, 4, 4), text(3)],
    "clip, 5 s a grid, one token a frame": [text(4), clip(5.0, 260, 4, 2, 2), text(3)],
    "clip, audio of one token": [text(4), clip(1.0, 1, 6, 4, 4), text(3)],
    "clip, one large frame": [text(4), clip(1.0, 12, 1, 30, 26), text(3)],
    "clip first, nothing after": [clip(1.0, 70, 4, 4, 4)],
    "clip, 2/10.25 s a grid: model and processor cut apart": [text(4), clip(2 / 10.25, 230, 44, 2, 2), text(3)],
    "clip, 2/7.4 s a grid: model and processor cut apart": [text(4), clip(2 / 7.4, 270, 40, 2, 2), text(3)],
    "clip of 40 s": [text(4), clip(1.0, 1000, 40, 2, 4), text(3)],
    "clip, then image": [text(4), clip(1.0, 110, 4, 4, 6), text(3), image(6, 8), text(2)],
    "image, then clip": [text(4), image(6, 8), text(3), clip(1.0, 110, 4, 4, 6), text(2)],
    "clip, audio ends first, then image": [text(2), clip(1.0, 10, 2, 4, 4), text(3), image(6, 8), text(2)],
    "clip, then audio": [text(4), clip(1.0, 60, 2, 4, 4), text(3), audio(31), text(2)],
    "audio, then clip": [text(4), audio(31), text(3), clip(1.0, 60, 2, 4, 4), text(2)],
    "two clips": [text(4), clip(1.0, 60, 3, 4, 4), text(6), clip(0.5, 44, 5, 6, 4), text(2)],
    "three clips side by side": [
        text(1),
        *(clip(seconds, 70, 4, 2, 4) for seconds in (1.0, 0.4, 2 / 3)),
        text(1),
    ],
    "clip, image, audio, clip": [
        text(2),
        clip(1.0, 80, 3, 4, 6),
        text(1),
        image(4, 10),
        audio(8),
        clip(0.5, 26, 4, 6, 2),
        text(2),
    ],
}


def symbols(part: Part) -> list[str]:
    """A part as the processor writes it, by symbol."""
    kind, size, *rest = part
    if kind == "text":
        return ["text"] * size
    if kind == "audio":
        tokens = _get_feat_extract_output_lengths(size)
        return ["audio_start", *["audio"] * tokens, "audio_end"]
    tokens = int(np.prod(size)) // MERGE**2
    inner = clip_symbols(size, *rest) if kind == "clip" else [kind] * tokens
    return ["vision_start", *inner, "vision_end"]


def clip_symbols(grid: Grid, seconds: float, frames: int) -> list[str]:
    """What the reference's processor makes of one <|VIDEO|> with sound."""
    processor = object.__new__(Qwen2_5OmniProcessor)
    letters = {"audio_start": "(", "audio_end": ")", "audio": "a", "video": "v"}
    processor.audio_bos_token, processor.audio_eos_token = letters["audio_start"], letters["audio_end"]
    processor.audio_token, processor.video_token = letters["audio"], letters["video"]
    processor.video_processor = SimpleNamespace(merge_size=MERGE)
    written = processor.replace_video_with_audio_token(
        {"video_grid_thw": np.array([grid]), "video_second_per_grid": [seconds]},
        0,
        {"num_audio_tokens": [_get_feat_extract_output_lengths(frames)]},
        0,
        position_id_per_seconds=IDS_PER_SECOND,
        seconds_per_chunk=SECONDS_PER_CHUNK,
    )
    names = {letter: name for name, letter in letters.items()}
    return [names[letter] for letter in written]


def model() -> Model:
    """The reference's model, as far as get_rope_index looks at it."""
    bare = object.__new__(Model)
    bare.spatial_merge_size = MERGE
    bare.config = SimpleNamespace(
        image_token_id=IDS["image"],
        video_token_id=IDS["video"],
        audio_token_id=IDS["audio"],
        vision_start_token_id=IDS["vision_start"],
        audio_start_token_id=IDS["audio_start"],
        position_id_per_seconds=IDS_PER_SECOND,
        seconds_per_chunk=SECONDS_PER_CHUNK,
    )
    return bare


def reference(
    ids: np.ndarray,
    image_grids: list[Grid],
    video_grids: list[Grid],
    seconds: list[float],
    frames: list[int],
    use_audio: bool,
) -> tuple[np.ndarray, int]:
    """positions int64 [3, n] and delta of one sequence of `IDS`, by transformers."""
    rows, delta = model().get_rope_index(
        torch.from_numpy(ids)[None],
        torch.tensor(image_grids) if image_grids else None,
        torch.tensor(video_grids) if video_grids else None,
        torch.ones(1, len(ids), dtype=torch.long),
        use_audio,
        torch.tensor(frames) if frames else None,
        torch.tensor(seconds) if seconds else None,
    )
    return rows[:, 0].numpy(), int(delta.item())


def arithmetic_runs(values: Iterable[int]) -> list[list[int]]:
    """Greedy runs [first, step, count]; a single value has step 0."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][2] == 1:
            runs[-1][1:] = [value - runs[-1][0], 2]
        elif runs and value == runs[-1][0] + runs[-1][1] * runs[-1][2]:
            runs[-1][2] += 1
        else:
            runs.append([value, 0, 1])
    return runs


def case(name: str, parts: list[Part]) -> dict[str, Any]:
    names = [symbol for part in parts for symbol in symbols(part)]
    described: dict[str, Any] = {
        "image_grids": [part[1] for part in parts if part[0] == "image"],
        "video_grids": [part[1] for part in parts if part[0] in ("video", "clip")],
        "seconds_per_grid": [part[2] for part in parts if part[0] in ("video", "clip")],
        "audio_frames": [part[-1] for part in parts if part[0] in ("audio", "clip")],
        "use_audio_in_video": any(part[0] == "clip" for part in parts),
    }
    ids = np.array([IDS[symbol] for symbol in names], dtype=np.int64)
    rows, delta = reference(ids, *described.values())
    return {
        "name": name,
        "ids": [[symbol, len(list(run))] for symbol, run in groupby(names)],
        **described,
        "positions": [arithmetic_runs(row.tolist()) for row in rows],
        "delta": delta,
    }


def build() -> dict[str, Any]:
    return {
        "format": FORMAT,
        "source": f"transformers {transformers.__version__}, qwen2_5_omni, by tests/data/make_tmrope.py",
        "tokens": IDS,
        "merge": MERGE,
        "ids_per_second": IDS_PER_SECOND,
        "seconds_per_chunk": SECONDS_PER_CHUNK,
        "cases": [case(name, parts) for name, parts in CASES.items()],
    }


def encode(golden: dict[str, Any]) -> str:
    """JSON with one line a field of the header and one a case."""
    lines = [json.dumps(one, separators=(",", ":")) for one in golden["cases"]]
    header = json.dumps({**golden, "cases": []}, indent=1)
    return header.removesuffix("[]\n}") + "[\n" + ",\n".join(lines) + "\n]}\n"


if __name__ == "__main__":
    PATH.write_text(encode(build()), encoding="utf-8")
    print(f"{PATH}: {PATH.stat().st_size} bytes, {len(CASES)} cases")
