"""What the checkpoint's small files say about inputs: preprocessor, tokenizer, chat template, generation values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..models.errors import BundleError
from ..models.manifest import AudioFrontEnd, VisionFrontEnd
from .config import OmniConfig
from .own_values import Video

_RELOAD = "download the checkpoint again"


def audio_front_end(folder: Path, config: OmniConfig) -> AudioFrontEnd:
    """Log-mel settings from preprocessor_config.json (FACTS §4.1)."""
    values = _preprocessor(folder)
    return AudioFrontEnd(
        rate=_need(values, "sampling_rate", folder),
        n_fft=_need(values, "n_fft", folder),
        hop=_need(values, "hop_length", folder),
        mels=_need(values, "feature_size", folder),
        max_seconds=_need(values, "chunk_length", folder),
        chunk_frames=2 * config.audio.window,
    )


def vision_front_end(folder: Path, config: OmniConfig, video: Video | None = None) -> VisionFrontEnd:
    """Picture settings from preprocessor_config.json; clip settings of the reference loader (FACTS §4.3).

    The loader's pixel limits are multiples of one merged patch: 128 to 768 of them a frame, 0.9·128000 a clip. A
    checkpoint with clip settings of its own gives them as `video`.
    """
    values = _preprocessor(folder)
    size = values.get("size") or {}
    vision = config.vision
    unit = (vision.patch * vision.merge) ** 2
    clips = video or Video(
        fps=2.0,
        min_frames=4,
        max_frames=768,
        min_pixels=128 * unit,
        max_pixels=768 * unit,
        total_pixels=int(0.9 * 128000) * unit,
    )
    return VisionFrontEnd(
        patch=vision.patch,
        temporal_patch=vision.temporal_patch,
        merge=vision.merge,
        window=vision.window,
        min_pixels=values.get("min_pixels") or _need(size, "shortest_edge", folder),
        max_pixels=values.get("max_pixels") or _need(size, "longest_edge", folder),
        mean=tuple(_need(values, "image_mean", folder)),
        std=tuple(_need(values, "image_std", folder)),
        video_fps=clips.fps,
        video_min_frames=clips.min_frames,
        video_max_frames=clips.max_frames,
        video_min_pixels=clips.min_pixels,
        video_max_pixels=clips.max_pixels,
        video_total_pixels=clips.total_pixels,
    )


def tokenizer_json(folder: Path) -> bytes:
    """tokenizer.json as it is.

    Raises:
        BundleError: the checkpoint has none.
    """
    path = folder / "tokenizer.json"
    if not path.exists():
        raise BundleError(f"{folder} lacks tokenizer.json; {_RELOAD}")
    return path.read_bytes()


def chat_template(folder: Path) -> str:
    """The Jinja template, from whichever of its three places the checkpoint uses.

    Raises:
        BundleError: it is in none of them.
    """
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        return jinja.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        path = folder / name
        if path.exists():
            template = _read(path).get("chat_template")
            if isinstance(template, str):
                return template
    raise BundleError(f"{folder} has no chat template (chat_template.json); {_RELOAD}")


def _preprocessor(folder: Path) -> dict[str, Any]:
    path = folder / "preprocessor_config.json"
    if not path.exists():
        raise BundleError(f"{folder} lacks preprocessor_config.json; {_RELOAD}")
    return _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BundleError(f"{path} cannot be read as JSON ({error}); {_RELOAD}") from error
    if not isinstance(values, dict):
        raise BundleError(f"{path} is not a JSON object; {_RELOAD}")
    return values


def _need(values: dict[str, Any], name: str, folder: Path) -> Any:
    if values.get(name) is None:
        raise BundleError(f"preprocessor_config.json in {folder} has no {name}; {_RELOAD}")
    return values[name]
