"""Events of a response to the screen or to JSON lines, and its speech to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TextIO

from ..runtime.events import AudioDelta, Done, Event, Notice, TextDelta
from ..runtime.wav import WavWriter
from .progress import waiting
from .terminal import on_terminal, printable


class Output(Protocol):
    """Where a response goes."""

    def notice(self, text: str) -> None:
        """Something to know; empty is nothing."""
        ...

    def text(self, event: TextDelta) -> None:
        """More text."""
        ...

    def audio(self, event: AudioDelta) -> None:
        """More speech."""
        ...

    def done(self, event: Done, wav: Path | None) -> None:
        """The end; `wav` is where the speech is, if there is any."""
        ...


class TerminalOutput:
    """Text to stdout as it comes; everything about it to stderr."""

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err

    def notice(self, text: str) -> None:
        """See Output."""
        if text:
            print(f"notice: {text}", file=self._err, flush=True)

    def text(self, event: TextDelta) -> None:
        """See Output."""
        text = printable(event.text) if on_terminal(self._out) else event.text
        print(text, end="", file=self._out, flush=True)

    def audio(self, event: AudioDelta) -> None:
        """See Output."""

    def done(self, event: Done, wav: Path | None) -> None:
        """See Output."""
        print(file=self._out, flush=True)
        stats = event.stats
        line = (
            f"[{stats.prompt_rows} tokens read, {len(event.ids)} written, first text after {stats.first_text_s:.2f} s"
        )
        if wav is not None:
            line += (
                f"; {stats.audio_s:.2f} s of speech in {wav}, first sound after {stats.first_audio_s:.2f} s, "
                f"{stats.real_time_factor:.2f} s a second"
            )
        print(f"{line}; seed {stats.seed}]", file=self._err, flush=True)


class JsonOutput:
    """One event a line on stdout. Notices are events as well, so that nothing is lost and nothing else is printed."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def notice(self, text: str) -> None:
        """See Output."""
        if text:
            self._print({"type": "notice", "text": text})

    def text(self, event: TextDelta) -> None:
        """See Output."""
        self._print({"type": "text", "delta": event.text})

    def audio(self, event: AudioDelta) -> None:
        """See Output."""
        self._print({"type": "audio", "samples": int(event.samples.size), "rate": event.rate})

    def done(self, event: Done, wav: Path | None) -> None:
        """See Output."""
        self._print({"type": "done", **done_fields(event), "wav": None if wav is None else str(wav)})

    def _print(self, event: dict[str, Any]) -> None:
        # In ASCII, which every encoding of stdout can write, as it can a path that is no Unicode.
        print(json.dumps(event), file=self._out, flush=True)


def _first(events: Iterator[Event]) -> Iterator[Event]:
    """Of the events, up to the first of the answer. Until it comes, media are encoded and the prompt is read."""
    found: list[Event] = []
    with waiting("reading"):
        for event in events:
            found.append(event)
            if not isinstance(event, Notice):
                break
    yield from found


def done_fields(event: Done) -> dict[str, Any]:
    """What JSON says of a complete response."""
    return {
        "text": event.text,
        "ids": event.ids,
        "codes": event.codes,
        "samples": event.samples,
        "rate": event.rate,
        "stats": asdict(event.stats),
    }


def show(events: Iterator[Event], output: Output, wav: Path | None, rate: int) -> None:
    """Pass all events on.

    Args:
        events: of one response.
        output: where they go.
        wav: file for the speech, or None. It is not touched when there is no speech.
        rate: samples per second.
    """
    done: Done | None = None
    with closing(events), nullcontext() if wav is None else WavWriter(wav, rate) as writer:  # pyright: ignore
        for event in chain(_first(events), events):
            match event:
                case Notice():
                    output.notice(event.text)
                case TextDelta():
                    output.text(event)
                case AudioDelta():
                    assert writer is not None
                    writer.write(event.samples)
                    output.audio(event)
                case Done():
                    done = event
    if done is not None:  # told only now that the file is in its place
        output.done(done, wav if done.samples else None)
