"""How a conversation is led."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ..options import Options
from .turns import TurnSettings

EchoMode = Literal["auto", "on", "off", "half-duplex"]


@dataclass(frozen=True)
class Settings:
    """Of one conversation."""

    turns: TurnSettings = field(default_factory=TurnSettings)
    interrupt: bool = True
    """Whether speech stops a reply. Without, nothing is heard from the end of a turn to the end of its answer."""
    echo: EchoMode = "auto"
    """What keeps the conversation from hearing itself: "on", the canceller; "half-duplex", hearing nothing while a
    reply sounds; "off", nothing (headphones, or a device that does it itself); "auto", the canceller if it is
    installed, else half-duplex."""
    options: Options = field(default_factory=Options)
    """Of the replies."""
    video: bool = False
    """Whether a camera may come in."""
    budget: float | None = None
    """Most tokens that pictures may take a second; see `Session.listen`."""
