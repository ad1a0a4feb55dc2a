"""What a session refuses, before it does any work and without harm to the conversation; and forms of media."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from omni_edge.models.errors import MediaError, RequestError
from omni_edge.runtime.audio_file import read_audio
from omni_edge.runtime.clip import read_clip
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio, Image, Message, Part, Text, Tokens, Video, user
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session

RNG = np.random.default_rng(0)
SOUND = (RNG.standard_normal(12000) * 0.1).astype(np.float32)
PIXELS = RNG.integers(0, 256, (84, 112, 3), np.uint8)
FRAMES = RNG.integers(0, 256, (4, 84, 112, 3), np.uint8)


def small(bundle, context: int):
    """Stages of the same bundle, as if the model had a smaller context."""
    manifest = bundle.manifest
    thinker, talker = (msgspec.structs.replace(shape, context=context) for shape in (manifest.thinker, manifest.talker))
    return load_stages(
        dataclasses.replace(bundle, manifest=msgspec.structs.replace(manifest, thinker=thinker, talker=talker))
    )


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"voice": "Nobody"}, "no voice 'Nobody' .*Chelsie, Ethan"),
        ({"solver": "euler", "flow_steps": 99}, "euler with 99 steps .* 2, 3, 4"),
        ({"solver": "rk4", "flow_steps": 4}, "rk4 with 4 steps .* 3, 5, 10"),
        ({"flow_steps": 1}, "with 1 steps"),
        ({"guidance": -1.0}, "guidance -1"),
        ({"guidance": float("nan")}, "guidance nan"),
        ({"guided_until": 1.5}, "guidance until 1.5"),
        ({"guided_until": -0.1}, "guidance until -0.1"),
        ({"max_tokens": 0}, "at most 0 tokens"),
        ({"max_codes": -3}, "at most -3 codes"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_wishes_that_cannot_be(wishes, words, session):
    before = session.history
    with pytest.raises(RequestError, match=words):
        session.respond("Hello", options=Options(**wishes))
    assert session.history == before


def test_a_solver_does_not_matter_without_speech(session, ask):
    assert ask(session, "Hello", speech=False, flow_steps=99).samples == 0


def test_no_parts(session):
    with pytest.raises(RequestError, match="nothing to answer"):
        session.respond()


def test_one_response_at_a_time(session, ask):
    response = session.respond("Hello", options=Options(greedy=True, max_tokens=9))
    next(response)
    with pytest.raises(RequestError, match="still going on"):
        session.respond("Hello?")
    with pytest.raises(RequestError, match="still going on"):
        session.reset()
    response.close()
    assert ask(session, "Hello?").ids


def test_a_response_that_was_not_begun_gives_way_to_the_next(session, ask):
    """Its prompt knows nothing of what was said meanwhile."""
    stale = session.respond("Hello")
    current = ask(session, "Hello?")
    history = session.history
    with pytest.raises(RequestError, match="another"):
        next(stale)
    assert session.history == history
    assert current.ids
    forgotten = session.respond("Hello")
    session.reset()
    with pytest.raises(RequestError, match="another"):
        next(forgotten)


def test_a_prompt_longer_than_the_context(bundle, ask):
    session = Session(small(bundle, 300))
    with pytest.raises(RequestError, match=r"the prompt takes \d+ positions; this model has 300"):
        session.respond("long " * 100)
    assert ask(session, "Hello").ids


def test_an_answer_ends_where_the_context_does(bundle, ask):
    rows = ask(Session(small(bundle, 300)), "Hello").stats.prompt_rows
    stages = small(bundle, rows + 5)
    done = ask(Session(stages), "Hello", max_tokens=100, max_codes=100)
    assert 1 <= len(done.ids) <= 5
    assert 1 <= len(done.codes) <= 5
    for left in (1, 2, 3):  # to the very last row
        ask(Session(small(bundle, rows + left + 2)), "Hello", max_tokens=100, max_codes=100)


def test_a_medium_that_cannot_be_used_leaves_the_conversation_alone(session, ask):
    ask(session, "Hello")
    before = session.history
    with pytest.raises(MediaError):
        session.respond(Image(b"no picture"), "What is it?")
    assert session.history == before
    assert ask(session, "And?").ids


@pytest.mark.parametrize(
    "source",
    [
        SOUND[:300],
        SOUND[:0],
        SOUND.reshape(2, -1),
        np.full(16000, np.nan, np.float32),
        np.zeros(16000 * 301, np.float32),
    ],
    ids=["short", "empty", "stereo", "nan", "long"],
)
def test_arrays_that_are_no_sound(source, session):
    with pytest.raises((MediaError, RequestError), match="sound"):
        session.respond(Audio(source))


def encoded_clip(path) -> None:
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=4)
        video.width, video.height, video.pix_fmt = 112, 84, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000)
        sound.layout = "mono"
        for index in range(8):
            frame = av.VideoFrame.from_ndarray(np.roll(PIXELS, 9 * index, axis=1), format="rgb24")
            container.mux(video.encode(frame))
        audio = av.AudioFrame.from_ndarray((SOUND * 32767).astype(np.int16)[None], format="s16", layout="mono")
        audio.rate = 16000
        container.mux(sound.encode(audio))
        for stream in (video, sound):
            container.mux(stream.encode(None))


def test_files_and_their_content_are_the_same(tmp_path, stages, ask):
    encoded_clip(tmp_path / "clip.mkv")
    Pillow.fromarray(PIXELS).save(tmp_path / "picture.png")
    answers = []
    for form in (Path, str, Path.read_bytes):
        clip, still = form(tmp_path / "clip.mkv"), form(tmp_path / "picture.png")
        parts: tuple[Part, ...] = (Image(still), Video(clip, use_audio=True), Audio(clip), Text("?"))
        answers.append(ask(Session(stages), *parts))
    assert len({(answer.ids, answer.codes, answer.stats.prompt_rows) for answer in answers}) == 1


def test_a_clip_as_arrays_is_what_its_file_holds(tmp_path, bundle, stages, ask):
    encoded_clip(tmp_path / "clip.mkv")
    clip, front = read_clip(tmp_path / "clip.mkv", bundle.manifest.vision), bundle.manifest.audio
    sound = read_audio(tmp_path / "clip.mkv", front.rate, front.max_seconds).samples
    whole = ask(Session(stages), Video(tmp_path / "clip.mkv", use_audio=True), "?")
    for arrays in (Video(clip.frames, sound=sound), Video(clip.frames, use_audio=True, sound=sound, fps=2.0)):
        assert (ask(Session(stages), arrays, "?").ids, whole.stats.prompt_rows) == (whole.ids, whole.stats.prompt_rows)
    silent = ask(Session(stages), Video(clip.frames), "?")
    assert silent.stats.prompt_rows < whole.stats.prompt_rows


@pytest.mark.parametrize(
    ("video", "words"),
    [
        (Video(FRAMES, use_audio=True), "have no sound of their own"),
        (Video(b"", sound=SOUND), "its own sound and rate"),
        (Video(b"", fps=1.0), "its own sound and rate"),
        (Video(FRAMES, fps=0.0), "0 frames a second"),
        (Video(FRAMES, fps=float("nan")), "nan frames a second"),
        (Video(FRAMES, sound=SOUND[:100]), "too short"),
    ],
)
def test_clips_that_cannot_be(video, words, session):
    with pytest.raises((MediaError, RequestError), match=words):
        session.respond(video)


def test_arrays_are_what_their_files_hold(stages, ask):
    buffer = io.BytesIO()
    Pillow.fromarray(PIXELS).save(buffer, "png")
    file, array = (ask(Session(stages), Image(source), "?") for source in (buffer.getvalue(), PIXELS))
    assert (file.ids, file.codes) == (array.ids, array.codes)


def test_every_form_in_one_turn_and_again_in_the_next(session, ask):
    clip = Video(FRAMES)
    first = ask(session, Audio(SOUND), Image(PIXELS), clip, "What?")
    second = ask(session, clip, "Again?")
    assert second.stats.prompt_rows > first.stats.prompt_rows
    assert session.history[1] == user(*session.history[1].parts)
    assert session.history[1] == Message("user", session.history[1].parts)
    assert isinstance(session.history[-1].parts[0], Tokens)
