"""A conversation: several turns, what of them is read again, and what a cancelled one leaves behind."""

from __future__ import annotations

import numpy as np
import pytest

from omni_edge.models.manifest import Sampling
from omni_edge.runtime.events import AudioDelta, Done, TextDelta
from omni_edge.runtime.loading import load_stages
from omni_edge.runtime.messages import Image, Text, Tokens, system, user
from omni_edge.runtime.options import Options
from omni_edge.runtime.session import Session

FAST = {"solver": "euler", "flow_steps": 2, "guidance": 0.0}
WARM = Sampling(max_tokens=12, temperature=1.0)
"""The tiny model is greedy by its manifest; this makes its text random."""


def picture(seed: int, height: int = 84, width: int = 112) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def same(one: Done, two: Done) -> bool:
    return (one.text, one.ids, one.codes, one.samples) == (two.text, two.ids, two.codes, two.samples)


def test_events_come_in_order_and_add_up(session):
    events = list(
        session.respond("What do you know?", options=Options(greedy=True, max_tokens=9, max_codes=40, **FAST))
    )
    kinds = [type(event) for event in events]
    assert {TextDelta, AudioDelta} == set(kinds[:-1])
    *deltas, done = events
    assert kinds.count(Done) == 1
    assert "".join(event.text for event in deltas if isinstance(event, TextDelta)) == done.text
    assert sum(event.samples.size for event in deltas if isinstance(event, AudioDelta)) == done.samples
    assert done.samples == 480 * len(done.codes)
    assert len(done.ids) <= 9
    assert len(done.codes) <= 40
    stats = done.stats
    assert stats.audio_s == done.samples / done.rate
    assert 0 < stats.first_text_s < stats.first_audio_s
    assert stats.prompt_rows >= stats.prefilled_rows > 0


def test_the_second_turn_reads_only_what_is_new(session, ask, stages):
    first = ask(session, picture(1), "What is it?")
    second = ask(session, "And now?")
    new = second.stats.prompt_rows - first.stats.prompt_rows
    assert second.stats.prefilled_rows < new  # less than the reply and the turn: the reply was read as it came
    assert [message.role for message in session.history] == ["system", "user", "assistant", "user", "assistant"]
    assert isinstance(session.history[2].parts[0], Tokens)
    afresh = Session(load_stages(stages.bundle), session.history[:3])
    assert same(ask(afresh, "And now?"), second)


@pytest.mark.parametrize("speech", [True, False])
def test_turns_with_and_without_speech_mix(speech, session, ask, stages):
    ask(session, "One", speech=speech)
    ask(session, picture(3), "Two", speech=not speech)
    third = ask(session, "Three", speech=True)
    afresh = Session(load_stages(stages.bundle), session.history[:-2])
    assert same(ask(afresh, "Three", speech=True), third)


@pytest.mark.parametrize("read", [0, 1, 2, 4, 7])
def test_closing_early_cancels_and_the_conversation_goes_on(read, session, ask, stages):
    ask(session, "Hello", picture(4))
    before = session.history
    response = session.respond(
        "Tell me much", options=Options(greedy=True, seed=1, max_tokens=40, max_codes=90, **FAST)
    )
    said = "".join(event.text for _, event in zip(range(read), response, strict=False) if isinstance(event, TextDelta))
    response.close()
    if read == 0:
        assert session.history == before
    else:
        assert session.history[:-2] == before
        assert session.history[-1].parts[0].text.startswith(said.rstrip("\ufffd"))
    after = ask(session, "Go on")
    assert same(ask(Session(load_stages(stages.bundle), session.history[:-2]), "Go on"), after)


def test_closing_during_speech_keeps_the_whole_text(session):
    response = session.respond("Hello", options=Options(greedy=True, max_tokens=5, max_codes=300, **FAST))
    text = ""
    for event in response:
        if isinstance(event, AudioDelta):
            break
        text += event.text
    response.close()
    assert session.history[-1].parts[0].text == text


def test_a_reply_of_one_token_has_no_speech(session, ask):
    done = ask(session, "Hello", max_tokens=1)
    assert (len(done.ids), done.codes, done.samples) == (1, (), 0)
    assert ask(session, "And?").samples > 0


def test_a_reply_of_nothing_but_the_end(session, ask):
    first = ask(session, "Hello", max_tokens=1).ids[0]
    other = Session(session._stages)
    stop = Sampling(max_tokens=9, stop=(first,))
    done = ask(other, "Hello", text_sampling=stop, max_tokens=None)
    assert (done.text, done.ids, done.codes) == ("", (first,), ())
    assert other.history[-1].parts == (Tokens((), ""),)
    assert ask(other, "Anyone there?").ids


def test_seeds(stages, ask):
    wishes = {"greedy": False, "text_sampling": WARM, "max_tokens": None, "max_codes": 20}
    one, again, other = (ask(Session(stages), "Hello", seed=seed, **wishes) for seed in (1, 1, 2))
    assert same(one, again)
    assert one.ids != other.ids
    assert one.codes != other.codes
    drawn = ask(Session(stages), "Hello", seed=None, **wishes)
    assert same(ask(Session(stages), "Hello", seed=drawn.stats.seed, **wishes), drawn)


def test_the_seed_is_heard_as_well(stages):
    def samples(seed: int) -> np.ndarray:
        options = Options(greedy=True, seed=seed, max_tokens=4, max_codes=5, **FAST)
        events = Session(stages).respond("Hello", options=options)
        return np.concatenate([event.samples for event in events if isinstance(event, AudioDelta)])

    assert (samples(1) == samples(1)).all()
    assert np.abs(samples(1) - samples(2)).max() > 1e-3


def test_reset_starts_anew(session, ask):
    first = ask(session, "Hello", picture(5))
    ask(session, "And?")
    session.reset()
    assert [message.role for message in session.history] == ["system"]
    assert same(ask(session, "Hello", picture(5)), first)


def test_another_picture_of_the_same_size_is_not_taken_from_the_cache(session, ask, stages):
    ask(session, picture(6), "What is it?")
    session.reset()
    second = ask(session, picture(7), "What is it?")
    assert same(ask(Session(load_stages(stages.bundle)), picture(7), "What is it?"), second)
    rows = stages.thinker.context.talker_rows[: second.stats.prompt_rows].copy()
    session.reset()
    first = ask(session, picture(6), "What is it?")
    assert first.stats.prompt_rows == second.stats.prompt_rows
    assert np.abs(stages.thinker.context.talker_rows[: len(rows)] - rows).max() > 1e-3


def test_a_history_of_ones_own(stages, ask):
    history = [system("Be brief."), user("Hi"), user(Text("again"), picture(8))]
    session = Session(stages, history)
    ask(session, "Hello")
    assert list(session.history[:3]) == history
    session.reset()
    assert list(session.history) == history


def test_two_conversations_may_take_turns_on_the_same_stages(stages, ask):
    one, two = Session(stages), Session(stages, [system("Be brief.")])
    ask(one, "Hello", picture(9))
    ask(two, "Hello")
    first = ask(one, "And?")
    assert same(ask(Session(load_stages(stages.bundle), one.history[:-2]), "And?"), first)
