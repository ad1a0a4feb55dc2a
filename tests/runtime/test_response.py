"""Stages of a response side by side: what they make does not depend on when, and nothing of them stays."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from omni_edge.models.manifest import Sampling
from omni_edge.runtime.events import AudioDelta, Notice
from omni_edge.runtime.flow import Flow, FlowStream
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session
from omni_edge.runtime.solver import Solver
from omni_edge.runtime.sounding import Sounding
from omni_edge.runtime.talker import Talker
from omni_edge.runtime.thinker import Thinker
from omni_edge.runtime.vocoder import Vocoder, VocoderStream

LONG = Options(
    greedy=True, seed=1, max_tokens=30, max_codes=60, solver="euler", flow_steps=2, guidance=0.0
)  # enough codes for several pieces of sound
STAGES = {"thinker", "talker", "flow", "vocoder"}


def stages_alive() -> set[str]:
    return STAGES & {thread.name for thread in threading.enumerate()}


def sound(events: list) -> np.ndarray:
    return np.concatenate([event.samples for event in events if isinstance(event, AudioDelta)])


def test_the_same_whoever_waits_for_whom(session, monkeypatch):
    """A slow thinker, flow or vocoder: other pieces wait for each other, and what comes out is the same."""
    results = []
    for kind, name in ((None, ""), (Thinker, "advance"), (FlowStream, "step"), (VocoderStream, "step")):
        session.reset()
        with monkeypatch.context() as patch:
            if kind is not None:
                original = getattr(kind, name)

                def slow(*arguments, original=original, **options):
                    time.sleep(0.01)
                    return original(*arguments, **options)

                patch.setattr(kind, name, slow)
            results.append(list(session.respond("Tell me", options=LONG)))
        assert not stages_alive()
    first = results[0]
    for other in results[1:]:
        assert (other[-1].ids, other[-1].codes) == (first[-1].ids, first[-1].codes)
        np.testing.assert_array_equal(sound(other), sound(first))


def test_closed_at_any_event_all_stages_are_gone(session, ask):
    whole = list(session.respond("Tell me", options=LONG))
    for stop in range(1, len(whole), 3):
        session.reset()
        response = session.respond("Tell me", options=LONG)
        for _ in range(stop):
            next(response)
        response.close()
        assert not stages_alive()
    session.reset()
    again = list(session.respond("Tell me", options=LONG))
    assert (again[-1].ids, again[-1].codes) == (whole[-1].ids, whole[-1].codes)


STEPS = {
    "thinker": (Thinker, "advance"),
    "talker": (Talker, "advance"),
    "flow": (FlowStream, "step"),
    "vocoder": (VocoderStream, "step"),
}


@pytest.mark.parametrize("stage", STEPS)
def test_closing_ends_every_stage_within_one_step(session, monkeypatch, stage):
    """Whatever waits in lanes: after the word at most one more step of a stage begins."""
    kind, name = STEPS[stage]
    original, closing, late = getattr(kind, name), threading.Event(), []

    def watched(*arguments, **options):
        if closing.is_set():
            late.append(stage)
        time.sleep(0.005)
        return original(*arguments, **options)

    for read in (1, 3, 8, 20):
        session.reset()
        closing.clear()
        late.clear()
        with monkeypatch.context() as patch:
            patch.setattr(kind, name, watched)
            response = session.respond("Tell me", options=replace(LONG, max_codes=200))
            for _ in zip(range(read), response, strict=False):
                pass
            closing.set()
            response.close()
        assert len(late) <= 1
        assert not stages_alive()


def test_sound_comes_while_the_text_is_still_written(session, monkeypatch):
    """The talker needs a row a code: with the rows there, the first piece does not wait for the end of the text."""
    advance, heard, read = Thinker.advance, threading.Event(), []

    def held_back(thinker, token):
        read.append(token)
        assert len(read) < 30 or heard.wait(30)
        return advance(thinker, token)

    monkeypatch.setattr(Thinker, "advance", held_back)
    wishes = replace(LONG, max_tokens=40)
    for event in session.respond("Tell me", options=wishes):
        if isinstance(event, AudioDelta):
            heard.set()
    assert heard.is_set()
    assert len(read) == 39


def test_until_the_first_sound_nobody_goes_on_to_what_comes_after_it(stages, session, monkeypatch):
    rows, codes, seen = [], [], []
    advance, step, make = Thinker.advance, Talker.step, Sounding.step
    monkeypatch.setattr(Thinker, "advance", lambda self, *given: rows.append(0) or advance(self, *given))
    monkeypatch.setattr(Talker, "step", lambda self, *given: codes.append(0) or step(self, *given))

    def late(self, mel):
        time.sleep(0.2 if not seen else 0)  # time enough for the others, if they did not wait
        seen.append((len(rows), len(codes)))
        yield from make(self, mel)

    monkeypatch.setattr(Sounding, "step", late)
    done = list(session.respond("Tell me", options=replace(LONG, max_tokens=40)))[-1]
    first = stages.speech.first_codes(Solver("euler", 2, 0.0, first_lookahead=4))
    assert first == 16
    assert max(seen[0]) <= first + 1 < min(len(done.ids), len(done.codes))  # each has one more in hand
    assert (len(rows), len(codes)) == (39, 60)


def test_where_nothing_can_be_heard_early_nobody_waits_for_it(session, monkeypatch):
    """As of a model whose blocks are short."""
    expected = list(session.respond("Tell me", options=LONG))[-1]
    session.reset()
    monkeypatch.setattr("omni_edge.runtime.sounding.GUARD", 100)
    done = list(session.respond("Tell me", options=LONG))[-1]
    assert (done.ids, done.codes, done.samples) == (expected.ids, expected.codes, expected.samples)


@pytest.mark.parametrize("spoken", [0, 1])
def test_speech_that_ends_before_the_text_does_not_end_the_text(session, monkeypatch, spoken):
    advance = Thinker.advance

    def slow(thinker, token):
        time.sleep(0.02)
        return advance(thinker, token)

    whole = list(session.respond("Tell me", options=LONG))[-1]
    session.reset()
    monkeypatch.setattr(Thinker, "advance", slow)
    stops = Sampling(max_tokens=60, stop=whole.codes[spoken : spoken + 1])
    short = list(session.respond("Tell me", options=replace(LONG, max_codes=None, code_sampling=stops)))[-1]
    assert short.codes == whole.codes[:spoken]
    assert (short.ids, short.text) == (whole.ids, whole.text)


BREAKS = {
    "vocoder": (Vocoder, "begin"),
    "flow": (Flow, "begin"),
    "talker": (Talker, "step"),
    "thinker": (Thinker, "advance"),
}


@pytest.mark.parametrize("where", BREAKS)
def test_an_error_in_a_stage_is_raised_here_and_the_session_lives_on(session, ask, monkeypatch, where):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no more memory")

    with monkeypatch.context() as patch:
        patch.setattr(*BREAKS[where], broken)
        with pytest.raises(RuntimeError, match="no more memory"):
            list(session.respond("Tell me", options=LONG))
    assert not stages_alive()
    assert ask(session, "Again").ids


@pytest.mark.parametrize("left", [2, 30])
def test_speech_that_fills_the_context_says_that_it_is_cut(stages, left):
    """The talker of a model whose context the prompt leaves so much of."""
    endless = Sampling(max_tokens=100, suppress=tuple(stages.bundle.manifest.talker_sampling.stop))
    wishes = replace(LONG, code_sampling=endless, max_codes=100)
    rows = list(Session(stages).respond("Hi", options=replace(wishes, max_tokens=1)))[-1].stats.prompt_rows
    talker = msgspec.structs.replace(stages.bundle.manifest.talker, context=rows + 2 + left)
    manifest = msgspec.structs.replace(stages.bundle.manifest, talker=talker)
    small = replace(stages, bundle=replace(stages.bundle, manifest=manifest))
    *_, notice, done = Session(small).respond("Hi", options=wishes)
    assert len(done.codes) == left
    assert isinstance(notice, Notice)
    assert "because the model can keep no more of it in mind" in notice.text


def test_speech_that_was_wanted_so_short_is_not_cut(stages):
    events = list(Session(stages).respond("Hi", options=LONG))
    assert len(events[-1].codes) > 10
    assert not any(isinstance(event, Notice) for event in events)


@pytest.mark.slow
def test_a_thousand_responses_leave_no_thread(session):
    list(session.respond("Hi", options=LONG))  # the vocoder's own threads, which stay, are there
    before = set(threading.enumerate())
    for count in range(1000):
        session.reset()
        response = session.respond("Hi", options=LONG)
        next(response)
        if count % 2:
            next(response)
        response.close()
    assert set(threading.enumerate()) <= before
