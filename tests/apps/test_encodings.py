"""Texts and paths in any encoding: what the terminal cannot show ends no program."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from omni_edge.apps.output import JsonOutput, TerminalOutput, show
from omni_edge.apps.parts import parts_of
from omni_edge.models.errors import RequestError
from omni_edge.runtime.events import AudioDelta, Done, Statistics, TextDelta
from omni_edge.runtime.messages import Audio, Image, Text, Video

STATS = Statistics(**dict.fromkeys(Statistics.__dataclass_fields__, 0))
EVENTS = (
    TextDelta("世界 \x1b[31m"),
    AudioDelta(np.zeros(480, np.float32), 24000),
    Done("世界", (5,), (7,), 480, 24000, STATS),
)


def stream(encoding: str, terminal: bool = False) -> io.TextIOWrapper:
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    out.isatty = lambda: terminal  # type: ignore[method-assign]
    return out


def written(out: io.TextIOWrapper) -> str:
    out.flush()
    return out.buffer.getvalue().decode(out.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_json_is_the_same_in_every_encoding(encoding, tmp_path):
    out = stream(encoding)
    show((event for event in EVENTS), JsonOutput(out), tmp_path / "a\udcff.wav", 24000)
    text, audio, done = map(json.loads, written(out).splitlines())
    assert text == {"type": "text", "delta": EVENTS[0].text}
    assert audio == {"type": "audio", "samples": 480, "rate": 24000}
    assert (done["text"], done["wav"]) == ("世界", str(tmp_path / "a\udcff.wav"))


def test_done_is_told_when_the_file_is_there(tmp_path):
    there = []

    class Watching(JsonOutput):
        def done(self, event, wav):
            there.append(wav is not None and wav.exists())

    show((event for event in EVENTS), Watching(stream("utf-8")), tmp_path / "reply.wav", 24000)
    assert there == [True]


@pytest.mark.parametrize(("terminal", "expected"), [(True, "世界 [31m"), (False, "世界 \x1b[31m")])
def test_a_terminal_obeys_nothing_the_model_writes(terminal, expected):
    out = stream("utf-8", terminal)
    show(iter_of(*EVENTS[:1]), TerminalOutput(out, stream("utf-8")), None, 24000)
    assert written(out) == expected


def iter_of(*events):
    yield from events


def test_a_terminal_that_cannot_show_it(bundle, omni, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    outcome = omni("run", "--model", bundle, "--text", "Hello", "--no-speech", "--greedy")
    assert outcome.code == 0, outcome.err
    assert "?" in outcome.out


def test_parts_keep_their_order_and_read_standard_input():
    options = [("text", "-"), ("image", "a"), ("video", "b"), ("audio", "c"), ("text", "x")]
    parts = parts_of(options, True, io.StringIO("piped\n\n"))
    assert [type(part) for part in parts] == [Text, Image, Video, Audio, Text]
    assert parts[0] == Text("piped")
    assert isinstance(parts[2], Video)
    assert parts[2].use_audio


def test_standard_input_that_is_no_text():
    with pytest.raises(RequestError, match="UTF-8"):
        parts_of([("text", "-")], True, io.TextIOWrapper(io.BytesIO(b"a\xff"), encoding="utf-8"))
