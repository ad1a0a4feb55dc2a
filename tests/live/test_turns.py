"""Turn taking: properties of all sequences of probabilities, and the cases that people meet."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_edge.models.errors import RequestError
from omni_edge.runtime.live.turns import (
    Cough,
    Onset,
    Paused,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    Turns,
    TurnSettings,
)
from omni_edge.runtime.live.voice_activity import FRAME

SETTINGS = TurnSettings(silence=0.5, pause=0.2)
LETTERS = {Onset: "o", Cough: "c", SpeechStarted: "s", Paused: "p", Resumed: "r", SpeechEnded: "e"}
SOUND = st.lists(st.tuples(st.sampled_from([0.0, 0.3, 0.4, 0.6, 1.0]), st.integers(1, 30)), max_size=20).map(
    lambda runs: [probability for probability, count in runs for _ in range(count)]
)
FEW = 8  # frames of 32 ms in the minimum of 250 ms
PAUSE, SILENCE = 7, 16


def speech(frames: int) -> list[float]:
    return [0.9] * frames


def quiet(frames: int) -> list[float]:
    return [0.05] * frames


@given(SOUND)
def test_events_follow_the_picture(probabilities: list[float]) -> None:
    word = "".join(LETTERS[type(event)] for event in Turns(SETTINGS)(probabilities))
    assert re.fullmatch(r"(oc|os(pr)*pe)*(o|os(pr)*p?)?", word)


@given(SOUND)
def test_steps_equal_the_whole_and_reset_forgets(probabilities: list[float]) -> None:
    turns = Turns(SETTINGS)
    whole = turns(probabilities)
    turns.reset(0)
    assert [event for probability in probabilities for event in turns.step(probability)] == whole


@given(SOUND)
def test_moments_lie_where_the_frames_say(probabilities: list[float]) -> None:
    turns, end, onset = Turns(SETTINGS), 0, 0
    for index, probability in enumerate(probabilities):
        for event in turns.step(probability):
            now = (index + 1) * FRAME
            if isinstance(event, Onset):
                onset = event.at
                assert onset == now - FRAME >= end
            elif isinstance(event, SpeechStarted):
                assert event.at == max(end, onset - 4800)
            elif isinstance(event, Cough | Paused):
                assert now - event.at == PAUSE * FRAME
            elif isinstance(event, SpeechEnded):
                end = event.at
                assert now - end == SILENCE * FRAME


@given(SOUND)
def test_a_turn_has_the_minimum_of_speech_and_less_is_a_cough(probabilities: list[float]) -> None:
    turns, loud = Turns(SETTINGS), 0
    for probability in probabilities:
        inside = loud > 0
        loud += probability >= (0.35 if inside else 0.5)
        for event in turns.step(probability):
            if isinstance(event, SpeechStarted):
                assert loud == FEW
            if isinstance(event, Cough):
                assert 0 < loud < FEW
            if isinstance(event, Cough | SpeechEnded):
                loud = 0


def test_a_question_with_a_short_pause_is_one_turn() -> None:
    events = Turns(SETTINGS)(quiet(20) + speech(20) + quiet(10) + speech(20) + quiet(20))
    assert events == [
        Onset(20 * FRAME),
        SpeechStarted(20 * FRAME - 4800),
        Paused(40 * FRAME),
        Resumed(50 * FRAME),
        Paused(70 * FRAME),
        SpeechEnded(70 * FRAME),
    ]


def test_a_turn_does_not_reach_back_into_the_one_before() -> None:
    events = Turns(replace(SETTINGS, silence=0.2))(speech(10) + quiet(8) + speech(10))
    assert [event.at for event in events if isinstance(event, SpeechStarted)] == [0, 10 * FRAME]


def test_a_frame_between_the_thresholds_keeps_speech_going_and_begins_none() -> None:
    assert Turns(SETTINGS)([0.4] * 50) == []
    assert not any(isinstance(event, Paused) for event in Turns(SETTINGS)(speech(10) + [0.4] * 50))


def test_ten_minutes_of_silence_are_nothing() -> None:
    assert Turns(SETTINGS)(quiet(600 * 16000 // FRAME)) == []


def test_push_to_talk_hears_nothing_else() -> None:
    turns = Turns(replace(SETTINGS, push_to_talk=True))
    assert turns(speech(100)) == []
    assert turns.press(5000) == [SpeechStarted(5000)]
    assert turns.press(5001) == []
    assert turns.is_speech
    assert turns.step(0.0) == []
    assert turns.release(9000) == [SpeechEnded(9000)]
    assert turns.release(9001) == []


def test_a_turn_that_is_too_long_is_ended_at_its_last_speech() -> None:
    turns = Turns(SETTINGS)
    for probability in speech(20) + quiet(2):
        turns.step(probability)
    assert turns.release(22 * FRAME) == [SpeechEnded(20 * FRAME)]
    assert not turns.is_speech


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"threshold": 1.0}, {"silence": 0.0}, {"minimum": -1.0}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        Turns(replace(SETTINGS, **wrong))


def test_who_pressed_a_key_has_time_to_begin() -> None:
    turns = Turns(SETTINGS)
    assert turns.press(0) == [SpeechStarted(0)]
    frames = [*quiet(200), *speech(20), *quiet(50)]
    events = [event for probability in frames for event in turns.step(probability)]
    assert events == [Paused(220 * FRAME), SpeechEnded(220 * FRAME)]
    assert turns.press(9999999) == [SpeechStarted(9999999)]
    assert [event for probability in quiet(200) for event in turns.step(probability)] == []
