"""Which engine thinker and talker run on, and conversations on either."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llama_cpp")

from omni_edge.models.bundle import Bundle
from omni_edge.models.errors import DeviceError, MissingExtra, RequestError
from omni_edge.runtime import engine as engine_module
from omni_edge.runtime.engine import EngineChoice, choose_engines
from omni_edge.runtime.events import Done, Notice
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Audio, Image, Video
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session

NETWORKS = ("thinker", "talker")
CHEAP = Options(greedy=True, seed=1, max_tokens=4, max_codes=4, solver="euler", flow_steps=2, guidance=0.0)


@pytest.mark.parametrize(("engine", "expected"), [("auto", "llama"), ("llama", "llama"), ("onnx", "onnx")])
def test_what_is_listed_first_or_asked_for(engine, expected, both):
    engines = choose_engines(both, engine)
    assert dict(engines.of) == dict.fromkeys(NETWORKS, expected)
    assert engines.notes == ()


def test_without_llama_cpp_auto_takes_the_next_and_says_so(both, monkeypatch):
    monkeypatch.setattr(engine_module, "find_spec", lambda _: None)
    engines = choose_engines(both, "auto")
    assert dict(engines.of) == dict.fromkeys(NETWORKS, "onnx")
    assert [note.split(",")[0] for note in engines.notes] == ["llama-cpp-python is not installed"] * 2
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    with pytest.raises(MissingExtra, match=r"omni-edge\[llama\]"):
        load_stages(both, engine="llama")


def test_a_bundle_without_graphs_for_the_engine(bundle):
    with pytest.raises(DeviceError, match=r"no thinker and talker for llama\.cpp\. .*GGUF"):
        choose_engines(bundle, "llama")


@pytest.fixture(scope="module")
def thinker_only(tiny: Any, with_llama: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The talker of this shape cannot be GGUF."""
    folder = tmp_path_factory.mktemp("thinker") / "bundle"
    return with_llama(tiny.bundle("like-3b"), tiny.checkpoint("like-3b"), folder, ("thinker",))


@pytest.mark.parametrize("engine", ["auto", "llama"])
def test_one_of_the_two_on_llama(engine: EngineChoice, thinker_only, ask):
    session = Session(load_stages(thinker_only, threads=1, engine=engine))
    wanted = ("the bundle has no talker for llama.cpp, so the talker runs on ONNX Runtime",)
    assert session.notes == (wanted if engine == "llama" else ())
    other = Session(load_stages(thinker_only, threads=1, engine="onnx"))
    assert ask(session, "Hello").ids == ask(other, "Hello").ids


# Conversations


def clip(rng: np.random.Generator, seconds: float = 4.0) -> bytes:
    from omni_edge.apps.suite.asking import clip_file

    frames = rng.integers(0, 256, (int(seconds * 4), 56, 56, 3)).astype(np.uint8)
    return clip_file(frames, rng.standard_normal(int(seconds * 16000)).astype(np.float32) / 10)


def test_a_conversation_with_pictures_says_the_same_on_both(both, ask, rng):
    picture = Image(rng.integers(0, 256, (112, 140, 3)).astype(np.uint8))
    answers = []
    for engine in ("llama", "onnx"):
        session = Session(load_stages(both, threads=1, engine=engine))
        turns = [("Hello",), (picture, "What is this?"), ("And now?",)]
        answers.append([ask(session, *turn) for turn in turns])
        answers[-1].append(ask(Session(load_stages(both, threads=1, engine=engine), session.history), "Again"))
        answers[-1].append(ask(session, "Again"))  # with all before it in the cache
    for one, two in zip(*answers, strict=True):
        assert (one.ids, one.codes) == (two.ids, two.codes)
    assert answers[0][-1].ids == answers[0][-2].ids


def test_a_silent_clip_is_read(both, ask, rng):
    video = Video(clip(rng), use_audio=False)
    one, two = (ask(Session(load_stages(both, threads=1, engine=e)), video, "?") for e in ("llama", "onnx"))
    assert (one.ids, one.codes) == (two.ids, two.codes)


def test_a_clip_with_its_sound_is_refused_before_anything_is_done(both, ask, rng):
    session = Session(load_stages(both, threads=1, engine="llama"))
    with pytest.raises(RequestError, match=r"llama\.cpp cannot follow a clip together with its own sound.*engine onnx"):
        session.respond(Video(clip(rng), use_audio=True), "?", options=CHEAP)
    assert ask(session, "Hello").ids  # it goes on


def test_left_to_itself_it_goes_on_with_onnx_and_says_so(both, ask, rng):
    session = Session(load_stages(both, threads=1))
    first = ask(session, "Hello")
    video = Video(clip(rng), use_audio=True)
    events = list(session.respond(video, "?", options=CHEAP))
    assert isinstance(events[0], Notice)
    assert not [event for event in events[1:] if isinstance(event, Notice)]
    other = Session(load_stages(both, threads=1, engine="onnx"), session.history[:-2])
    expected = list(other.respond(video, "?", options=CHEAP))[-1]
    assert isinstance(events[-1], Done)
    assert isinstance(expected, Done)
    assert (events[-1].ids, events[-1].codes) == (expected.ids, expected.codes)
    assert not [event for event in session.respond("And?", options=CHEAP) if isinstance(event, Notice)]
    session.reset()
    assert ask(session, "Hello").ids == first.ids


def test_listening_on_llama_says_the_same(both, ask, rng):
    samples = (rng.standard_normal(5 * 16000) / 10).astype(np.float32)
    session = Session(load_stages(both, threads=1, engine="llama"))
    turn = session.listen(CHEAP)
    for start in range(0, samples.size, 8000):
        turn.hear(samples[start : start + 8000])
        while turn.step():
            pass
    answer = list(turn.answer())[-1]
    expected = ask(Session(load_stages(both, threads=1, engine="onnx")), Audio(samples), max_tokens=4)
    assert isinstance(answer, Done)
    assert answer.stats.listened_rows >= 100
    assert answer.ids == expected.ids
    with pytest.raises(RequestError, match=r"llama\.cpp cannot follow"):
        session.listen(CHEAP, video=True)
    assert ask(session, "Hello").ids


def test_listening_with_a_camera_moves_to_onnx_and_says_so(both, rng):
    session = Session(load_stages(both, threads=1))
    turn = session.listen(CHEAP, video=True)
    turn.hear((rng.standard_normal(3 * 16000) / 10).astype(np.float32))
    for _ in range(6):
        turn.see(rng.integers(0, 256, (56, 56, 3)).astype(np.uint8))
    events = list(turn.answer())
    assert [type(event) for event in (events[0], events[-1])] == [Notice, Done]
