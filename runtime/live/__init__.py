"""A conversation as it happens: microphone, camera and loudspeaker on one clock.

`Conversation` is the object that a program drives; its docstring has an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import names_of

if TYPE_CHECKING:
    from .conversation import Conversation
    from .driving import Driver
    from .events import LiveEvent, ReplyStarted, Totals, TurnDone, UserEnded, UserStarted
    from .settings import Settings
    from .sources import Heard, Played, Seen, Speaker, Trouble
    from .turns import Cough, TurnSettings

__all__ = [
    "Conversation",
    "Cough",
    "Driver",
    "Heard",
    "LiveEvent",
    "Played",
    "ReplyStarted",
    "Seen",
    "Settings",
    "Speaker",
    "Totals",
    "Trouble",
    "TurnDone",
    "TurnSettings",
    "UserEnded",
    "UserStarted",
]

__getattr__ = names_of(
    __name__,
    {
        ".conversation": ("Conversation",),
        ".driving": ("Driver",),
        ".events": ("LiveEvent", "ReplyStarted", "Totals", "TurnDone", "UserEnded", "UserStarted"),
        ".settings": ("Settings",),
        ".sources": ("Heard", "Played", "Seen", "Speaker", "Trouble"),
        ".turns": ("Cough", "TurnSettings"),
    },
)
