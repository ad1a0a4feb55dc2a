"""Bundle to conversation, without torch.

    session = load("nano")
    for event in session.respond(Audio("question.wav"), options=Options(seed=1)):
        ...

`load` gives a `Session`; `Session.respond` takes text and media and yields `TextDelta`, `AudioDelta` and `Done`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy import names_of

if TYPE_CHECKING:
    from ..models.manifest import Sampling
    from .events import AudioDelta, Done, Event, Notice, Statistics, TextDelta
    from .listening import Listening
    from .loading import load
    from .messages import Audio, Image, Message, Text, Video, assistant, system, user
    from .options import Options
    from .session import Session

__all__ = [
    "Audio",
    "AudioDelta",
    "Done",
    "Event",
    "Image",
    "Listening",
    "Message",
    "Notice",
    "Options",
    "Sampling",
    "Session",
    "Statistics",
    "Text",
    "TextDelta",
    "Video",
    "assistant",
    "load",
    "system",
    "user",
]

_PLACES = {
    "..models.manifest": ("Sampling",),
    ".events": ("AudioDelta", "Done", "Event", "Notice", "Statistics", "TextDelta"),
    ".listening": ("Listening",),
    ".loading": ("load",),
    ".messages": ("Audio", "Image", "Message", "Text", "Video", "assistant", "system", "user"),
    ".options": ("Options",),
    ".session": ("Session",),
}


__getattr__ = names_of(__name__, _PLACES)
