"""The engine option of commands that run a model."""

from __future__ import annotations

from enum import Enum


class EngineOption(str, Enum):
    """Engines of thinker and talker."""

    AUTO = "auto"
    ONNX = "onnx"
    LLAMA = "llama"


ENGINE_HELP = "Of thinker and talker; auto: what the bundle lists first."
