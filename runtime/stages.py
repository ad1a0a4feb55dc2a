"""Everything that a session joins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..models.bundle import Bundle
from .perception import Perception
from .prompt import PromptBuilder
from .speech import Speech
from .thinker import Thinker
from .tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Stages:
    """Everything a session joins; `load` makes it from a bundle."""

    bundle: Bundle
    tokenizer: Tokenizer
    prompts: PromptBuilder
    perception: Perception
    thinker: Thinker
    speech: Speech
    notes: tuple[str, ...] = ()
    """What the user should know of how the bundle was loaded."""
    on_onnx: Callable[[], Stages] | None = None
    """Loads the same with thinker and talker on ONNX Runtime, for what llama.cpp cannot read; None if there is none."""
