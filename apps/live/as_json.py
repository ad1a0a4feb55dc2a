"""Events of a conversation as JSON, one a line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ...runtime.events import AudioDelta, Done, Notice, TextDelta
from ...runtime.live.events import LiveEvent, ReplyStarted, Totals, TurnDone, UserEnded, UserStarted
from ...runtime.live.sources import HEARD_RATE, Trouble
from ...runtime.live.turns import Cough
from ..output import done_fields
from .face import Status


def as_data(event: LiveEvent) -> dict[str, Any]:
    """One event; sound is only counted."""
    match event:
        case UserStarted(at):
            return {"type": "user_started", "at_s": at / HEARD_RATE}
        case UserEnded(at, samples):
            return {"type": "user_ended", "at_s": at / HEARD_RATE, "heard": samples / HEARD_RATE}
        case Cough(at):
            return {"type": "cough", "at_s": at / HEARD_RATE}
        case ReplyStarted(at, first_sound_s):
            return {"type": "reply_started", "at_s": at / HEARD_RATE, "first_sound_s": first_sound_s}
        case TextDelta(text):
            return {"type": "text", "delta": text}
        case AudioDelta(samples, rate):
            return {"type": "audio", "samples": int(samples.size), "rate": rate}
        case Notice(text):
            return {"type": "notice", "text": text}
        case Trouble(text):
            return {"type": "trouble", "text": text}
        case TurnDone():
            return _turn(event)


def _turn(event: TurnDone) -> dict[str, Any]:
    done: Done | None = event.done
    return {
        "type": "done",
        **(done_fields(done) if done is not None else {}),
        "heard": event.heard,
        "first_sound_s": event.first_sound_s,
        "after_decision_s": event.after_decision_s,
        "prefilled_rows": None if done is None else done.stats.prefilled_rows,
        "listened_rows": None if done is None else done.stats.listened_rows,
        "interrupted": event.interrupted,
        "played": event.played,
        "said": event.said,
        "tokens_left": event.tokens_left,
    }


class JsonFace:
    """Prints events, and the totals at the end.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, event: LiveEvent) -> None:
        """See Face."""
        self._print(as_data(event))

    def status(self, status: Status) -> None:
        """See Face."""

    def notice(self, text: str) -> None:
        """See Face."""
        self._print({"type": "notice", "text": text})

    def end(self, totals: Totals, lost: int, wav: Path | None) -> None:
        """See Face."""
        written = None if wav is None else str(wav)
        self._print({"type": "totals", **asdict(totals), "heard_s": totals.heard_s, "lost": lost, "wav": written})

    def _print(self, data: dict[str, Any]) -> None:
        # In ASCII, which every encoding of stdout can write.
        print(json.dumps(data), file=self._out, flush=True)
